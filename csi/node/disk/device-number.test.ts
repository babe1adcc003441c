import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceNumber } from './device-number.ts';

for (const [dev, text] of [
  [0x9830, '152:48'],
  [0x0005, '0:5'],
  // 152:4096: the minor's upper bits lie above the major.
  [0x00109800, '152:256'],
  [0x01009800, '152:4096'],
] as const) {
  test(`deviceNumber(0x${dev.toString(16)}) is ${text}`, () => assert.equal(deviceNumber(dev), text));
}
