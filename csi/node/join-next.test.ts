import { joinNext } from './join-next.ts';

test('calls during a run share the next one', async () => {
  const ends: PromiseWithResolvers<string>[] = [];
  const look = joinNext(() => {
    const end = Promise.withResolvers<string>();
    ends.push(end);
    return end.promise;
  });
  const first = [look(), look()];
  await new Promise(setImmediate);
  const second = [look(), look()];
  await new Promise(setImmediate);
  expect(ends).toHaveLength(1);
  ends[0]?.resolve('first');
  expect(await Promise.all(first)).toStrictEqual(['first', 'first']);
  await new Promise(setImmediate);
  ends[1]?.resolve('second');
  expect(await Promise.all(second)).toStrictEqual(['second', 'second']);
  expect(ends).toHaveLength(2);
});

test('a run that fails fails for those who share it, and not for the next', async () => {
  let failing = true;
  const look = joinNext(async () => {
    if (failing) throw new Error('EIO');
    return 'seen';
  });
  await expect(look()).rejects.toThrow('EIO');
  failing = false;
  expect(await look()).toBe('seen');
});
