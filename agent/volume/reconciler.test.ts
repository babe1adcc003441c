import type { Stranger } from '../address/probe.ts';
import { BackendError } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';

test('a placed volume is made, asked for, exported and told of, once', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  const { status } = it.volume();
  expect(status?.capacity).toBe('10Mi');
  expect(status?.serial).toBe('11111111222233334444');
  expect(status?.paths).toStrictEqual([{ interface: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 }]);
  expect(status?.initiators).toStrictEqual({ observedGeneration: 1, nodes: [], macs: [] });
  const states = Object.fromEntries((status?.conditions ?? []).map(({ type, status }) => [type, status]));
  expect(states).toStrictEqual({
    AddressConflict: 'False',
    EnforcedByTarget: 'True',
    Exported: 'True',
    Locked: 'False',
    Provisioned: 'True',
  });
  expect(it.world.changedPools).toStrictEqual(['default']);
  const [calls, writes] = [it.target.calls.length, it.kube.written.length];
  await it.reconcile(volumes);
  await it.reconcile();
  expect(it.target.calls).toHaveLength(calls);
  expect(it.kube.written).toHaveLength(writes);
  expect(it.world.probes).toBe(1);
});

test('nothing is made of a volume without finalizer, or of another node', async () => {
  const it = await harness();
  it.spec({ nodeName: 'elsewhere' });
  await it.reconcile();
  expect(it.backend.calls).toStrictEqual([]);
});

test('initiators come into force and are reported with the generation that asked', async () => {
  const it = await harness();
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
  expect(it.volume().status?.initiators).toStrictEqual({ observedGeneration: 2, nodes: ['worker'], macs: [MAC.worker] });
  it.spec({ initiators: { nodes: [] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
});

test('the local link is let in for this node only', async () => {
  const it = await harness();
  it.spec({ access: 'Shared', initiators: { nodes: ['storage', 'other'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual(['02:00:00:00:00:01', MAC.other, MAC.local].sort());
});

test('an Exclusive volume keeps what is in force when two hosts are asked for', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker', 'other'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
  expect(it.volume().status?.initiators?.observedGeneration).toBe(2);
  expect(it.condition('Exported')?.reason).toBe('TooManyInitiators');
  it.spec({ initiators: { nodes: ['other'], macs: ['02:00:00:00:77:77'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('a node without interfaces is named and not reported in force, and nothing is taken from one that had some', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['stranger'] } });
  await it.reconcile();
  expect(it.volume().status?.initiators?.nodes).toStrictEqual([]);
  expect(it.condition('Exported')?.message ?? '').toMatch(/node stranger is not admitted/);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.kube.put({ kind: 'AoENode', metadata: { name: 'worker' }, spec: {} } as never);
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('a pod beside its volume keeps the disk when the local link is gone from the AoENode', async () => {
  const it = await harness();
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['storage'] } });
  await it.reconcile(volumes);
  const { macs } = it.target.volumes.get(UID)?.volume ?? {};
  expect(macs?.includes(MAC.local)).toBeTruthy();
  const eth1 = { name: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 };
  it.kube.put({ kind: 'AoENode', metadata: { name: 'storage' }, spec: {}, status: { interfaces: [eth1] } } as never);
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual(macs);
});

test('a MAC that two nodes claim is not let in', async () => {
  const it = await harness();
  it.kube.put({
    kind: 'AoENode',
    metadata: { name: 'twin' },
    spec: {},
    status: { interfaces: [{ name: 'e', mac: MAC.worker, mtu: 1500 }] },
  } as never);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
  expect(it.condition('Exported')?.message ?? '').toMatch(/AoENodes twin and worker both claim it/);
});

test('an address that somebody else answers is not exported, and is once he is gone', async () => {
  const it = await harness();
  it.world.stranger = { mac: '02:66:66:66:66:66', interface: 'eth1' };
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 30_000 });
  expect(it.target.volumes.size).toBe(0);
  expect(it.condition('AddressConflict')?.status).toBe('True');
  expect(it.condition('Exported')?.message ?? '').toMatch(/02:66:66:66:66:66 on eth1 answers at e7\.3, too/);
  expect(it.condition('Provisioned')?.status).toBe('True');
  it.world.stranger = undefined;
  await it.reconcile();
  expect(it.condition('AddressConflict')?.status).toBe('False');
  expect(it.condition('Exported')?.status).toBe('True');
});

const STRANGER: Stranger = { mac: '02:66:66:66:66:66', interface: 'eth1' };

test('the address of a served volume is asked for again after 1 s, 5 s, and then each minute', async () => {
  const it = await harness();
  const volumes = it.make();
  for (const wait of [1000, 5000, 60_000, 60_000]) {
    expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: wait });
    it.world.now += wait - 1;
    expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 1 });
    it.world.now += 1;
  }
  expect(it.world.probes).toBe(4);
});

test('a stranger that comes later takes an unused volume off the segment, until he is gone', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 30_000 });
  expect(it.target.volumes.size).toBe(0);
  expect(it.condition('Exported')?.reason).toBe('AddressConflict');
  expect(it.condition('AddressConflict')?.status).toBe('True');
  expect(it.volume().status?.paths).toBeUndefined();
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['AnsweredByOther']);
  it.world.stranger = undefined;
  it.world.now += 30_000;
  await it.reconcile(volumes);
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.condition('AddressConflict')?.status).toBe('False');
});

