import { formatLock } from '../../../aoe/mod.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';
import { isLockUnbroken } from './continuity.ts';

const owner = { node: 'a', nodeUID: 'node-uid', volumeUID: 'volume-uid' };
const [first, second] = ['2026-01-01T00:00:00.000001Z', '2026-01-01T00:00:00.000002Z'];
const configOf = (string: Uint8Array) => ({
  interfaceName: 'eth0',
  mac: '02:00:00:00:00:01',
  shelf: 7,
  slot: 3,
  error: 0,
  string,
  bufferCount: 16,
  firmware: 1,
  sectors: 2,
});
const lockOf = (since: string, change = {}) => configOf(formatLock({ ...owner, ...change, since }));
const record = (locks?: string[]): StagedVolume => ({
  version: 1,
  volumeUID: 'volume-uid',
  address: 'e7.3',
  access: 'Exclusive',
  external: false,
  stagingPath: '/s',
  ...(locks ? { locks } : {}),
});

for (const [what, configs, staged, unbroken] of [
  ['the lock of this staging', [lockOf(first)], record([first]), true],
  ['one of two locks, of a stage that was interrupted', [lockOf(second)], record([first, second]), true],
  ['a lock that was taken later', [lockOf(second)], record([first]), false],
  ['no lock', [configOf(new Uint8Array())], record([first]), false],
  ['no answer of any target', [], record([first]), false],
  ['the lock of another node', [lockOf(first, { node: 'b' })], record([first]), false],
  ['the lock of this node for another volume', [lockOf(first, { volumeUID: 'x' })], record([first]), false],
  ['a string that is not a lock', [configOf(new TextEncoder().encode('hello'))], record([first]), false],
  ['the lock at one target and none at another', [lockOf(first), configOf(new Uint8Array())], record([first]), false],
  ['a lock of this node, and a record of an earlier version', [lockOf(second)], record(), true],
] as const) {
  test(`${what}: ${unbroken ? 'no other host can have written' : 'another host may have written'}`, () => {
    expect(isLockUnbroken(configs, owner, staged)).toBe(unbroken);
  });
}
