import { Orphans, SECOND_LOOK_MS } from './orphans.ts';

test('a volume without an AoEVolume is an orphan at the second look only', () => {
  let now = 0;
  const looker = new Orphans(() => now);
  const present = [
    { uid: 'known', name: 'vg/known', bytes: 1 },
    { uid: 'lost', name: 'vg/lost', bytes: 1 },
  ];
  const look = (volumes = present) => looker.look('p', volumes, (uid) => uid === 'known');
  expect(look()).toStrictEqual({ orphans: [], again: true });
  now += SECOND_LOOK_MS;
  expect(look().orphans.map(({ uid }) => uid)).toStrictEqual(['lost']);
  // Gone and back: from the start again.
  look([]);
  expect(look().orphans).toStrictEqual([]);
});