test('a volume in use is served on when a stranger comes, and says so', async () => {
  const it = await harness();
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile(volumes);
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.condition('AddressConflict')?.message ?? '').toMatch(/in use and still served/);
  it.spec({ initiators: {} });
  it.world.now += 30_000;
  await it.reconcile(volumes);
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
  it.world.now += 30_000;
  await it.reconcile(volumes);
  expect(it.target.volumes.size).toBe(0);
});

test('a volume with a lock is in use, also when nobody is let in', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  it.target.setConfigString(UID, 'net.corvus.apple 1');
  await it.tick();
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  await it.reconcile(volumes);
  expect(it.target.volumes.size).toBe(1);
});

test('what is written about a volume does not reach its namesake', async () => {
  const it = await harness();
  const old = it.volume();
  const put = it.kube.objects.get('AoEVolume/v1');
  it.kube.put({ ...put, kind: 'AoEVolume', metadata: { ...put?.metadata, name: 'v1', uid: 'another' } } as never);
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect(it.volume().status).toBeUndefined();
});

test('lost data is never made anew', async () => {
  const it = await harness();
  await it.reconcile();
  it.backend.volumes.clear();
  await it.reconcile();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(0);
  expect(it.condition('Provisioned')?.reason).toBe('BackingLost');
  expect(it.volume().status?.capacity).toBe('10Mi');
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['BackingLost']);
});

test('a pool in trouble is told of, with its reason', async () => {
  const it = await harness();
  it.backend.failure = new BackendError('PoolFull', 'no room');
  await it.reconcile();
  expect(it.condition('Provisioned')?.reason).toBe('PoolFull');
  expect(it.condition('Exported')?.reason).toBe('NotProvisioned');
  it.backend.failure = undefined;
  await it.reconcile();
  expect(it.condition('Exported')?.status).toBe('True');
});

test('a target that is down leaves what was in force, and is served again after', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.target.stop();
  await it.connected(false);
  await it.reconcile();
  expect(it.condition('Exported')?.reason).toBe('TargetUnavailable');
  expect(it.volume().status?.initiators?.nodes).toStrictEqual(['worker']);
  it.target.start();
  await it.connected(true);
  await it.reconcile();
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.world.probes).toBe(1);
});

test('a refusal of the target is a condition, not a crash', async () => {
  const it = await harness();
  it.target.failing.set('export', new TargetError('precondition', 'no durable writes'));
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 5000 });
  expect(it.condition('Exported')?.message).toBe('no durable writes');
});

