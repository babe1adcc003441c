import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stranger } from '../address/probe.ts';
import { BackendError } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';

test('a placed volume is made, asked for, exported and told of, once', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  await it.reconcile(volumes);
  const { status } = it.volume();
  assert.equal(status?.capacity, '10Mi');
  assert.equal(status?.serial, '11111111222233334444');
  assert.deepEqual(status?.paths, [{ interface: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 }]);
  assert.deepEqual(status?.initiators, { observedGeneration: 1, nodes: [], macs: [] });
  const states = Object.fromEntries((status?.conditions ?? []).map(({ type, status }) => [type, status]));
  assert.deepEqual(states, { AddressConflict: 'False', EnforcedByTarget: 'True', Exported: 'True', Locked: 'False', Provisioned: 'True' });
  assert.deepEqual(it.world.changedPools, ['default']);
  const [calls, writes] = [it.target.calls.length, it.kube.written.length];
  await it.reconcile(volumes);
  await it.reconcile();
  assert.equal(it.target.calls.length, calls);
  assert.equal(it.kube.written.length, writes);
  assert.equal(it.world.probes, 1);
});

test('nothing is made of a volume without finalizer, or of another node', async (t) => {
  const it = await harness(t);
  it.spec({ nodeName: 'elsewhere' });
  await it.reconcile();
  assert.deepEqual(it.backend.calls, []);
});

test('initiators come into force and are reported with the generation that asked', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
  assert.deepEqual(it.volume().status?.initiators, { observedGeneration: 2, nodes: ['worker'], macs: [MAC.worker] });
  it.spec({ initiators: { nodes: [] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, []);
});

test('the local link is let in for this node only', async (t) => {
  const it = await harness(t);
  it.spec({ access: 'Shared', initiators: { nodes: ['storage', 'other'] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, ['02:00:00:00:00:01', MAC.other, MAC.local].sort());
});

test('an Exclusive volume keeps what is in force when two hosts are asked for', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker', 'other'] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
  assert.equal(it.volume().status?.initiators?.observedGeneration, 2);
  assert.equal(it.condition('Exported')?.reason, 'TooManyInitiators');
  it.spec({ initiators: { nodes: ['other'], macs: ['02:00:00:00:77:77'] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
});

test('a node without interfaces is named and not reported in force, and nothing is taken from one that had some', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['stranger'] } });
  await it.reconcile();
  assert.deepEqual(it.volume().status?.initiators?.nodes, []);
  assert.match(it.condition('Exported')?.message ?? '', /node stranger is not admitted/);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.kube.put({ kind: 'AoENode', metadata: { name: 'worker' }, spec: {} } as never);
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
});

test('a pod beside its volume keeps the disk when the local link is gone from the AoENode', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['storage'] } });
  await it.reconcile(volumes);
  const { macs } = it.target.volumes.get(UID)?.volume ?? {};
  assert.ok(macs?.includes(MAC.local));
  const eth1 = { name: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 };
  it.kube.put({ kind: 'AoENode', metadata: { name: 'storage' }, spec: {}, status: { interfaces: [eth1] } } as never);
  await it.reconcile(volumes);
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, macs);
});

test('a MAC that two nodes claim is not let in', async (t) => {
  const it = await harness(t);
  it.kube.put({
    kind: 'AoENode',
    metadata: { name: 'twin' },
    spec: {},
    status: { interfaces: [{ name: 'e', mac: MAC.worker, mtu: 1500 }] },
  } as never);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, []);
  assert.match(it.condition('Exported')?.message ?? '', /AoENodes twin and worker both claim it/);
});

test('an address that somebody else answers is not exported, and is once he is gone', async (t) => {
  const it = await harness(t);
  it.world.stranger = { mac: '02:66:66:66:66:66', interface: 'eth1' };
  assert.deepEqual(await it.reconcile(), { requeueAfterMs: 30_000 });
  assert.equal(it.target.volumes.size, 0);
  assert.equal(it.condition('AddressConflict')?.status, 'True');
  assert.match(it.condition('Exported')?.message ?? '', /02:66:66:66:66:66 on eth1 answers at e7\.3, too/);
  assert.equal(it.condition('Provisioned')?.status, 'True');
  it.world.stranger = undefined;
  await it.reconcile();
  assert.equal(it.condition('AddressConflict')?.status, 'False');
  assert.equal(it.condition('Exported')?.status, 'True');
});

