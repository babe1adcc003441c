import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AddressRange, addressKey } from './address-range.ts';

describe('AddressRange', () => {
  it('takes one shelf, or two with a dash', () => {
    assert.equal(String(new AddressRange('7')), '7-7');
    assert.equal(String(new AddressRange('1-255')), '1-255');
  });

  for (const wrong of ['', 'x', '5-2', '0-65535', '4095', '-1', '1-2-3']) {
    it(`refuses "${wrong}"`, () => assert.throws(() => new AddressRange(wrong), RangeError));
  }

  it('gives each address once, goes round, and ends when all are taken', () => {
    const range = new AddressRange('4094-4096');
    const taken = new Set<string>();
    assert.deepEqual(
      range.next(undefined, () => false),
      { shelf: 4094, slot: 0 },
    );
    let previous = range.next(undefined, () => false);
    for (let next = previous; next; next = range.next(previous, (address) => taken.has(addressKey(address)))) {
      assert.ok(!taken.has(addressKey(next)));
      taken.add(addressKey(next));
      previous = next;
    }
    assert.equal(taken.size, 2 * 255, 'shelf 4095 is left out');
  });

  it('does not give an address again that was just given back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 254 }), (slot) => {
        const range = new AddressRange('1');
        const given = range.next({ shelf: 1, slot }, () => false);
        assert.notDeepEqual(given, { shelf: 1, slot });
      }),
    );
  });
});