test('a device in trouble is opened again, at most every few seconds', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  for (const now of [1000, 6000]) {
    it.world.now = now;
    await it.reconcile(volumes);
  }
  it.target.trouble(UID, 'EIO');
  await it.tick();
  const before = it.target.calls.length;
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 60_000 });
  it.target.trouble(UID, 'EIO');
  await it.tick();
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 5000 });
  expect(it.condition('Exported')?.message ?? '').toMatch(/EIO/);
  expect(it.target.calls.slice(before)).toStrictEqual(['export']);
});

test("a stranger's string is respected", async () => {
  const it = await harness();
  await it.reconcile();
  it.target.setConfigString(UID, 'net.corvus.apple \u0001');
  await it.tick();
  await it.reconcile();
  expect(it.volume().status?.holder).toStrictEqual({ name: '"net.corvus.apple \\x01"', raw: 'net.corvus.apple \\x01' });
  it.remove();
  await it.reconcile();
  expect(it.condition('Exported')?.message ?? '').toMatch(/deletion waits: its config string was set by other software/);
  expect(it.backend.volumes.size).toBe(1);
});

test('nobody is cut off by an old view of the volume', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const old = structuredClone(it.volume());
  old.spec.initiators = {};
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('a deleted volume goes from the segment, then from the pool, then from the API', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  await it.reconcile();
  expect(it.target.volumes.size).toBe(0);
  expect(it.backend.volumes.size).toBe(0);
  expect(it.kube.objects.has('AoEVolume/v1')).toBe(false);
});

test('a deleted volume in use stays, and says by whom', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.lock('worker');
  it.remove();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(1);
  expect(it.condition('Exported')?.message ?? '').toMatch(/deletion waits: attached to worker/);
  it.spec({ initiators: {} });
  await it.reconcile();
  expect(it.kube.objects.has('AoEVolume/v1')).toBe(false);
  expect(it.backend.volumes.size).toBe(0);
});

test('a deleted volume with policy Retain keeps its data', async () => {
  const it = await harness();
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile();
  it.remove();
  await it.reconcile();
  expect([...it.backend.retained]).toStrictEqual([UID]);
  expect(it.kube.objects.has('AoEVolume/v1')).toBe(false);
});

test('a deletion goes by the policy that the API server has, not by an old view', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  const old = structuredClone(it.volume());
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect([...it.backend.retained]).toStrictEqual([UID]);
});

test('a deletion waits for the target, whatever the lock was', async () => {
  const it = await harness();
  await it.reconcile();
  it.target.stop();
  await it.connected(false);
  it.remove();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(1);
  expect(it.condition('Exported')?.reason).toBe('TargetUnavailable');
});

test('a deleted volume that was never made does not wait for a pool that is missing; one that was made does', async () => {
  const missing = new BackendError('PoolMissing', 'no such group');
  const never = await harness();
  never.backend.failure = missing;
  await never.reconcile();
  never.remove();
  await never.reconcile();
  expect(never.kube.objects.has('AoEVolume/v1')).toBe(false);
  const made = await harness();
  await made.reconcile();
  made.backend.failure = missing;
  made.remove();
  expect(await made.reconcile()).toStrictEqual({ requeueAfterMs: 5000 });
  expect(made.condition('Provisioned')?.message ?? '').toMatch(/deletion waits: no such group/);
});

for (const call of ['export', 'setAccess', 'unexport'] as const) {
  test(`a failure of ${call} is tried again until it works`, async () => {
    const it = await harness();
    if (call !== 'export') await it.reconcile();
    if (call === 'setAccess') it.spec({ initiators: { nodes: ['worker'] } });
    if (call === 'unexport') it.remove();
    it.target.failing.set(call, new TargetError('unavailable', 'gone'));
    await it.reconcile();
    await it.reconcile();
    if (call === 'unexport') expect(it.kube.objects.has('AoEVolume/v1')).toBe(false);
    else expect(it.condition('Exported')?.status).toBe('True');
  });
}