const STRANGER: Stranger = { mac: '02:66:66:66:66:66', interface: 'eth1' };

test('the address of a served volume is asked for again after 1 s, 5 s, and then each minute', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  for (const wait of [1000, 5000, 60_000, 60_000]) {
    assert.deepEqual(await it.reconcile(volumes), { requeueAfterMs: wait });
    it.world.now += wait - 1;
    assert.deepEqual(await it.reconcile(volumes), { requeueAfterMs: 1 });
    it.world.now += 1;
  }
  assert.equal(it.world.probes, 4);
});

test('a stranger that comes later takes an unused volume off the segment, until he is gone', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  await it.reconcile(volumes);
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  assert.deepEqual(await it.reconcile(volumes), { requeueAfterMs: 30_000 });
  assert.equal(it.target.volumes.size, 0);
  assert.equal(it.condition('Exported')?.reason, 'AddressConflict');
  assert.equal(it.condition('AddressConflict')?.status, 'True');
  assert.equal(it.volume().status?.paths, undefined);
  assert.deepEqual(
    it.kube.events.map(({ reason }) => reason),
    ['AnsweredByOther'],
  );
  it.world.stranger = undefined;
  it.world.now += 30_000;
  await it.reconcile(volumes);
  assert.equal(it.condition('Exported')?.status, 'True');
  assert.equal(it.condition('AddressConflict')?.status, 'False');
});

test('a volume in use is served on when a stranger comes, and says so', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile(volumes);
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  await it.reconcile(volumes);
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
  assert.equal(it.condition('Exported')?.status, 'True');
  assert.match(it.condition('AddressConflict')?.message ?? '', /in use and still served/);
  it.spec({ initiators: {} });
  it.world.now += 30_000;
  await it.reconcile(volumes);
  await it.reconcile(volumes);
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, []);
  it.world.now += 30_000;
  await it.reconcile(volumes);
  assert.equal(it.target.volumes.size, 0);
});

test('a volume with a lock is in use, also when nobody is let in', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  await it.reconcile(volumes);
  it.target.setConfigString(UID, 'net.corvus.apple 1');
  await it.tick();
  it.world.stranger = STRANGER;
  it.world.now = 1000;
  await it.reconcile(volumes);
  assert.equal(it.target.volumes.size, 1);
});

test('what is written about a volume does not reach its namesake', async (t) => {
  const it = await harness(t);
  const old = it.volume();
  const put = it.kube.objects.get('AoEVolume/v1');
  it.kube.put({ ...put, kind: 'AoEVolume', metadata: { ...put?.metadata, name: 'v1', uid: 'another' } } as never);
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  assert.equal(it.volume().status, undefined);
});

test('lost data is never made anew', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.backend.volumes.clear();
  await it.reconcile();
  await it.reconcile();
  assert.equal(it.backend.volumes.size, 0);
  assert.equal(it.condition('Provisioned')?.reason, 'BackingLost');
  assert.equal(it.volume().status?.capacity, '10Mi');
  assert.deepEqual(
    it.kube.events.map(({ reason }) => reason),
    ['BackingLost'],
  );
});

test('a pool in trouble is told of, with its reason', async (t) => {
  const it = await harness(t);
  it.backend.failure = new BackendError('PoolFull', 'no room');
  await it.reconcile();
  assert.equal(it.condition('Provisioned')?.reason, 'PoolFull');
  assert.equal(it.condition('Exported')?.reason, 'NotProvisioned');
  it.backend.failure = undefined;
  await it.reconcile();
  assert.equal(it.condition('Exported')?.status, 'True');
});

test('a target that is down leaves what was in force, and is served again after', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.target.stop();
  await it.connected(false);
  await it.reconcile();
  assert.equal(it.condition('Exported')?.reason, 'TargetUnavailable');
  assert.deepEqual(it.volume().status?.initiators?.nodes, ['worker']);
  it.target.start();
  await it.connected(true);
  await it.reconcile();
  assert.equal(it.condition('Exported')?.status, 'True');
  assert.equal(it.world.probes, 1);
});

