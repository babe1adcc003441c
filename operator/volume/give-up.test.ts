import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoEPool, MAX_ABANDONED } from '../../api/pool.ts';
import { AOE_POOLS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { AddressRange } from '../placement/address-range.ts';
import { VolumeReconciler } from './reconciler.ts';

const signal = new AbortController().signal;

/** A volume on storage-2 that worker uses, and watches that show neither Node nor AoENode of storage-2. */
function cluster({ annotation, exists = [], nodes = ['worker'] }: { annotation?: string; exists?: string[]; nodes?: string[] } = {}) {
  const api = new FakeApi();
  for (const kind of exists) api.put({ apiVersion: API_VERSION, kind, metadata: { name: 'storage-2' } });
  const nothing = { get: () => undefined, list: () => [] };
  const reconciler = new VolumeReconciler({
    copies: { at: () => undefined },
    kube: api,
    volumes: api.store<AoEVolume>('AoEVolume'),
    byClaim: { get: () => [] },
    sizes: { total: () => 0 },
    pools: nothing,
    snapshots: nothing,
    nodes: nothing as { get(): AoENode | undefined; list(): AoENode[] },
    kubeNodes: nothing as { get(): KubeNode | undefined },
    agents: { silence: () => undefined },
    events: api,
    range: new AddressRange('1'),
    statusDelayMs: 0,
    log: createLog('test', 'silent'),
  });
  const annotations = annotation === undefined ? {} : { [GIVE_UP]: annotation };
  const metadata = { name: 'v', uid: 'u', finalizers: [VOLUME_FINALIZER], annotations };
  const holder = { name: 'worker', node: 'worker', since: '2026-01-01T00:00:00Z', raw: 'lock' };
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata,
    spec: {
      capacity: '1Gi',
      pool: 'p',
      access: 'Exclusive',
      deletionPolicy: 'Delete',
      nodeName: 'storage-2',
      address: { shelf: 1, slot: 0 },
      initiators: { nodes },
    },
    status: { initiators: { observedGeneration: 0, nodes: ['worker'], macs: ['02:00:00:00:00:01'] }, holder },
  };
  api.put(volume);
  const live = () => api.read<AoEVolume>(AOE_VOLUMES, 'v');
  return {
    api,
    live,
    reconcile: () => reconciler.reconcile('v', signal),
    detach: () => api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: null } } }),
    ready: () => live()?.status?.conditions?.find(({ type }) => type === 'Ready'),
    reasons: () => api.events.map(({ reason }) => reason),
  };
}

