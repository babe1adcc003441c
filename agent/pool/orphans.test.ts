import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIRM_AFTER_MS, Orphans } from './orphans.ts';

test('a volume without an AoEVolume is an orphan only at the second check', () => {
  let now = 0;
  const orphans = new Orphans(() => now);
  const present = [
    { uid: 'known', name: 'vg/known', bytes: 1 },
    { uid: 'lost', name: 'vg/lost', bytes: 1 },
  ];
  const check = (volumes = present) => orphans.check('p', volumes, (uid) => uid === 'known');
  assert.deepEqual(check(), { orphans: [], hasSuspects: true });
  now += CONFIRM_AFTER_MS;
  assert.deepEqual(
    check().orphans.map(({ uid }) => uid),
    ['lost'],
  );
  // Gone and back: from the start again.
  check([]);
  assert.deepEqual(check().orphans, []);
});
