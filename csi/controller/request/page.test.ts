import { Code } from '../../../rpc/status.ts';
import { pageOf } from './page.ts';

const objects = ['c', 'a', 'b'].map((name) => ({ metadata: { name } }));

test('pages are in the order of names, and a token outlives the object that it names', () => {
  expect(pageOf(objects, {})).toStrictEqual({ page: ['a', 'b', 'c'].map((name) => ({ metadata: { name } })), nextToken: '' });
  const { page, nextToken } = pageOf(objects, { maxEntries: 2 });
  expect(page.map(({ metadata }) => metadata.name)).toStrictEqual(['a', 'b']);
  const rest = objects.filter(({ metadata }) => metadata.name !== 'b');
  expect(pageOf(rest, { maxEntries: 2, startingToken: nextToken }).page).toStrictEqual([{ metadata: { name: 'c' } }]);
  expect(() => pageOf(objects, { maxEntries: -1 })).toThrow(expect.objectContaining({ code: Code.INVALID_ARGUMENT }));
  expect(() => pageOf(objects, { startingToken: 'b' })).toThrow(expect.objectContaining({ code: Code.ABORTED }));
});
