import fc from 'fast-check';
import { isResourceName, resourceName } from './resource-name.ts';

describe('resourceName', () => {
  it('keeps a name that a resource can have', () => {
    for (const name of ['pvc-8f0c', 'a', 'a.b-c.d', '0', 'x'.repeat(253)]) expect(resourceName(name)).toBe(name);
  });

  it('makes another one where it cannot', () => {
    expect(resourceName('My Volume!')).toMatch(/^my-volume-[0-9a-f]{16}$/);
    expect(resourceName('...')).toMatch(/^volume-[0-9a-f]{16}$/);
    for (const name of ['A', '-a', 'a..b', 'a-.b', 'x'.repeat(254)]) expect(resourceName(name)).not.toBe(name);
  });

  it('gives every name a valid one, the same each time, and no two the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (a, b) => {
        expect(isResourceName(resourceName(a))).toBe(true);
        expect(resourceName(a)).toBe(resourceName(a));
        if (a !== b) expect(resourceName(a)).not.toBe(resourceName(b));
      }),
    );
  });
});
