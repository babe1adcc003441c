import { KubeError } from '../client/error.ts';
import type { Applied } from '../client/kube.ts';
import type { Condition, KubeObject } from '../client/types.ts';
import { WIDGETS } from '../testing/types.ts';
import { applyStatus, type StatusPart } from './status-writer.ts';

type Widget = KubeObject & { status?: { phase?: string; size?: string; nodes?: { name: string }[]; conditions?: Condition[] } };

const ready: Condition = {
  type: 'Ready',
  status: 'True',
  reason: 'Fine',
  message: 'all is well',
  lastTransitionTime: '2020-01-01T00:00:00Z',
};
const { lastTransitionTime: _, ...readyNow } = ready;
const widget = (status: Widget['status'] = {}): Widget => ({ metadata: { name: 'w', uid: 'u', resourceVersion: '5' }, status });

/** Applies a part to a widget. @param changes what others make of the object, one before each of the first writes */
async function apply(object: Widget, part: Partial<StatusPart>, changes: (Widget | undefined)[] = []) {
  const { signal } = new AbortController();
  const writes: Applied[] = [];
  let live: Widget | undefined = object;
  const kube = {
    apply: async (_type: unknown, applied: Applied) => {
      writes.push(applied);
      if (changes.length > 0) live = changes.shift();
      if (!live) throw new KubeError(404, 'NotFound', 'gone');
      const { resourceVersion = live.metadata.resourceVersion } = applied.metadata;
      if (resourceVersion !== live.metadata.resourceVersion) throw new KubeError(409, 'Conflict', 'changed');
      return { ...live, status: { ...live.status, ...applied.status } };
    },
    get: async () => live,
  };
  const result = await applyStatus<Widget>(kube as never, WIDGETS, object, { manager: 'm', signal, ...part });
  return { writes, result };
}

test('a part that differs is written as a whole, on the version that it was decided on', async () => {
  const object = widget({ phase: 'Pending', size: '1Gi', conditions: [ready] });
  const { writes, result } = await apply(object, { fields: { phase: 'Ready', size: '1Gi' }, conditions: [readyNow] });
  const status = { phase: 'Ready', size: '1Gi', conditions: [ready] };
  expect(writes).toStrictEqual([{ metadata: { name: 'w', resourceVersion: '5' }, status }]);
  expect(result?.status?.phase).toBe('Ready');
});

test('a part that the object has already is not written; what others own is not looked at', async () => {
  const others = { ...ready, type: 'Placed' };
  const object = widget({ phase: 'Ready', size: '1Gi', conditions: [others, ready] });
  const { writes, result } = await apply(object, { fields: { phase: 'Ready' }, conditions: [readyNow] });
  expect(writes).toStrictEqual([]);
  expect(result).toBe(object);
});

test('each difference alone leads to a write', async () => {
  const object = widget({ phase: 'Ready', size: '1Gi', conditions: [ready] });
  for (const part of [
    { fields: { phase: 'Ready', size: undefined } },
    { conditions: [{ ...readyNow, message: 'still well' }] },
    { conditions: [{ ...readyNow, observedGeneration: 3 }] },
    { conditions: [{ ...readyNow, type: 'Placed' }] },
  ])
    expect((await apply(object, part)).writes, JSON.stringify(part)).toHaveLength(1);
});

test('of a list that several managers write, only the own entries are compared', async () => {
  const object = widget({ nodes: [{ name: 'a' }, { name: 'b' }] });
  const part = { fields: { nodes: [{ name: 'a' }] } };
  expect((await apply(object, { ...part, present: { nodes: [{ name: 'a' }] } })).writes).toHaveLength(0);
  expect((await apply(object, { ...part, present: { nodes: [] } })).writes).toHaveLength(1);
});

test('a part for any version is written without one', async () => {
  const { writes } = await apply(widget(), { fields: { phase: 'Ready' }, anyVersion: true });
  expect(writes[0]?.metadata).toStrictEqual({ name: 'w' });
});

test('an object that others change is written to again; a new one of the same name is not', async () => {
  const fields = { phase: 'Ready' };
  const changed: Widget = { metadata: { name: 'w', uid: 'u', resourceVersion: '6' } };
  const again = await apply(widget(), { fields }, [changed]);
  expect(again.writes.map(({ metadata }) => metadata.resourceVersion)).toStrictEqual(['5', '6']);
  const namesake: Widget = { metadata: { name: 'w', uid: 'another', resourceVersion: '6' } };
  const other = await apply(widget(), { fields }, [namesake]);
  expect([other.writes.length, other.result]).toStrictEqual([1, undefined]);
  expect((await apply(widget(), { fields }, [undefined])).result).toBeUndefined();
  expect((await apply(widget(), { fields, still: () => false }, [changed])).result).toBeUndefined();
});
