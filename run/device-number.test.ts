import { statSync } from 'node:fs';
import { deviceNumber } from './device-number.ts';

test('a device number has 12 bits of major and 20 of minor', () => {
  expect(deviceNumber(0x9800)).toStrictEqual({ major: 152, minor: 0 });
  expect(deviceNumber(0xfff00fff >>> 0)).toStrictEqual({ major: 15, minor: (0xfffff & 0xff) | 0xfff00 });
  expect(deviceNumber(0x00100810)).toStrictEqual({ major: 8, minor: 0x110 });
});

test('/dev/null is 1:3', () => {
  expect(deviceNumber(statSync('/dev/null').rdev)).toStrictEqual({ major: 1, minor: 3 });
});