test('who is let in does not wait for a pool that is stuck, and what it says in the end is told', async () => {
  const it = await harness();
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile(volumes);
  const gate = Promise.withResolvers<void>();
  it.backend.gate = gate.promise;
  for (const initiators of [{}, { nodes: ['other'] }]) {
    it.spec({ initiators });
    await it.reconcile(volumes);
    expect(it.volume().status?.initiators?.observedGeneration).toStrictEqual(it.volume().metadata.generation);
    expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual('nodes' in initiators ? [MAC.other] : []);
    expect(it.condition('Provisioned')?.status).toBe('True');
    expect(it.condition('Exported')?.status).toBe('True');
  }
  expect(it.backend.calls, 'never two calls for one volume at a time').toStrictEqual(['create', 'open']);
  it.backend.volumes.clear();
  gate.resolve();
  await it.tick();
  expect(it.world.dataSettled).toStrictEqual(['v1']);
  await it.reconcile(volumes);
  expect(it.condition('Provisioned')?.reason).toBe('BackingLost');
});

test('who is let in does not depend on a backend that breaks', async () => {
  const it = await harness();
  await it.reconcile();
  it.backend.failure = new Error('a bug');
  it.spec({ initiators: { nodes: ['worker'] } });
  await expect(it.reconcile()).rejects.toThrow(/a bug/);
  expect(it.volume().status?.initiators?.nodes).toStrictEqual(['worker']);
});

test('a new volume whose data takes long to make holds no worker, is exported when it is there, and not removed before', async () => {
  const it = await harness();
  const volumes = it.make();
  const gate = Promise.withResolvers<void>();
  it.backend.gate = gate.promise;
  expect(await it.reconcile(volumes)).toBeUndefined();
  expect(it.target.volumes.size).toBe(0);
  expect(it.condition('Exported')?.reason).toBe('NotProvisioned');
  expect(it.condition('Provisioned')).toBeUndefined();
  it.remove();
  await it.reconcile(volumes);
  expect(it.condition('Exported')?.message ?? '').toMatch(/deletion waits: its data is still being opened or made/);
  gate.resolve();
  await it.tick();
  expect(it.world.dataSettled).toStrictEqual(['v1']);
  await it.reconcile(volumes);
  expect(it.kube.objects.has('AoEVolume/v1')).toBe(false);
  expect(it.backend.volumes.size).toBe(0);
});

test('nothing is made of a volume whose place the operator refuses', async () => {
  const it = await harness();
  const present = it.kube.objects.get('AoEVolume/v1');
  const refused = {
    type: 'Placed',
    status: 'False',
    reason: 'AddressTaken',
    message: 'AoEVolume v0 has that address',
    lastTransitionTime: '',
  };
  it.kube.put({ ...present, status: { conditions: [refused] } } as never);
  await it.reconcile();
  expect([it.backend.calls, it.target.volumes.size]).toStrictEqual([[], 0]);
  expect(it.condition('Exported')?.reason).toBe('AddressTaken');
});

test('only nodes that have an Exclusive volume must take its lock before they write', async () => {
  const it = await harness();
  const needs = async (change: object): Promise<boolean | undefined> => {
    it.spec(change);
    await it.reconcile();
    return it.target.volumes.get(UID)?.volume.writesNeedLock;
  };
  expect(await needs({ initiators: { nodes: ['worker'] } })).toBe(true);
  expect(await needs({ initiators: { macs: ['02:00:00:00:77:77'] } })).toBe(false);
  expect(await needs({ initiators: {} })).toBe(true);
  expect(await needs({ access: 'Shared' })).toBe(false);
});

test('a target that does not know about writes that need the lock is not told again and again', async () => {
  const it = await harness();
  it.target.features = [];
  it.target.stop();
  await it.connected(false);
  it.target.start();
  await it.connected(true);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const before = it.target.calls.length;
  await it.reconcile();
  expect(it.target.calls.slice(before)).toStrictEqual([]);
});
