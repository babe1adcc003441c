import assert from 'node:assert/strict';
import type { KubeNode } from '../../api/kube-node.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { Condition } from '../../api/schema/meta.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { cluster, external, volume } from '../testing/volume-cluster.ts';

describe('VolumeReconciler', () => {
  it('counts what it placed before the watch shows it', async () => {
    const it = cluster();
    it.add(volume('first'), volume('second'));
    await Promise.all([it.reconcile('first'), it.reconcile('second')]);
    expect(it.live('first')?.spec.nodeName).toBe('a');
    expect(it.condition('second', 'Placed')?.reason).toBe('PoolFull');
    expect(it.events()).toStrictEqual(['Placed', 'PoolFull']);
  });

  it('does not place twice while the watch is late, and writes nothing twice', async () => {
    const it = cluster();
    it.add(volume('first'));
    await it.reconcile('first');
    await it.reconcile('first');
    expect(it.events()).toStrictEqual(['Placed']);
    expect(it.condition('first', 'Placed')?.status).toBe('True');
    expect([it.api.patches, it.api.written.length]).toStrictEqual([1, 1]);
  });

  it('reads all volumes to place the first one only', async () => {
    const it = cluster();
    it.add(volume('first', { capacity: '1Gi' }));
    await it.reconcile('first');
    it.catchUp();
    it.lists.count = 0;
    for (let pass = 0; pass < 3; pass++) await it.reconcile('first');
    it.add(volume('second', { capacity: '1Gi' }), volume('too-large'), volume('third', { capacity: '1Gi' }));
    for (const name of ['second', 'too-large', 'third']) await it.reconcile(name);
    expect(it.condition('second', 'Placed')?.status).toBe('True');
    expect(it.condition('third', 'Placed')?.status).toBe('True');
    expect(it.lists.count).toBe(0);
  });

  it('gives room to one of two that grow at once, and to the other when there is room', async () => {
    const it = cluster();
    it.add(volume('first', { capacity: '4Gi' }), volume('second', { capacity: '4Gi' }));
    const both = () => Promise.all([it.reconcile('first'), it.reconcile('second')]);
    const ask = (capacity: string, ...names: string[]): void => {
      for (const name of names) {
        const { spec, status, ...rest } = it.live(name) as AoEVolume;
        it.api.put({ ...rest, spec: { ...spec, capacity }, status: { ...status, capacity: '4Gi' } });
      }
      it.catchUp();
    };
    await both();
    it.catchUp();
    expect(it.live('first')?.status?.reserved).toBe('4Gi');
    ask('6Gi', 'first', 'second');
    await both();
    expect([it.live('first')?.status?.reserved, it.live('second')?.status?.reserved]).toStrictEqual(['6Gi', '4Gi']);
    expect(it.condition('first', 'Grown')?.reason).toBe('Growing');
    expect(it.condition('second', 'Grown')).toMatchObject({ status: 'False', reason: 'PoolFull' });
    expect(it.condition('second', 'Ready')?.reason, 'it is used at the size that it has').not.toBe('PoolFull');
    expect(it.events()).toStrictEqual(['Placed', 'Placed', 'PoolFull']);
    it.catchUp();
    ask('4Gi', 'first');
    await it.reconcile('first');
    await it.reconcile('second');
    expect([it.live('first')?.status?.reserved, it.live('second')?.status?.reserved]).toStrictEqual(['4Gi', '6Gi']);
  });

  it('keeps the place reserved when the answer to its patch was lost', async () => {
    const it = cluster();
    it.add(volume('first'), volume('second'));
    it.api.failNext('patch', new KubeError(504, 'NoAnswer', 'no answer'), { hasEffect: true });
    await expect(it.reconcile('first')).rejects.toThrow(KubeError);
    await it.reconcile('second');
    expect(it.condition('second', 'Placed')?.reason).toBe('PoolFull');
    await it.reconcile('first');
    expect(it.condition('first', 'Placed')?.status).toBe('True');
  });

  it('keeps the place reserved while nobody can say whether its patch arrived', async () => {
    const it = cluster();
    it.add(volume('first'), volume('second'));
    it.api.failNext('patch', new KubeError(503, 'Unreachable', 'gone'), { hasEffect: true });
    it.api.failNext('get', new KubeError(503, 'Unreachable', 'gone'));
    await expect(it.reconcile('first')).rejects.toThrow(KubeError);
    await it.reconcile('second');
    expect(it.condition('second', 'Placed')?.reason).toBe('PoolFull');
    expect(it.live('first')?.status, 'nothing is claimed that is not known').toBeUndefined();
    it.catchUp();
    await it.reconcile('first');
    expect(it.condition('first', 'Placed')?.status).toBe('True');
  });

  it('gives the place back when its patch was refused', async () => {
    const it = cluster();
    it.add(volume('first'), volume('second'));
    it.api.failNext('patch', new KubeError(403, 'Forbidden', 'no'));
    await expect(it.reconcile('first')).rejects.toThrow(KubeError);
    await it.reconcile('second');
    expect(it.condition('second', 'Placed')?.status).toBe('True');
  });

  it('does not give a wished-for address twice while the watch is late', async () => {
    const it = cluster();
    const wish = { capacity: '1Gi', nodeName: 'a', address: { shelf: 1, slot: 7 } };
    it.add(volume('first', wish), volume('second', wish));
    await Promise.all([it.reconcile('first'), it.reconcile('second')]);
    const reasons = ['first', 'second'].map((name) => it.condition(name, 'Placed')?.reason);
    expect(reasons).toStrictEqual(['Placed', 'AddressTaken']);
  });

  it('writes nothing when nothing has changed', async () => {
    const it = cluster();
    it.add(volume('first'));
    await it.reconcile('first');
    it.catchUp();
    await it.reconcile('first');
    expect(it.api.written).toHaveLength(1);
  });

  /** The statuses that the operator writes while a volume is made and attached, with an agent that reports step by step. */
  async function writesOf(statusDelayMs: number): Promise<(string | undefined)[]> {
    const it = cluster({ statusDelayMs });
    const step = async (...conditions: ReturnType<typeof served>[]): Promise<void> => {
      const part = { metadata: { name: 'first' }, status: { conditions } };
      if (conditions.length > 0) await it.api.apply(AOE_VOLUMES, part, { fieldManager: 'agent', subresource: 'status' });
      it.catchUp();
      await it.reconcile('first');
    };
    it.add(volume('first'));
    await step();
    await step({ ...served('Exported'), status: 'False', reason: 'NotProvisioned' });
    await step(served('Provisioned'), { ...served('Exported'), status: 'False', reason: 'NotProvisioned' });
    await step(served('Provisioned'), served('Exported'));
    for (const nodes of [['b'], ['b', 'c'], null]) {
      await it.api.patch(AOE_VOLUMES, 'first', { spec: { initiators: { nodes } } });
      await step();
    }
    const written = it.api.written.filter(({ manager }) => manager !== 'agent') as { status: AoEVolume['status'] }[];
    return written.map(({ status }) => status?.conditions?.find(({ type }) => type === 'Ready')?.reason);
  }

  it('writes its status once when the volume is ready soon, and does not write each generation', async () => {
    expect(await writesOf(0)).toStrictEqual(['Waiting', 'NotProvisioned', 'Exported', 'Exported', 'Exported', 'Exported']);
    expect(await writesOf(60_000)).toStrictEqual(['Exported']);
  });

  it('asks to be called again for a status that it has not written yet', async () => {
    const it = cluster({ statusDelayMs: 60_000 });
    it.add(volume('first'));
    const { requeueAfterMs = 0 } = (await it.reconcile('first')) ?? {};
    expect(requeueAfterMs).toBeGreaterThan(50_000);
    expect(requeueAfterMs).toBeLessThanOrEqual(60_000);
    expect(it.live('first')?.status).toBeUndefined();
  });

  it('writes at once what is refused, and what was ready and is not any longer', async () => {
    const it = cluster({ statusDelayMs: 60_000 });
    it.add(volume('first'), volume('second'));
    for (const name of ['first', 'second']) await it.reconcile(name);
    expect(it.condition('second', 'Placed')?.reason).toBe('PoolFull');
    const report = async (...conditions: ReturnType<typeof served>[]): Promise<void> => {
      const part = { metadata: { name: 'first' }, status: { conditions } };
      await it.api.apply(AOE_VOLUMES, part, { fieldManager: 'agent', subresource: 'status' });
      it.catchUp();
      await it.reconcile('first');
    };
    await report(served('Provisioned'), served('Exported'));
    expect(it.condition('first', 'Ready')?.reason).toBe('Exported');
    await report(served('Provisioned'), { ...served('Exported'), status: 'False', reason: 'DeviceFailed' });
    expect(it.condition('first', 'Ready')?.reason).toBe('DeviceFailed');
  });

  it('writes no status of a deletion that is over soon', async () => {
    const it = cluster({ statusDelayMs: 60_000 });
    const served_ = [served('Provisioned'), served('Exported')];
    it.add({ ...volume('first'), status: { conditions: served_ } });
    await it.reconcile('first');
    const written = it.api.written.length;
    const { metadata, ...rest } = it.live('first') as AoEVolume;
    it.add({ ...rest, metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
    expect((await it.reconcile('first'))?.requeueAfterMs).toBeGreaterThan(50_000);
    expect(it.api.written).toHaveLength(written);
  });

  it('writes no status into a new volume of the same name', async () => {
    const it = cluster();
    it.add(volume('first', { pool: 'later' }));
    it.api.put({ ...volume('first'), metadata: { name: 'first', uid: 'another' } });
    await it.reconcile('first');
    expect(it.live('first')?.status).toBeUndefined();
    it.catchUp();
    await it.reconcile('first');
    expect(it.condition('first', 'Placed')?.status).toBe('True');
  });

  it('keeps the conditions of others, and writes its own as the schema asks', async () => {
    const it = cluster();
    it.add(volume('first'));
    const status = { capacity: '6Gi', conditions: [served('Provisioned')] };
    await it.api.apply(AOE_VOLUMES, { metadata: { name: 'first' }, status }, { fieldManager: 'agent', subresource: 'status' });
    it.catchUp();
    await it.reconcile('first');
    expect(it.live('first')?.status?.capacity).toBe('6Gi');
    expect(it.condition('first', 'Provisioned')?.status).toBe('True');
    for (const condition of it.live('first')?.status?.conditions ?? []) expect(Condition.safeParse({ ...condition }).success).toBe(true);
  });

  it('says that the node is gone, and that the volume is still placed', async () => {
    const it = cluster();
    it.add(volume('first'));
    await it.reconcile('first');
    it.catchUp();
    it.api.remove({ kind: 'AoENode' }, 'a');
    await it.reconcile('first');
    expect(it.condition('first', 'Placed')?.status).toBe('True');
    expect(it.condition('first', 'Ready')?.reason).toBe('StorageNodeGone');
    expect(it.live('first')?.status?.phase).toBe('Failed');
    expect(it.live('first')?.status?.address).toBe('e1.0');
  });

  it('does not call a volume ready while somebody else answers at its address', async () => {
    const it = cluster();
    const conflict = { ...served('AddressConflict'), message: '02:66 answers at e1.0, too' };
    const first = volume('first', { nodeName: 'a', address: { shelf: 1, slot: 0 } });
    first.metadata.finalizers = [VOLUME_FINALIZER];
    const conditions = [served('Provisioned'), served('Exported')];
    it.add({ ...first, status: { conditions: [...conditions, conflict] } });
    await it.reconcile('first');
    expect(it.condition('first', 'Ready')?.status).toBe('False');
    expect(it.condition('first', 'Ready')?.message).toBe(conflict.message);
    expect(it.live('first')?.status?.phase).toBe('Failed');
    it.add({ ...first, status: { conditions } });
    await it.reconcile('first');
    expect(it.condition('first', 'Ready')?.status).toBe('True');
  });

  it('says that the storage node is silent, once, and does not place there meanwhile', async () => {
    const it = cluster();
    it.add(volume('first', { capacity: '1Gi' }), volume('second', { capacity: '1Gi' }));
    await it.reconcile('first');
    const lastTransitionTime = '2026-01-01T00:00:00Z';
    const conditions = [{ type: 'Ready', status: 'Unknown', lastTransitionTime }];
    it.api.put({ kind: 'Node', metadata: { name: 'a' }, status: { conditions } } as KubeNode & { kind: string });
    for (let pass = 0; pass < 2; pass++) {
      await it.reconcile('first');
      it.catchUp();
    }
    expect(it.condition('first', 'Placed')?.status).toBe('True');
    expect(it.condition('first', 'Ready')?.status).toBe('Unknown');
    expect(it.condition('first', 'Ready')?.message ?? '').toMatch(
      /^node a has not been Ready since 2026-01-01T00:00:00Z \(its kubelet is silent\)/,
    );
    expect(it.events()).toStrictEqual(['Placed', 'StorageNodeNotReady']);
    await it.reconcile('second');
    expect(it.condition('second', 'Placed')?.message ?? '').toMatch(/node a has not been Ready/);
  });

  it('calls neither of two external disks with one serial number the other', async () => {
    const it = cluster();
    it.add(external('first', 0, 'S1'), external('second', 1, 'S1'), external('third', 2, 'S3'));
    for (const name of ['first', 'second', 'third']) await it.reconcile(name);
    const reasons = ['first', 'second', 'third'].map((name) => it.condition(name, 'Placed')?.reason);
    expect(reasons).toStrictEqual(['External', 'SerialTaken', 'External']);
    expect(it.condition('first', 'EnforcedByTarget')?.status).toBe('False');
    expect(it.condition('first', 'Locked')?.status).toBe('Unknown');
  });

  it('leaves an external disk to its volume when the agent of another one reports its serial number', async () => {
    const it = cluster();
    it.add(volume('ours'));
    await it.reconcile('ours');
    const ours = it.live('ours');
    assert.ok(ours);
    it.add({ ...ours, status: { ...ours.status, serial: 'S1' } }, external('second', 1, 'S1'));
    await it.reconcile('second');
    expect(it.condition('second', 'Placed')?.reason).toBe('External');
  });

  it('does not believe that a copy of a placed volume is placed, until the address is free', async () => {
    const it = cluster();
    it.add(volume('original'));
    await it.reconcile('original');
    const address = it.live('original')?.spec.address;
    assert.ok(address);
    const copy = volume('a-copy', { nodeName: 'a', address });
    it.add({ ...copy, metadata: { ...copy.metadata, finalizers: [VOLUME_FINALIZER] } });
    await it.reconcile('original');
    await it.reconcile('a-copy');
    expect(it.condition('original', 'Placed')?.status).toBe('True');
    expect(it.condition('a-copy', 'Placed')?.reason).toBe('AddressTaken');
    expect(it.condition('a-copy', 'Ready')?.message).toBe('AoEVolume original has that address');
    it.api.remove(AOE_VOLUMES, 'original');
    it.catchUp();
    await it.reconcile('a-copy');
    expect(it.condition('a-copy', 'Placed')?.status).toBe('True');
  });

  it('says that the disk which is copied into a volume got a user, until it is detached or the copy is whole', async () => {
    const it = cluster();
    it.add(external('outside', 0, 'S1'), volume('copy', { source: { external: { shelf: 9, slot: 0 } } }));
    await it.reconcile('copy');
    const admit = async (nodes: string[] | null) => {
      await it.api.patch(AOE_VOLUMES, 'outside', { spec: { initiators: { nodes } } });
      it.catchUp();
      await it.reconcile('copy');
      return it.condition('copy', 'Placed');
    };
    expect(await admit(['w'])).toMatchObject({
      status: 'False',
      reason: 'SourceInUse',
      message: expect.stringMatching(/is used by w, as/),
    });
    expect(it.live('copy')?.status?.phase).toBe('Pending');
    const says = async (status: object) => {
      await it.api.apply(AOE_VOLUMES, { metadata: { name: 'copy' }, status }, { fieldManager: 'agent', subresource: 'status' });
    };
    const provisioned = (reason: string) => ({ conditions: [{ type: 'Provisioned', status: 'False', reason, message: '' }] });
    await says(provisioned('Copying'));
    expect(await admit(null), 'the agent has not seen that').toMatchObject({
      reason: 'SourceInUse',
      message: 'the disk at e9.0 was in use: the copy begins again once the agent on a has seen that',
    });
    await says(provisioned('SourceInUse'));
    expect((await admit(null))?.status).toBe('True');
    await says({ capacity: '6Gi' });
    expect((await admit(['w']))?.status).toBe('True');
  });

  it('refuses to break the lock of an external target', async () => {
    const it = cluster();
    const first = external('first', 0, 'S1');
    it.add({ ...first, metadata: { ...first.metadata, annotations: { 'aoe.dev/break-lock': 'a' } } });
    await it.reconcile('first');
    expect(it.events()).toStrictEqual(['LockNotBroken']);
    expect(it.live('first')?.metadata.annotations).toStrictEqual({});
  });

  it('does not place what is being deleted', async () => {
    const it = cluster();
    const doomed = volume('first');
    const metadata = { ...doomed.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['example.com/mine'] };
    it.add({ ...doomed, metadata });
    await it.reconcile('first');
    expect(it.live('first')?.spec.nodeName).toBeUndefined();
    expect(it.condition('first', 'Placed')?.reason).toBe('NotPlaced');
    expect(it.live('first')?.status?.phase).toBe('Deleting');
  });
});

function served(type: string) {
  return { type, status: 'True' as 'True' | 'False', reason: type, message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
}
