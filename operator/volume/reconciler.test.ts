import assert from 'node:assert/strict';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { createLog } from '../../run/log.ts';
import type { Machine } from '../node/kube-node.ts';
import { AddressRange } from '../placement/address-range.ts';
import { Volumes } from './reconciler.ts';

const signal = new AbortController().signal;
const log = createLog('test', 'error');

function volume(name: string, spec: Partial<AoEVolumeSpec> = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name, uid: `uid-${name}`, generation: 1, resourceVersion: '1' },
    spec: { capacity: '6Gi', pool: 'default', access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
  };
}

function external(name: string, slot: number, serial: string): AoEVolume {
  const spec = { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', external: { shelf: 9, slot, serial } } as const;
  return { ...volume(name), spec };
}

/** One node with room for one volume; a watch that tells nothing unless told to; an API server whose answers can get lost. */
class FakeCluster {
  readonly live = new Map<string, AoEVolume>();
  readonly seen = new Map<string, AoEVolume>();
  readonly statuses = new Map<string, NonNullable<AoEVolume['status']>>();
  readonly events: string[] = [];
  /** How the next patch fails, before or after it had its effect. */
  fail: { error: Error; applied: boolean } | undefined;
  /** How reads fail. */
  failGet: Error | undefined;
  readonly node: AoENode = { apiVersion: API_VERSION, kind: 'AoENode', metadata: { name: 'a' }, spec: { maintenance: false } };
  readonly pool: AoEPool = {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name: 'default' },
    spec: { backend: 'file', directory: '/d' },
    status: { nodes: [{ name: 'a', ready: true, size: '10Gi', granularity: '4Mi' }] },
  };
  nodes = [this.node];
  /** Nodes of Kubernetes. */
  machines: Machine[] = [];

  readonly volumes = new Volumes({
    kube: {
      get: async (_type, name) => {
        if (this.failGet) throw this.failGet;
        return this.live.get(name) as never;
      },
      patch: async (_type, name, patch) => {
        const { fail } = this;
        this.fail = undefined;
        if (fail && !fail.applied) throw fail.error;
        const { metadata, spec } = patch as AoEVolume;
        const before = this.live.get(name);
        if (!before || (metadata.resourceVersion && before.metadata.resourceVersion !== metadata.resourceVersion))
          throw new KubeError(409, 'Conflict', 'changed');
        const after = { ...before, metadata: { ...before.metadata, ...metadata, resourceVersion: '2' }, spec: { ...before.spec, ...spec } };
        this.live.set(name, after);
        if (fail) throw fail.error;
        return after as never;
      },
      apply: async (_type, object) => {
        const { metadata, status } = object as unknown as AoEVolume;
        if (status) this.statuses.set(metadata.name, status);
        return object as never;
      },
    },
    volumes: { get: (name) => this.seen.get(name), list: () => [...this.seen.values()] },
    pools: { list: () => [this.pool] },
    nodes: { get: (name) => this.nodes.find(({ metadata }) => metadata.name === name), list: () => this.nodes },
    machines: { get: (name) => this.machines.find(({ metadata }) => metadata.name === name) },
    events: { event: (_object, _type, reason) => this.events.push(reason) },
    range: new AddressRange('1'),
    log,
  });

  add(...volumes: AoEVolume[]): void {
    for (const each of volumes) {
      this.live.set(each.metadata.name, each);
      this.seen.set(each.metadata.name, each);
    }
  }

  /** The watch catches up. */
  tell(): void {
    for (const [name, each] of this.live) this.seen.set(name, each);
  }

  reconcile(name: string): Promise<void> {
    return this.volumes.reconcile(name, signal);
  }

  condition(name: string, type: string) {
    return this.statuses.get(name)?.conditions?.find((each) => each.type === type);
  }
}