test('a refusal of the target is a condition, not a crash', async (t) => {
  const it = await harness(t);
  it.target.failing.set('export', new TargetError('precondition', 'no durable writes'));
  assert.deepEqual(await it.reconcile(), { requeueAfterMs: 5000 });
  assert.equal(it.condition('Exported')?.message, 'no durable writes');
});

test('a device in trouble is opened again, at most every few seconds', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  await it.reconcile(volumes);
  for (const now of [1000, 6000]) {
    it.world.now = now;
    await it.reconcile(volumes);
  }
  it.target.trouble(UID, 'EIO');
  await it.tick();
  const before = it.target.calls.length;
  assert.deepEqual(await it.reconcile(volumes), { requeueAfterMs: 60_000 });
  it.target.trouble(UID, 'EIO');
  await it.tick();
  assert.deepEqual(await it.reconcile(volumes), { requeueAfterMs: 5000 });
  assert.match(it.condition('Exported')?.message ?? '', /EIO/);
  assert.deepEqual(it.target.calls.slice(before), ['export']);
});

test("a stranger's string is respected", async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.target.setConfigString(UID, 'net.corvus.apple \u0001');
  await it.tick();
  await it.reconcile();
  assert.deepEqual(it.volume().status?.holder, { name: '"net.corvus.apple \\x01"', raw: 'net.corvus.apple \\x01' });
  it.remove();
  await it.reconcile();
  assert.match(it.condition('Exported')?.message ?? '', /deletion waits: its config string was set by other software/);
  assert.equal(it.backend.volumes.size, 1);
});

test('nobody is cut off by an old view of the volume', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const old = structuredClone(it.volume());
  old.spec.initiators = {};
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, [MAC.worker]);
});

test('a deleted volume goes from the segment, then from the pool, then from the API', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.remove();
  await it.reconcile();
  assert.equal(it.target.volumes.size, 0);
  assert.equal(it.backend.volumes.size, 0);
  assert.equal(it.kube.objects.has('AoEVolume/v1'), false);
});

test('a deleted volume in use stays, and says by whom', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.lock('worker');
  it.remove();
  await it.reconcile();
  assert.equal(it.backend.volumes.size, 1);
  assert.match(it.condition('Exported')?.message ?? '', /deletion waits: attached to worker/);
  it.spec({ initiators: {} });
  await it.reconcile();
  assert.equal(it.kube.objects.has('AoEVolume/v1'), false);
  assert.equal(it.backend.volumes.size, 0);
});

test('a deleted volume with policy Retain keeps its data', async (t) => {
  const it = await harness(t);
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile();
  it.remove();
  await it.reconcile();
  assert.deepEqual([...it.backend.retained], [UID]);
  assert.equal(it.kube.objects.has('AoEVolume/v1'), false);
});

test('a deletion goes by the policy that the API server has, not by an old view', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.remove();
  const old = structuredClone(it.volume());
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  assert.deepEqual([...it.backend.retained], [UID]);
});

test('a deletion waits for the target, whatever the lock was', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.target.stop();
  await it.connected(false);
  it.remove();
  await it.reconcile();
  assert.equal(it.backend.volumes.size, 1);
  assert.equal(it.condition('Exported')?.reason, 'TargetUnavailable');
});

test('a deleted volume that was never made does not wait for a pool that is missing; one that was made does', async (t) => {
  const missing = new BackendError('PoolMissing', 'no such group');
  const never = await harness(t);
  never.backend.failure = missing;
  await never.reconcile();
  never.remove();
  await never.reconcile();
  assert.equal(never.kube.objects.has('AoEVolume/v1'), false);
  const made = await harness(t);
  await made.reconcile();
  made.backend.failure = missing;
  made.remove();
  assert.deepEqual(await made.reconcile(), { requeueAfterMs: 5000 });
  assert.match(made.condition('Provisioned')?.message ?? '', /deletion waits: no such group/);
});

