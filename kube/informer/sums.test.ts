import fc from 'fast-check';
import type { KubeObject } from '../client/types.ts';
import { FakeInformer } from '../testing/fake-informer.ts';
import { Sums } from './sums.ts';

type Thing = KubeObject & { key?: string; size: number };

function summed(...present: Thing[]) {
  let reads = 0;
  const informer = new FakeInformer(...present);
  const sums = new Sums(informer, ({ key, size }) => {
    reads++;
    return key === undefined ? undefined : { key, size };
  });
  const change = informer.change.bind(informer);
  return { sums, change, reads: () => reads };
}

const thing = (name: string, size: number, key?: string): Thing => ({ metadata: { name }, size, ...(key === undefined ? {} : { key }) });

test('each size is rounded up by itself', () => {
  const { sums, change } = summed(thing('a', 5, 'x'));
  change('applied', thing('b', 1, 'x'));
  change('applied', thing('c', 7, 'y'));
  change('applied', thing('d', 9));
  expect([sums.total('x', 1), sums.total('x', 4), sums.total('y', 4), sums.total('z', 4)]).toStrictEqual([6, 12, 8, 0]);
});

test('the sum is that of the objects that there are, whatever happened before', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const key = fc.constantFrom('x', 'y', undefined);
  const step = fc.tuple(fc.boolean(), name, fc.integer({ min: 1, max: 9 }), key, fc.constantFrom(1, 4), fc.constantFrom(0, 3));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const { sums, change } = summed();
      const there = new Map<string, Thing>();
      for (const [isThere, each, size, key, grain, more] of steps) {
        const object = thing(each, size, key);
        if (isThere) there.set(each, object);
        else there.delete(each);
        change(isThere ? 'applied' : 'deleted', object);
        const expected = [...there.values()]
          .filter((other) => other.key === 'x')
          .map((other) => Math.ceil(other.size / grain) * grain + more);
        expect(sums.total('x', grain, more)).toBe(expected.reduce((sum, one) => sum + one, 0));
      }
    }),
  );
});

test('to read a sum, or to change one object, reads no other object', () => {
  const { sums, change, reads } = summed(...Array.from({ length: 100 }, (_, index) => thing(`t${index}`, index, 'x')));
  const before = reads();
  change('applied', thing('t1', 50, 'x'));
  sums.total('x', 4);
  expect(reads() - before).toBe(1);
});