describe('Volumes', () => {
  it('counts what it placed before the watch tells of it', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'), volume('second'));
    await Promise.all([cluster.reconcile('first'), cluster.reconcile('second')]);
    expect(cluster.live.get('first')?.spec.nodeName).toBe('a');
    expect(cluster.condition('second', 'Placed')?.reason).toBe('PoolFull');
    expect(cluster.events).toStrictEqual(['Placed', 'PoolFull']);
  });

  it('does not place twice while the watch is late', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'));
    await cluster.reconcile('first');
    await cluster.reconcile('first');
    expect(cluster.events).toStrictEqual(['Placed']);
    expect(cluster.condition('first', 'Placed')?.status).toBe('True');
  });

  it('keeps the place reserved when the answer to its patch was lost', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'), volume('second'));
    cluster.fail = { error: new KubeError(504, 'NoAnswer', 'no answer'), applied: true };
    await expect(cluster.reconcile('first')).rejects.toThrow(KubeError);
    await cluster.reconcile('second');
    expect(cluster.condition('second', 'Placed')?.reason).toBe('PoolFull');
    await cluster.reconcile('first');
    expect(cluster.condition('first', 'Placed')?.status).toBe('True');
  });

  it('keeps the place reserved while nobody can say whether its patch arrived', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'), volume('second'));
    cluster.fail = { error: new KubeError(503, 'Unreachable', 'gone'), applied: true };
    cluster.failGet = new KubeError(503, 'Unreachable', 'gone');
    await expect(cluster.reconcile('first')).rejects.toThrow(KubeError);
    await cluster.reconcile('second');
    expect(cluster.condition('second', 'Placed')?.reason).toBe('PoolFull');
    expect(cluster.statuses.get('first'), 'nothing is claimed that is not known').toBeUndefined();
    cluster.failGet = undefined;
    cluster.tell();
    await cluster.reconcile('first');
    expect(cluster.condition('first', 'Placed')?.status).toBe('True');
  });

  it('gives the place back when its patch was refused', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'), volume('second'));
    cluster.fail = { error: new KubeError(403, 'Forbidden', 'no'), applied: false };
    await expect(cluster.reconcile('first')).rejects.toThrow(KubeError);
    await cluster.reconcile('second');
    expect(cluster.condition('second', 'Placed')?.status).toBe('True');
  });

  it('does not give a wished-for address twice while the watch is late', async () => {
    const cluster = new FakeCluster();
    const wish = { capacity: '1Gi', nodeName: 'a', address: { shelf: 1, slot: 7 } };
    cluster.add(volume('first', wish), volume('second', wish));
    await Promise.all([cluster.reconcile('first'), cluster.reconcile('second')]);
    const reasons = ['first', 'second'].map((name) => cluster.condition(name, 'Placed')?.reason);
    expect(reasons).toStrictEqual(['Placed', 'AddressTaken']);
  });

  it('writes nothing when nothing has changed', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'));
    await cluster.reconcile('first');
    cluster.tell();
    const status = cluster.statuses.get('first');
    const placed = cluster.live.get('first');
    assert.ok(status && placed);
    cluster.add({ ...placed, status });
    cluster.statuses.clear();
    await cluster.reconcile('first');
    expect(cluster.statuses.size).toBe(0);
  });

  it('says that the node is gone, and that the volume is still placed', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first'));
    await cluster.reconcile('first');
    cluster.tell();
    cluster.nodes = [];
    await cluster.reconcile('first');
    expect(cluster.condition('first', 'Placed')?.status).toBe('True');
    expect(cluster.condition('first', 'Ready')?.reason).toBe('StorageNodeGone');
    expect(cluster.statuses.get('first')?.phase).toBe('Failed');
    expect(cluster.statuses.get('first')?.address).toBe('e1.0');
  });

  it('does not call a volume ready while somebody else answers at its address', async () => {
    const cluster = new FakeCluster();
    const condition = (type: string, status: 'True' | 'False', message = '') => ({
      type,
      status,
      reason: type,
      message,
      lastTransitionTime: '',
    });
    const conflict = condition('AddressConflict', 'True', '02:66 answers at e1.0, too');
    const first = volume('first', { nodeName: 'a', address: { shelf: 1, slot: 0 } });
    first.metadata.finalizers = [VOLUME_FINALIZER];
    const served = [condition('Provisioned', 'True'), condition('Exported', 'True')];
    cluster.add({ ...first, status: { conditions: [...served, conflict] } });
    await cluster.reconcile('first');
    expect(cluster.condition('first', 'Ready')?.status).toBe('False');
    expect(cluster.condition('first', 'Ready')?.message).toBe(conflict.message);
    expect(cluster.statuses.get('first')?.phase).toBe('Failed');
    cluster.add({ ...first, status: { conditions: served } });
    await cluster.reconcile('first');
    expect(cluster.condition('first', 'Ready')?.status).toBe('True');
  });

  it('says that the storage node is silent, once, and does not place there meanwhile', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('first', { capacity: '1Gi' }), volume('second', { capacity: '1Gi' }));
    await cluster.reconcile('first');
    cluster.tell();
    const lastTransitionTime = '2026-01-01T00:00:00Z';
    cluster.machines = [{ metadata: { name: 'a' }, status: { conditions: [{ type: 'Ready', status: 'Unknown', lastTransitionTime }] } }];
    for (let pass = 0; pass < 2; pass++) {
      await cluster.reconcile('first');
      const first = cluster.live.get('first');
      assert.ok(first);
      cluster.add({ ...first, status: cluster.statuses.get('first') ?? {} });
    }
    expect(cluster.condition('first', 'Placed')?.status).toBe('True');
    expect(cluster.condition('first', 'Ready')?.status).toBe('Unknown');
    expect(cluster.condition('first', 'Ready')?.message ?? '').toMatch(
      /^node a is not Ready since 2026-01-01T00:00:00Z \(its kubelet is silent\)/,
    );
    expect(cluster.events).toStrictEqual(['Placed', 'StorageNodeNotReady']);
    await cluster.reconcile('second');
    expect(cluster.condition('second', 'Placed')?.message ?? '').toMatch(/node a is not Ready/);
  });

  it('calls neither of two external disks with one serial number the other', async () => {
    const cluster = new FakeCluster();
    cluster.add(external('first', 0, 'S1'), external('second', 1, 'S1'), external('third', 2, 'S3'));
    for (const name of ['first', 'second', 'third']) await cluster.reconcile(name);
    const reasons = ['first', 'second', 'third'].map((name) => cluster.condition(name, 'Placed')?.reason);
    expect(reasons).toStrictEqual(['External', 'SerialTaken', 'External']);
    expect(cluster.condition('first', 'EnforcedByTarget')?.status).toBe('False');
    expect(cluster.condition('first', 'Locked')?.status).toBe('Unknown');
  });

  it('does not believe that a copy of a placed volume is placed, and looks again when the address is free', async () => {
    const cluster = new FakeCluster();
    cluster.add(volume('original'));
    await cluster.reconcile('original');
    const original = cluster.live.get('original') as AoEVolume;
    const known = { ...original, status: cluster.statuses.get('original') as NonNullable<AoEVolume['status']> };
    const place = { nodeName: 'a', address: original.spec.address as NonNullable<AoEVolumeSpec['address']> };
    const copy = volume('a-copy', place);
    cluster.add(known, { ...copy, metadata: { ...copy.metadata, finalizers: [VOLUME_FINALIZER] } });
    await cluster.reconcile('original');
    await cluster.reconcile('a-copy');
    expect(cluster.condition('original', 'Placed')?.status).toBe('True');
    expect(cluster.condition('a-copy', 'Placed')?.reason).toBe('AddressTaken');
    expect(cluster.condition('a-copy', 'Ready')?.message).toBe('AoEVolume original has that address');
    const refused = cluster.statuses.get('a-copy') as NonNullable<AoEVolume['status']>;
    cluster.add({ ...(cluster.live.get('a-copy') as AoEVolume), status: refused });
    expect(cluster.volumes.waiting()).toStrictEqual(['a-copy']);
    cluster.live.delete('original');
    cluster.seen.delete('original');
    await cluster.reconcile('a-copy');
    expect(cluster.condition('a-copy', 'Placed')?.status).toBe('True');
  });

  it('refuses to break the lock of a target that someone else serves', async () => {
    const cluster = new FakeCluster();
    const first = external('first', 0, 'S1');
    cluster.add({ ...first, metadata: { ...first.metadata, annotations: { 'aoe.dev/break-lock': 'a' } } });
    await cluster.reconcile('first').catch(() => {});
    expect(cluster.events).toStrictEqual(['LockNotBroken']);
  });

  it('does not place what is being deleted', async () => {
    const cluster = new FakeCluster();
    const doomed = volume('first');
    cluster.add({
      ...doomed,
      metadata: { ...doomed.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['example.com/mine'] },
    });
    await cluster.reconcile('first');
    expect(cluster.live.get('first')?.spec.nodeName).toBeUndefined();
    expect(cluster.condition('first', 'Placed')?.reason).toBe('NotPlaced');
    expect(cluster.statuses.get('first')?.phase).toBe('Deleting');
  });
});
