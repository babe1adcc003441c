import { RangeJoiner } from './blocks.ts';

it('joins ranges that touch, and refuses those that go back', () => {
  const joiner = new RangeJoiner();
  const added = [
    [0, 4],
    [4, 4],
    [9, 1],
  ].flatMap(([offset = 0, bytes = 0]) => joiner.add({ offset, bytes }));
  expect([...added, ...joiner.end()]).toStrictEqual([
    { offset: 0, bytes: 8 },
    { offset: 9, bytes: 1 },
  ]);
  joiner.add({ offset: 4, bytes: 4 });
  expect(() => joiner.add({ offset: 7, bytes: 4 })).toThrow(RangeError);
  expect(() => joiner.add({ offset: 8, bytes: 0 })).toThrow(RangeError);
});
