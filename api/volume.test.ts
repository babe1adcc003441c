import fc from 'fast-check';
import { type AoEVolume, diskBytesFor, ENCRYPTION, isReportOfPlace, serialNumber, serialOf, userBytesOf } from './volume.ts';

const UID = '11111111-2222-3333-4444-555555555555';

test('the serial number of a volume is made of its UID, and is another one after each move', () => {
  const serials = [0, 1, 2, 10, 999_999].map((moves) => serialNumber(UID, moves));
  expect(serials).toStrictEqual([
    '11111111222233334444',
    '111111112222333344-1',
    '111111112222333344-2',
    '11111111222233334-10',
    '1111111122223-999999',
  ]);
});

const volume = (spec: object, status: object): AoEVolume => ({ metadata: { name: 'v', uid: UID }, spec, status }) as never;

test('the serial number to expect of a moved volume does not come from a report about its earlier place', () => {
  const status = { serial: '11111111222233334444' };
  expect(serialOf(volume({}, status))).toBe('11111111222233334444');
  expect(serialOf(volume({ moves: 1 }, status))).toBe('111111112222333344-1');
  expect(serialOf(volume({ external: { serial: 'S' } }, status))).toBe('S');
  expect(serialOf(volume({ external: {} }, {}))).toBeUndefined();
});

test('a report is about the place in the spec when it names the same move', () => {
  const cases = [
    isReportOfPlace(volume({}, {})),
    isReportOfPlace(volume({ moves: 1 }, {})),
    isReportOfPlace(volume({ moves: 1 }, { moves: 1 })),
  ];
  expect(cases).toStrictEqual([true, false, true]);
});

test('a disk is as large as its user needs it, and no sector of 4 KiB larger', () => {
  const sectors = fc.integer({ min: 1, max: 2 ** 38 });
  fc.assert(
    fc.property(sectors, fc.constantFrom(undefined, ...ENCRYPTION), (count, encryption) => {
      const bytes = count * 4096;
      const disk = diskBytesFor({ encryption }, bytes);
      expect(disk % 4096).toBe(0);
      expect(userBytesOf({ encryption }, disk)).toBe(bytes);
      expect(userBytesOf({ encryption }, disk - 4096)).toBeLessThan(bytes);
    }),
  );
});

/** The kernel's 6.1, with cryptsetup 2.6.1: MiB of a disk, and sectors of 512 bytes that its mapping has. */
const MAPPED = { 18: 3568, 24: 15_856, 48: 64_488, 1024: 2_031_880, 8192: 16_484_472, 16384: 33_131_640, 1048576: 2_130_673_784 };

test('with authentication, the user is promised no more than the mapping has, and 1 MiB less at most', () => {
  for (const [disk, sectors] of Object.entries(MAPPED)) {
    const spare = sectors * 512 - userBytesOf({ encryption: 'LUKS2Authenticated' }, Number(disk) * 2 ** 20);
    expect(spare, disk).toBeGreaterThanOrEqual(0);
    expect(spare, disk).toBeLessThanOrEqual(2 ** 20);
  }
});
