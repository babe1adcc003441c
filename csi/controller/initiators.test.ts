import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeStatus } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { Code } from '../../rpc/status.ts';
import { changeInitiators, waitForInitiators } from './initiators.ts';
import { call } from './testing/fake-cluster.ts';
import { fakeDeps, putVolume } from './testing/fake-deps.ts';

function world(nodes: string[] = []) {
  const { api, deps } = fakeDeps();
  putVolume(api, 'v', { initiators: nodes.length > 0 ? { nodes } : {} });
  const read = () => api.read<AoEVolume>(AOE_VOLUMES, 'v') as AoEVolume;
  const first = read();
  const change = (decide: (volume: AoEVolume) => string[]) => changeInitiators(deps, first, decide, call());
  return { api, deps, read, change };
}
const plus = (node: string) => (volume: AoEVolume) => [...(volume.spec.initiators.nodes ?? []), node];

test('the nodes are written; nothing is written when they stay as they are', async () => {
  const { api, change, read } = world(['a']);
  await change(() => ['a']);
  expect(api.patches).toBe(0);
  expect((await change(plus('b'))).spec.initiators.nodes).toStrictEqual(['a', 'b']);
  expect(read().spec.initiators.nodes).toStrictEqual(['a', 'b']);
});

test('the last node leaves no empty list', async () => {
  const { change, read } = world(['a']);
  await change(() => []);
  expect(read().spec.initiators).toStrictEqual({});
});

test('after a change by somebody else it is decided again, for what the volume is now', async () => {
  const { api, change, read } = world(['a']);
  await api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: ['a', 'x'] } } });
  await change(plus('b'));
  expect(read().spec.initiators.nodes).toStrictEqual(['a', 'x', 'b']);
});

test('ABORTED when others change it at each attempt, NOT_FOUND when it was deleted, and errors of the decision as they are', async () => {
  const busy = world(['a']);
  for (let i = 0; i < 50; i++) busy.api.failNext('patch', new KubeError(409, 'Conflict', 'changed'));
  await expect(busy.change(plus('b'))).rejects.toMatchObject({ code: Code.ABORTED });
  const gone = world(['a']);
  gone.api.remove(AOE_VOLUMES, 'v');
  await expect(gone.change(plus('b'))).rejects.toMatchObject({ code: Code.NOT_FOUND });
  const refused = () => {
    throw new KubeError(403, 'Forbidden', 'no');
  };
  await expect(world().change(refused)).rejects.toThrow('no');
});

const exported = (reason: string, observedGeneration: number): AoEVolumeStatus => ({
  conditions: [{ type: 'Exported', status: 'False', reason, message: reason, observedGeneration, lastTransitionTime: '' }],
});
const removal = { wanted: 'to remove node a', isDone: (nodes: readonly string[]) => !nodes.includes('a') };
const admission = { wanted: 'to admit node a', isDone: (nodes: readonly string[]) => nodes.includes('a') };
for (const [what, wait, status, isOver] of [
  ['a confirmation of this generation', removal, { initiators: { observedGeneration: 5, nodes: [] } }, true],
  ['a confirmation of a later generation', admission, { initiators: { observedGeneration: 6, nodes: ['a'] } }, true],
  ['a confirmation of an earlier generation', removal, { initiators: { observedGeneration: 4, nodes: [] } }, false],
  ['no confirmation', removal, {}, false],
  ['a node that is still admitted', removal, { initiators: { observedGeneration: 5, nodes: ['a'] } }, false],
  ['a target without the volume', removal, exported('NotProvisioned', 5), true],
  ['a target that is too old to serve the volume', removal, exported('TargetTooOld', 5), true],
  ['a target without the volume, of an earlier generation', removal, exported('NotProvisioned', 4), false],
  ['a target without the volume, where a node is to be admitted', admission, exported('NotProvisioned', 5), false],
  ['a target that does not answer: it may still serve', removal, exported('TargetUnavailable', 5), false],
] as const) {
  test(`the wait for the target ${isOver ? 'ends' : 'goes on'} with ${what}`, async () => {
    const { api, deps, read } = world();
    api.put({ ...read(), metadata: { ...read().metadata, generation: 4 }, status: structuredClone(status) as AoEVolumeStatus });
    const volume = read();
    expect(volume.metadata.generation).toBe(5);
    const waiting = waitForInitiators(deps, volume, wait, call());
    if (isOver) expect((await waiting).metadata.name).toBe('v');
    else await expect(waiting).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED, message: expect.stringContaining(wait.wanted) });
  });
}
