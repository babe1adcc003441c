import { CONFIRM_AFTER_MS, Orphans } from './orphans.ts';

test('a volume without an AoEVolume is an orphan only at the second check', () => {
  let now = 0;
  const orphans = new Orphans(() => now);
  const present = [
    { uid: 'known', name: 'vg/known', bytes: 1 },
    { uid: 'lost', name: 'vg/lost', bytes: 1 },
  ];
  const check = (volumes = present) => orphans.check('p', volumes, (uid) => uid === 'known');
  expect(check()).toStrictEqual({ orphans: [], hasSuspects: true });
  now += CONFIRM_AFTER_MS;
  expect(check().orphans.map(({ uid }) => uid)).toStrictEqual(['lost']);
  // Gone and back: from the start again.
  check([]);
  expect(check().orphans).toStrictEqual([]);
});
