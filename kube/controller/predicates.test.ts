import type { KubeObject } from '../client/types.ts';
import type { Change } from '../informer/informer.ts';
import { fieldChanged, generationChanged, labelsChanged, type Predicate } from './predicates.ts';

const object = (generation: number, labels: Record<string, string> = {}): KubeObject => ({ metadata: { name: 'a', generation, labels } });
const change = (previous: KubeObject, now: KubeObject): Change<KubeObject> => ({ type: 'applied', object: now, previous });
const annotated = fieldChanged<KubeObject>(({ metadata }) => metadata.annotations);

const predicates: [string, Predicate<KubeObject>][] = [
  ['generationChanged', generationChanged],
  ['labelsChanged', labelsChanged],
  ['fieldChanged()', annotated],
];
for (const [name, accepts] of predicates) {
  test(`${name} accepts new and deleted objects`, () => {
    expect(accepts({ type: 'applied', object: object(1) })).toBe(true);
    expect(accepts({ type: 'deleted', object: object(1), previous: object(1) })).toBe(true);
  });
  test(`${name} refuses a change of something else`, () => {
    const now = { ...object(1), status: { nodes: 3 } };
    expect(accepts(change(object(1), now))).toBe(false);
  });
}

test('each predicate accepts a change of its own part', () => {
  expect(generationChanged(change(object(1), object(2)))).toBe(true);
  expect(labelsChanged(change(object(1), object(1, { disk: 'ssd' })))).toBe(true);
  expect(annotated(change(object(1), { metadata: { name: 'a', annotations: { x: 'y' } } }))).toBe(true);
});
