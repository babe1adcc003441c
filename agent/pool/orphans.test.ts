import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Orphans, SECOND_LOOK_MS } from './orphans.ts';

test('a volume without an AoEVolume is an orphan at the second look only', () => {
  let now = 0;
  const looker = new Orphans(() => now);
  const present = [
    { uid: 'known', name: 'vg/known', bytes: 1 },
    { uid: 'lost', name: 'vg/lost', bytes: 1 },
  ];
  const look = (volumes = present) => looker.look('p', volumes, (uid) => uid === 'known');
  assert.deepEqual(look(), { orphans: [], again: true });
  now += SECOND_LOOK_MS;
  assert.deepEqual(
    look().orphans.map(({ uid }) => uid),
    ['lost'],
  );
  // Gone and back: from the start again.
  look([]);
  assert.deepEqual(look().orphans, []);
});
