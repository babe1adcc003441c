import { refusedRight, rightText } from './right.ts';

describe('a right that is missing', () => {
  it.each([
    [
      'Error from server (Forbidden): aoevolumes.aoe.dev is forbidden: User "eve" cannot list resource "aoevolumes" in API group "aoe.dev" at the cluster scope',
      'list aoevolumes.aoe.dev',
    ],
    [
      'Error from server (Forbidden): pods "x" is forbidden: User "eve" cannot create resource "pods/exec" in API group "" in the namespace "aoe-csi"',
      'create pods/exec in namespace aoe-csi',
    ],
  ])('is read from kubectl: %s', (stderr, text) => {
    const right = refusedRight(stderr);
    expect(right && rightText(right)).toBe(text);
  });

  it('is none when something else failed, or an admission policy refused it', () => {
    expect(refusedRight('Error from server (NotFound): pods "x" not found')).toBeUndefined();
    expect(refusedRight('Error from server (Forbidden): denied by ValidatingAdmissionPolicy')).toBeUndefined();
  });
});
