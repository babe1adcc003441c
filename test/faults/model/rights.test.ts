import { Rights } from './rights.ts';

const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];

describe('Rights', () => {
  it('accepts writes of every host that may be admitted, while the volume moves', () => {
    const rights = new Rights();
    rights.only(A);
    rights.begin(B);
    rights.arrives(A, 1);
    rights.arrives(B, 1);
    rights.only(B);
    rights.answered(A, 1);
    rights.answered(B, 1);
    expect(rights.violations).toStrictEqual([]);
  });

  it('finds a write that arrived after its host was cut off', () => {
    const rights = new Rights();
    rights.only(A);
    rights.only(B);
    rights.arrives(A, 2);
    rights.answered(A, 2);
    expect(rights.violations.join()).toMatch(/0a had write 2/);
    rights.end(B);
    rights.arrives(B, 3);
    rights.answered(B, 3);
    expect(rights.violations.join()).toMatch(/0b had write 3/);
    expect(rights.seen).toStrictEqual({ without: 2, lateCopies: 0 });
  });

  it('leaves a late copy of a write that came in time to the disk', () => {
    const rights = new Rights();
    rights.only(A);
    rights.arrives(A, 4);
    rights.only(B);
    rights.arrives(A, 4);
    rights.answered(A, 4);
    expect(rights.violations).toStrictEqual([]);
    expect(rights.seen).toStrictEqual({ without: 0, lateCopies: 1 });
  });
});
