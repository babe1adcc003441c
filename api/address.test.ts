import fc from 'fast-check';
import { addressOfMapping, formatAddress, MAX_SHELF, MAX_SLOT, parseAddress, REFUSED_SHELF, sameAddress } from './address.ts';
import { Address } from './schema/address.ts';

const addresses = fc.record({
  shelf: fc.nat(MAX_SHELF).filter((shelf) => shelf !== REFUSED_SHELF),
  slot: fc.nat(MAX_SLOT),
});

test('formatAddress() spells an address as the Linux driver names the device', () => {
  expect(formatAddress({ shelf: 7, slot: 3 })).toBe('e7.3');
  expect(formatAddress({ shelf: 0, slot: 0 })).toBe('e0.0');
  expect(formatAddress({ shelf: MAX_SHELF, slot: MAX_SLOT })).toBe('e65534.254');
});

for (const text of [
  '',
  '7.3',
  'e7',
  'e7.',
  'e.3',
  'e7.3 ',
  'E7.3',
  'e07.3',
  'e7.03',
  'e-1.0',
  'e65535.0',
  'e0.255',
  'e4095.0',
  'e7.3p1',
  'e99999.1',
  'e1.999',
]) {
  test(`parseAddress() refuses ${JSON.stringify(text)}, and says what to write`, () => {
    expect(() => parseAddress(text)).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        message: `"${text}" is not an AoE address: write eSHELF.SLOT, such as e7.3`,
      }),
    );
  });
}

test('what formatAddress() writes, parseAddress() reads as the same address', () => {
  fc.assert(fc.property(addresses, (address) => sameAddress(parseAddress(formatAddress(address)), address)));
});

test('two addresses have the same spelling only when they are the same', () => {
  fc.assert(fc.property(addresses, addresses, (a, b) => sameAddress(a, b) === (formatAddress(a) === formatAddress(b))));
});

test('no address is the same as none', () => {
  expect(sameAddress(undefined, undefined)).toBe(false);
  expect(sameAddress({ shelf: 1, slot: 1 }, undefined)).toBe(false);
});

test('every address that parses is one that the type accepts', () => {
  fc.assert(fc.property(addresses, (address) => Address.safeParse(parseAddress(formatAddress(address))).success));
  for (const wrong of [{ shelf: -1, slot: 0 }, { shelf: 65535, slot: 0 }, { shelf: 1, slot: 255 }, { shelf: 1.5, slot: 0 }, { shelf: 1 }]) {
    expect(Address.safeParse(wrong).success, JSON.stringify(wrong)).toBe(false);
  }
});

test('the names of mappings have the address, so that a program that hangs is found by it', () => {
  expect(addressOfMapping('/dev/mapper/aoe-e7.3-u')).toBe('e7.3');
  expect(addressOfMapping('aoe-e7.30-u')).toBe('e7.30');
  for (const other of ['/dev/mapper/vg-aoe', 'aoe-e7.3', '/dev/etherd/e7.3', 'x-aoe-e7.3-u'])
    expect(addressOfMapping(other)).toBeUndefined();
});