for (const call of ['export', 'setAccess', 'unexport'] as const) {
  test(`a failure of ${call} is tried again until it works`, async (t) => {
    const it = await harness(t);
    if (call !== 'export') await it.reconcile();
    if (call === 'setAccess') it.spec({ initiators: { nodes: ['worker'] } });
    if (call === 'unexport') it.remove();
    it.target.failing.set(call, new TargetError('unavailable', 'gone'));
    await it.reconcile();
    await it.reconcile();
    if (call === 'unexport') assert.equal(it.kube.objects.has('AoEVolume/v1'), false);
    else assert.equal(it.condition('Exported')?.status, 'True');
  });
}

test('who is let in does not wait for a pool that is stuck, and what it says in the end is told', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile(volumes);
  const gate = Promise.withResolvers<void>();
  it.backend.gate = gate.promise;
  for (const initiators of [{}, { nodes: ['other'] }]) {
    it.spec({ initiators });
    await it.reconcile(volumes);
    assert.deepEqual(it.volume().status?.initiators?.observedGeneration, it.volume().metadata.generation);
    assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, 'nodes' in initiators ? [MAC.other] : []);
    assert.equal(it.condition('Provisioned')?.status, 'True');
    assert.equal(it.condition('Exported')?.status, 'True');
  }
  assert.deepEqual(it.backend.calls, ['create', 'open'], 'never two calls for one volume at a time');
  it.backend.volumes.clear();
  gate.resolve();
  await it.tick();
  assert.deepEqual(it.world.dataSettled, ['v1']);
  await it.reconcile(volumes);
  assert.equal(it.condition('Provisioned')?.reason, 'BackingLost');
});

test('who is let in does not depend on a backend that breaks', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.backend.failure = new Error('a bug');
  it.spec({ initiators: { nodes: ['worker'] } });
  await assert.rejects(it.reconcile(), /a bug/);
  assert.deepEqual(it.volume().status?.initiators?.nodes, ['worker']);
});

test('a new volume whose data takes long to make holds no worker, is exported when it is there, and not removed before', async (t) => {
  const it = await harness(t);
  const volumes = it.make();
  const gate = Promise.withResolvers<void>();
  it.backend.gate = gate.promise;
  assert.equal(await it.reconcile(volumes), undefined);
  assert.equal(it.target.volumes.size, 0);
  assert.equal(it.condition('Exported')?.reason, 'NotProvisioned');
  assert.equal(it.condition('Provisioned'), undefined);
  it.remove();
  await it.reconcile(volumes);
  assert.match(it.condition('Exported')?.message ?? '', /deletion waits: its data is still being opened or made/);
  gate.resolve();
  await it.tick();
  assert.deepEqual(it.world.dataSettled, ['v1']);
  await it.reconcile(volumes);
  assert.equal(it.kube.objects.has('AoEVolume/v1'), false);
  assert.equal(it.backend.volumes.size, 0);
});

test('nothing is made of a volume whose place the operator refuses', async (t) => {
  const it = await harness(t);
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
  assert.deepEqual([it.backend.calls, it.target.volumes.size], [[], 0]);
  assert.equal(it.condition('Exported')?.reason, 'AddressTaken');
});

test('only nodes that have an Exclusive volume must take its lock before they write', async (t) => {
  const it = await harness(t);
  const needs = async (change: object): Promise<boolean | undefined> => {
    it.spec(change);
    await it.reconcile();
    return it.target.volumes.get(UID)?.volume.writesNeedLock;
  };
  assert.equal(await needs({ initiators: { nodes: ['worker'] } }), true);
  assert.equal(await needs({ initiators: { macs: ['02:00:00:00:77:77'] } }), false);
  assert.equal(await needs({ initiators: {} }), true);
  assert.equal(await needs({ access: 'Shared' }), false);
});

test('a target that does not know about writes that need the lock is not told again and again', async (t) => {
  const it = await harness(t);
  it.target.features = [];
  it.target.stop();
  await it.connected(false);
  it.target.start();
  await it.connected(true);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const before = it.target.calls.length;
  await it.reconcile();
  assert.deepEqual(it.target.calls.slice(before), []);
});
