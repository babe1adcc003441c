import { WriteDelay } from './write-delay.ts';

test('changes gather from the first one on, and later ones are counted by themselves', () => {
  let now = 1_000;
  const delay = new WriteDelay(250, () => now);
  expect(delay.left('a')).toBe(250);
  now += 100;
  expect([delay.left('a'), delay.left('b')]).toStrictEqual([150, 250]);
  now += 200;
  expect([delay.left('a'), delay.left('b')]).toStrictEqual([0, 50]);
  delay.clear('a');
  expect(delay.left('a')).toBe(250);
});

test('without a delay each change is written at once', () => {
  expect(new WriteDelay(0).left('a')).toBe(0);
});
