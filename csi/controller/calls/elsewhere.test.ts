import assert from 'node:assert/strict';
import { SEGMENT_KEY } from '../../../api/meta.ts';
import { AOE_VOLUMES } from '../../../api/resources.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from '../../../api/volume.ts';
import { KubeError, TimeoutError } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { call, mount } from '../testing/fake-cluster.ts';
import { fakeDeps, putNode, putVolume, type Reaction, ready } from '../testing/fake-deps.ts';
import { PATIENCE_MS } from '../unplaced.ts';
import { createVolume } from './create.ts';

const CLAIMED = { 'csi.storage.k8s.io/pvc/name': 'data', 'csi.storage.k8s.io/pvc/namespace': 'shop' };

/** Storage nodes on two segments, and a claim for which the scheduler has chosen a node of one of them. */
function world(reaction: Reaction) {
  const clock = { ms: 0 };
  const { api, deps } = fakeDeps({ reaction, now: () => clock.ms });
  putNode(api, 'on-blue', { segment: 'blue' });
  putNode(api, 'on-green', { segment: 'green' });
  const volume = () => api.read<AoEVolume & { kind: string }>(AOE_VOLUMES, 'v');
  /** What the watch shows all the time, when it is late. */
  const late: { shows?: AoEVolume | undefined } = {};
  const { waitFor } = deps.volumes;
  const waitForLate = async (_name: string, ask: (volume: AoEVolume | undefined) => unknown) => {
    const answer = ask(late.shows);
    if (answer === undefined) throw new TimeoutError('the watch is late');
    return answer;
  };
  Object.assign(deps.volumes, {
    waitFor: (...args: [never, never, never]) => (late.shows ? waitForLate(args[0], args[1]) : waitFor(...args)),
  });
  return {
    api,
    deps,
    late,
    clock,
    volume,
    create: (segment: string, request: csi.v1.ICreateVolumeRequest = {}) => {
      const accessibilityRequirements = { requisite: [{ segments: { [SEGMENT_KEY]: segment } }] };
      return createVolume(deps, { name: 'v', volumeCapabilities: [mount], accessibilityRequirements, ...request }, call());
    },
    change: (changed: Partial<AoEVolume>) => api.put({ ...(volume() ?? assert.fail()), ...changed }),
  };
}

const notPlaced = (reason: string, observedGeneration?: number) => {
  const condition = { type: 'Placed', status: 'False' as const, reason, message: `because of ${reason}`, lastTransitionTime: '' };
  return { phase: 'Pending' as const, conditions: [{ ...condition, ...(observedGeneration === undefined ? {} : { observedGeneration }) }] };
};
const placed: Reaction = {
  spec: { nodeName: 'on-blue', address: { shelf: 1, slot: 0 } },
  finalizers: [VOLUME_FINALIZER],
  status: { phase: 'Pending' },
};
const readyOnBlue: Reaction = { ...ready, spec: { ...ready.spec, nodeName: 'on-blue' } };

