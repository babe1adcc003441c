import type { KubeObject } from '../client/types.ts';
import { FakeInformer } from '../testing/fake-informer.ts';
import { Index } from './index.ts';

type Thing = KubeObject & { colors: string[] };
const thing = (name: string, ...colors: string[]): Thing => ({ metadata: { name }, colors });

function indexed(...present: Thing[]) {
  let reads = 0;
  const informer = new FakeInformer(...present);
  const index = new Index(informer, (object) => {
    reads++;
    return object.colors;
  });
  const change = informer.change.bind(informer);
  return { index, change, reads: () => reads };
}

test('objects are found by each of their keys, those too that were there first', () => {
  const { index, change } = indexed(thing('a', 'red', 'blue'));
  change('applied', thing('b', 'red'));
  expect(index.get('red').sort()).toStrictEqual(['a', 'b']);
  expect([index.get('blue'), index.get('green')]).toStrictEqual([['a'], []]);
});

test('an object is found by what it has now, and not at all when it is gone', () => {
  const { index, change } = indexed(thing('a', 'red'), thing('b', 'red'));
  change('applied', thing('a', 'green'));
  expect([index.get('red'), index.get('green')]).toStrictEqual([['b'], ['a']]);
  change('applied', thing('a'));
  change('deleted', thing('b', 'blue'));
  expect([index.get('red'), index.get('green'), index.get('blue')]).toStrictEqual([[], [], []]);
});

test('a change of one object reads no other', () => {
  const { change, reads } = indexed(...Array.from({ length: 1_000 }, (_, i) => thing(`t${i}`, 'red')));
  const before = reads();
  change('applied', thing('t7', 'blue'));
  expect(reads() - before).toBe(1);
});
