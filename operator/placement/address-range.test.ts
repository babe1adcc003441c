import fc from 'fast-check';
import { AddressRange, addressKey } from './address-range.ts';

describe('AddressRange', () => {
  it('takes one shelf, or two with a dash', () => {
    expect(String(new AddressRange('7'))).toBe('7-7');
    expect(String(new AddressRange('1-255'))).toBe('1-255');
  });

  for (const wrong of ['', 'x', '5-2', '0-65535', '4095', '-1', '1-2-3']) {
    it(`refuses "${wrong}"`, () => expect(() => new AddressRange(wrong)).toThrow(RangeError));
  }

  it('gives each address once, goes round, and ends when all are taken', () => {
    const range = new AddressRange('4094-4096');
    const taken = new Set<string>();
    expect(range.next(undefined, () => false)).toStrictEqual({ shelf: 4094, slot: 0 });
    let previous = range.next(undefined, () => false);
    for (let next = previous; next; next = range.next(previous, (address) => taken.has(addressKey(address)))) {
      expect(taken.has(addressKey(next))).toBe(false);
      taken.add(addressKey(next));
      previous = next;
    }
    expect(taken.size, 'shelf 4095 is left out').toBe(2 * 255);
  });

  it('does not give an address again that was just given back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 254 }), (slot) => {
        const range = new AddressRange('1');
        const given = range.next({ shelf: 1, slot }, () => false);
        expect(given).not.toStrictEqual({ shelf: 1, slot });
      }),
    );
  });
});