describe('CreateVolume that is repeated with another segment', () => {
  it('lets a volume without a place have one there', async () => {
    const { create, volume } = world({ status: notPlaced('NodesNotReady') });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const first = volume();
    expect(first?.spec.segments).toStrictEqual(['blue']);
    await expect(create('green')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()?.spec.segments).toStrictEqual(['green']);
    expect(volume()?.metadata).toMatchObject({ uid: first?.metadata.uid });
    expect(volume()?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('does not take what the operator says of the first segment for an answer to the second', async () => {
    const { create, volume, change } = world({ status: { phase: 'Pending' } });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    change({ status: notPlaced('NoEligibleNode', 2) });
    await expect(create('green')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    change({ status: notPlaced('NoEligibleNode', (volume()?.metadata.generation ?? 0) + 1) });
    await expect(create('green')).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    expect(volume()).toBeUndefined();
  });

  it('does not take for an answer what a late watch shows of the first segment', async () => {
    const { create, volume, change, late } = world({ status: { phase: 'Pending' } });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    change({ status: notPlaced('NoEligibleNode', (volume()?.metadata.generation ?? 0) + 1) });
    late.shows = volume();
    await expect(create('green')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()?.spec.segments).toStrictEqual(['green']);
    expect(volume()?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('is ABORTED when the volume is deleted at this moment: NOT_FOUND would be said of the source', async () => {
    const { create, api } = world({ status: notPlaced('NodesNotReady') });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const patch = async () => {
      api.remove(AOE_VOLUMES, 'v');
      throw new KubeError(404, 'NotFound', 'there is no such AoEVolume');
    };
    Object.assign(api, { patch });
    await expect(create('green')).rejects.toMatchObject({ code: Code.ABORTED });
  });

  it('deletes a volume with a place that has no data yet, and is made again when it is gone', async () => {
    const { create, volume, api } = world(placed);
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const message = expect.stringMatching(/made on segment blue, but green is requested now: it is deleted/);
    await expect(create('green')).rejects.toMatchObject({ code: Code.ABORTED, message });
    expect(volume()?.metadata.deletionTimestamp).toBeDefined();
    await expect(create('green')).rejects.toMatchObject({ code: Code.ABORTED });
    api.remove(AOE_VOLUMES, 'v');
    await expect(create('green')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()?.spec.segments).toStrictEqual(['green']);
  });

  it('deletes a volume that has become ready meanwhile, when it is for the same claim and nobody has had it', async () => {
    const { create, volume } = world(readyOnBlue);
    await create('blue', { parameters: CLAIMED });
    await expect(create('green', { parameters: CLAIMED })).rejects.toMatchObject({ code: Code.ABORTED });
    expect(volume()?.metadata.deletionTimestamp).toBeDefined();
  });

  const initiators: Partial<AoEVolumeSpec> = { initiators: { nodes: ['w'] } };
  const pv = { kind: 'PersistentVolume', metadata: { name: 'v' }, spec: { csi: { driver: 'aoe.dev', volumeHandle: 'v' } } };
  for (const [what, isClaimed, prepare] of [
    ['that is for no claim', false, () => {}],
    ['that a node may use', true, ({ change, volume }) => change({ spec: { ...(volume()?.spec ?? assert.fail()), ...initiators } })],
    ['that a PersistentVolume names', true, ({ api }) => api.put(pv)],
  ] as const satisfies [string, boolean, (it: ReturnType<typeof world>) => void][]) {
    it(`refuses a ready volume ${what}, and keeps it`, async () => {
      const it = world(readyOnBlue);
      const parameters = isClaimed ? CLAIMED : {};
      await it.create('blue', { parameters });
      prepare(it);
      const message = 'AoEVolume v exists with segment blue, but green is requested';
      await expect(it.create('green', { parameters })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS, message });
      expect(it.volume()?.metadata.deletionTimestamp).toBeUndefined();
      expect((await it.create('blue', { parameters })).volume.volumeId).toBe('v');
    });
  }

  it('refuses a volume that a person made, and leaves it as it is', async () => {
    const { create, volume, api } = world({});
    putVolume(api, 'v', { segments: ['blue'] });
    await expect(create('green')).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
    expect(volume()?.spec.segments).toStrictEqual(['blue']);
  });
});

describe('a volume whose only possible nodes are away', () => {
  it('is given back after minutes, so that the scheduler may choose another segment', async () => {
    const { create, volume, clock } = world({ status: notPlaced('NodesNotReady') });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    clock.ms = PATIENCE_MS - 1;
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()).toBeDefined();
    clock.ms = PATIENCE_MS;
    const message = 'AoEVolume v has had no place for minutes: because of NodesNotReady';
    await expect(create('blue')).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED, message });
    expect(volume()).toBeUndefined();
    await expect(create('blue'), 'a new one has all of the time').rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  });

  it('has all of the time again after another state, and on another segment', async () => {
    const { create, volume, clock, change } = world({ status: notPlaced('NodesNotReady') });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    change({ status: { phase: 'Pending' } });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    change({ status: notPlaced('NodesNotReady') });
    clock.ms = PATIENCE_MS;
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    clock.ms = 2 * PATIENCE_MS;
    await expect(create('green')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()).toBeDefined();
  });

  it('is forgotten when it became ready between two calls', async () => {
    const { create, volume, change, clock, deps } = world({ status: notPlaced('NodesNotReady') });
    await expect(create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const { metadata, spec } = volume() ?? assert.fail();
    const { finalizers = [], status = {} } = readyOnBlue;
    change({ metadata: { ...metadata, finalizers }, spec: { ...spec, ...readyOnBlue.spec }, status });
    expect((await create('blue')).volume.volumeId).toBe('v');
    clock.ms = PATIENCE_MS;
    expect(deps.unplaced.look(volume() ?? assert.fail(), true)).toBe(false);
  });

  it('waits on when it is to have the data of a snapshot, and stays when a person made it', async () => {
    const it = world({});
    putVolume(it.api, 'v', { segments: ['blue'], source: { snapshot: 's' } }, notPlaced('NodesNotReady'));
    it.api.put({ kind: 'AoESnapshot', metadata: { name: 's' }, status: { phase: 'Ready', capacity: '1Gi' } });
    const request = { volumeContentSource: { snapshot: { snapshotId: 's' } } };
    await expect(it.create('blue', request)).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    it.clock.ms = PATIENCE_MS;
    await expect(it.create('blue', request)).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    const { source: _, ...spec } = it.volume()?.spec ?? assert.fail();
    it.change({ spec });
    await expect(it.create('blue')).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    it.clock.ms = 2 * PATIENCE_MS;
    await expect(it.create('blue')).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    expect(it.volume()).toBeDefined();
  });
});
