import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { deviceNumber } from './device-number.ts';

test('a device number has 12 bits of major and 20 of minor', () => {
  assert.deepEqual(deviceNumber(0x9800), { major: 152, minor: 0 });
  assert.deepEqual(deviceNumber(0xfff00fff >>> 0), { major: 15, minor: (0xfffff & 0xff) | 0xfff00 });
  assert.deepEqual(deviceNumber(0x00100810), { major: 8, minor: 0x110 });
});

test('/dev/null is 1:3', () => {
  assert.deepEqual(deviceNumber(statSync('/dev/null').rdev), { major: 1, minor: 3 });
});