describe('a storage node that never comes back', () => {
  it('is named in the condition, with the way out, and nothing is reported as detached', async () => {
    const it = cluster();
    await it.reconcile();
    expect(it.ready()?.reason).toBe('StorageNodeGone');
    expect(it.ready()?.message).toContain('kubectl annotate aoev v aoe.dev/give-up=storage-2');
    expect(it.live()?.status?.initiators?.nodes).toStrictEqual(['worker']);
    await it.detach();
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.reconcile();
    await it.reconcile();
    expect(it.ready()?.reason).toBe('InUse');
    expect(it.ready()?.message).toMatch(/^deletion waits: locked by worker, node storage-2, which holds the data, does not exist/);
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
  });

  it('is not said to be removing data when an unused volume is deleted', async () => {
    const it = cluster();
    await it.api.patch(AOE_VOLUMES, 'v', { status: { holder: null } }, { subresource: 'status' });
    await it.detach();
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.reconcile();
    await it.reconcile();
    expect(it.ready()).toMatchObject({ reason: 'StorageNodeGone', message: expect.stringContaining('aoe.dev/give-up=storage-2') });
    expect(it.reasons()).toStrictEqual(['StorageNodeGone']);
  });

  it('is given up: detaching ends, and the volume can be deleted without its agent', async () => {
    const it = cluster({ annotation: 'storage-2' });
    await it.reconcile();
    expect(it.ready()?.reason).toBe('GivenUp');
    expect(it.live()?.status?.phase).toBe('Failed');
    await it.detach();
    await it.reconcile();
    const { status, metadata } = it.live() ?? {};
    expect(status?.initiators).toStrictEqual({ observedGeneration: metadata?.generation });
    expect(status?.holder).toBeUndefined();
    expect(metadata?.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.reconcile();
    expect(it.live()).toBeUndefined();
    expect(it.reasons()).toStrictEqual(['GivenUp', 'DataAbandoned']);
    expect(it.api.events.at(-1)?.message).toContain('stays on the disks of that node, as backing volume u');
  });

  it('is remembered in the status of its pool before it is gone, so that its node does not serve it when it comes back', async () => {
    const it = cluster({ annotation: 'storage-2', nodes: [] });
    const older = { uid: 'u-0', volume: 'v-0', node: 'storage-2' };
    it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'p' }, status: { abandoned: [older] } } as never);
    await it.api.delete(AOE_VOLUMES, 'v');
    const abandoned = () => it.api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned;
    await it.reconcile();
    expect(it.live()).toBeUndefined();
    expect(abandoned()).toStrictEqual([older, { uid: 'u', volume: 'v', node: 'storage-2', addresses: [{ shelf: 1, slot: 0 }] }]);
  });

  it('says which volume is no longer remembered when more are given up than the status of a pool has room for', async () => {
    const it = cluster({ annotation: 'storage-2', nodes: [] });
    const entry = (index: number) => ({
      uid: `u-${index}`,
      volume: `v-${index}`,
      node: 'lost',
      addresses: [{ shelf: 7, slot: index % 16 }],
    });
    const abandoned = Array.from({ length: MAX_ABANDONED }, (_, index) => entry(index));
    it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'p' }, status: { abandoned } } as never);
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.reconcile();
    const left = it.api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned ?? [];
    expect([left.length, left[0]?.volume, left.at(-1)?.volume]).toStrictEqual([MAX_ABANDONED, 'v-1', 'v']);
    expect(it.api.events.filter(({ reason }) => reason === 'AbandonedForgotten')).toStrictEqual([
      {
        reason: 'AbandonedForgotten',
        message: expect.stringMatching(/AoEVolume v-0, which was at e7\.0 on node lost, .*\/aoe-csi\/target there$/),
      },
    ]);
  });

  it('keeps its AoEVolume while its pool cannot be written', async () => {
    const it = cluster({ annotation: 'storage-2', nodes: [] });
    await it.reconcile();
    it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'p' } } as never);
    await it.api.delete(AOE_VOLUMES, 'v');
    it.api.failNext('patch', new KubeError(409, 'Conflict', 'the pool was changed'));
    await expect(it.reconcile()).rejects.toThrow('the pool was changed');
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    await it.reconcile();
    expect(it.live()).toBeUndefined();
  });

  it('keeps a deleted volume while spec.initiators names a host', async () => {
    const it = cluster({ annotation: 'storage-2' });
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.reconcile();
    expect(it.ready()?.message).toMatch(/^deletion waits: attached to worker, its data was given up/);
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
  });

  it('writes nothing twice', async () => {
    const it = cluster({ annotation: 'storage-2' });
    await it.reconcile();
    const writes = () => it.api.patches + it.api.written.length;
    const before = writes();
    await it.reconcile();
    expect(writes()).toBe(before);
  });

  const refused: [string, string, string[], RegExp][] = [
    ['the Node exists', 'storage-2', ['Node', 'AoENode'], /node storage-2 exists: .*kubectl delete node storage-2/],
    ['only the Node exists', 'storage-2', ['Node'], /node storage-2 exists/],
    ['only the AoENode exists', 'storage-2', ['AoENode'], /AoENode storage-2 still exists/],
    ['another node is named', 'storage-1', [], /names storage-1, but the data is on storage-2/],
    ['no node is named', '', [], /but the data is on storage-2/],
  ];
  for (const [what, annotation, exists, why] of refused) {
    it(`is not given up when ${what}, although the watch is late`, async () => {
      const it = cluster({ annotation, exists });
      await it.detach();
      await it.api.delete(AOE_VOLUMES, 'v');
      await it.reconcile();
      expect(it.live()?.metadata.annotations).toStrictEqual({});
      expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
      expect(it.live()?.status).toMatchObject({ initiators: { nodes: ['worker'] }, holder: { node: 'worker' } });
      expect(it.api.events[0]).toMatchObject({ reason: 'GiveUpRefused', message: expect.stringMatching(why) });
    });
  }

  it('keeps what its agent reports when it comes back at this moment', async () => {
    const it = cluster({ annotation: 'storage-2' });
    const { get } = it.api;
    Object.assign(it.api, {
      get: async (type: { kind: string }, name: string) => {
        const found = await get(type, name);
        if (type.kind === 'AoENode') await it.api.patch(AOE_VOLUMES, 'v', { status: { serial: 'reported' } }, { subresource: 'status' });
        return found;
      },
    });
    await expect(it.reconcile()).rejects.toMatchObject({ code: 409 });
    expect(it.live()?.status?.initiators?.nodes).toStrictEqual(['worker']);
  });
});
