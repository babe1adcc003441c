import { type AoEVolume, isReportOfPlace, serialNumber, serialOf } from './volume.ts';

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
