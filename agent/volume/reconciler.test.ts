import type { Stranger } from '../address/probe.ts';
import { hungPool } from '../testing/hung-file-system.ts';
import { runController } from '../testing/run-controller.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';
import { waitUntil } from '../testing/wait-until.ts';

test('a placed volume is made, its address probed, exported and reported, once', async () => {
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

test('a volume that was placed again, because no disk was made at its first place, is made here', async () => {
  const it = await harness();
  const failed = {
    type: 'Provisioned',
    status: 'False',
    reason: 'BackendFailed',
    message: 'of node first',
    lastTransitionTime: '',
  } as const;
  it.spec({ moves: 1 });
  await it.kube.patch({ kind: 'AoEVolume' }, it.volume().metadata.name, { status: { conditions: [failed] } }, { subresource: 'status' });
  await it.reconcile();
  expect(it.volume().status).toMatchObject({ capacity: '10Mi', moves: 1, serial: '111111112222333344-1' });
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.backend.volumes.get(UID)?.moves, 'a disk that its first place makes after all is older').toBe(1);
});

test('a volume is not exported while another target answers at its address', async () => {
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

test('the address of a served volume is probed again after 1 s, 5 s, and then each minute', async () => {
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

test('another target that comes later takes an unused volume off the segment, until it is gone', async () => {
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

test('a volume is served at the address of the disk it is a copy of once all is copied, and the other target is silent', async () => {
  const it = await harness();
  const volumes = it.make();
  it.spec({ source: { external: { shelf: 7, slot: 3 } } });
  it.world.stranger = STRANGER;
  it.world.external = [{ ...STRANGER, configString: new Uint8Array(), serial: 'S1', bytes: 4 << 20 }];
  it.copier.read = () => [1, 0, 2, 3];
  it.copier.disks.set(`/dev/fake/${UID}`, [0, 0, 0, 0]);
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 2_000 });
  expect([it.condition('Provisioned')?.reason, it.condition('AddressConflict')]).toStrictEqual(['Copying', undefined]);
  for (let step = 0; step < 8; step++) it.copier.advance();
  await it.reconcile(volumes);
  expect([it.condition('Provisioned')?.reason, it.condition('Exported')?.reason]).toStrictEqual(['Provisioned', 'AnsweredBySource']);
  expect(it.condition('AddressConflict')).toMatchObject({ status: 'True', reason: 'AnsweredBySource' });
  expect([it.target.volumes.size, it.copier.jobs.size, it.volume().status?.copy]).toStrictEqual([0, 0, undefined]);
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['AnsweredBySource']);
  const probeFor = async (ms: number) => {
    for (const end = it.world.now + ms; it.world.now < end; it.world.now += 5_000)
      expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 5_000 });
  };
  await probeFor(50_000);
  it.world.stranger = undefined;
  it.world.external = [];
  await probeFor(25_000);
  expect([it.target.volumes.size, it.condition('Exported')?.reason]).toStrictEqual([0, 'AnsweredBySource']);
  expect(it.condition('Exported')?.message).toMatch(/nobody answers at e7\.3 any more/);
  it.world.stranger = STRANGER;
  await probeFor(5_000);
  it.world.stranger = undefined;
  await probeFor(30_000);
  expect(it.target.volumes.size).toBe(0);
  expect(await it.reconcile(volumes), 'the address is probed soon again').toStrictEqual({ requeueAfterMs: 1_000 });
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.condition('AddressConflict')?.status).toBe('False');
  expect(it.world.patient).toBe(true);
  it.world.stranger = STRANGER;
  it.world.now += 1_000;
  await it.reconcile(volumes);
  expect([it.target.volumes.size, it.condition('AddressConflict')?.reason]).toStrictEqual([0, 'AnsweredByOther']);
});

test('the address of a volume that had a conflict for long is probed soon after its export', async () => {
  const it = await harness();
  const volumes = it.make();
  it.world.stranger = STRANGER;
  for (let probe = 0; probe < 10; probe++) await it.reconcile(volumes);
  it.world.stranger = undefined;
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 1_000 });
  it.world.now += 1_000;
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 5_000 });
});

test('a volume in use is served on when another target comes, and says so', async () => {
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

test('a volume with a lock is in use, also when nobody is admitted', async () => {
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
  const put = it.kube.volume();
  it.kube.put({ ...put, kind: 'AoEVolume', metadata: { ...put?.metadata, name: 'v1', uid: 'another' } } as never);
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect(it.volume().status).toBeUndefined();
});

test('a target that is down leaves the access as it was, and serves the volume again afterwards', async () => {
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

test('changes of who is admitted do not wait for a pool that is stuck, and what it says in the end is reported', async () => {
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

test('changes of who is admitted do not depend on a backend that breaks', async () => {
  const it = await harness();
  await it.reconcile();
  it.backend.failure = new Error('a bug');
  it.spec({ initiators: { nodes: ['worker'] } });
  await expect(it.reconcile()).rejects.toThrow(/a bug/);
  expect(it.volume().status?.initiators?.nodes).toStrictEqual(['worker']);
});

test('nothing is written about a new volume whose data is made soon', async () => {
  const it = await harness();
  const volumes = it.make(undefined, { statusDelayMs: 60_000 });
  const gate = Promise.withResolvers<void>();
  it.backend.gate = gate.promise;
  const { requeueAfterMs = 0 } = (await it.reconcile(volumes)) ?? {};
  expect(requeueAfterMs).toBeGreaterThan(50_000);
  expect(it.volume().status).toBeUndefined();
  gate.resolve();
  await it.tick();
  await it.reconcile(volumes);
  expect(it.condition('Exported')?.status).toBe('True');
  expect(it.kube.written).toHaveLength(1);
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
  expect(it.kube.volume()).toBeUndefined();
  expect(it.backend.volumes.size).toBe(0);
});

test('nothing is made of a volume whose place the operator refuses', async () => {
  const it = await harness();
  const present = it.kube.volume();
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

test('a pool that is to have no zeros back is followed while a volume is in use', async () => {
  const it = await harness();
  const volumes = it.make();
  const pool = (reclaimZeros?: 'Auto' | 'None') => {
    const spec = { backend: 'file', directory: '/x', ...(reclaimZeros ? { reclaimZeros } : {}) };
    it.kube.put({ kind: 'AoEPool', metadata: { name: 'default' }, spec } as never);
  };
  it.backend.reclaims = true;
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile(volumes);
  const served = () => it.target.volumes.get(UID)?.volume;
  expect(served()).toMatchObject({ reclaim: true, macs: [MAC.worker] });
  for (const [setting, reclaims] of [
    ['None', undefined],
    ['Auto', true],
    ['None', undefined],
    [undefined, true],
  ] as const) {
    pool(setting);
    await it.reconcile(volumes);
    expect(served()?.reclaim, String(setting)).toBe(reclaims);
    expect([served()?.macs, it.condition('Exported')?.status]).toStrictEqual([[MAC.worker], 'True']);
    const calls = it.target.calls.length;
    await it.tick();
    await it.reconcile(volumes);
    expect(it.target.calls, 'nothing is asked of the target twice').toHaveLength(calls);
  }
});

test('many deletions in a file pool whose disk hangs keep no host off a volume of another pool, and end once the disk answers', async () => {
  const it = await harness();
  const { backend, directory, disk } = await hungPool('files', 100);
  it.kube.put({ kind: 'AoEPool', metadata: { name: 'files' }, spec: { backend: 'file', directory } } as never);
  it.backends.set('files', backend);
  const volumes = it.make();
  await volumes.reconcile('v1', new AbortController().signal);
  const names = Array.from({ length: 20 }, (_, each) => `d${each}`);
  const { metadata, spec } = it.volume();
  for (const [slot, name] of names.entries()) {
    const deleted = { ...metadata, name, uid: `u-${name}`, deletionTimestamp: '2026-01-01T00:00:00Z' };
    it.kube.put({ kind: 'AoEVolume', metadata: deleted, spec: { ...spec, pool: 'files', address: { shelf: 9, slot } } } as never);
  }
  const controller = runController(volumes, { concurrency: 16, release: () => disk.release() });
  volumes.subscribe((event) => event.type === 'data' && controller.enqueue(event.volume));
  const left = () => names.filter((name) => it.kube.volume(name));
  for (const name of names) controller.enqueue(name);
  await waitUntil(() => disk.waiting.length > 0);
  it.spec({ initiators: { nodes: ['worker'] } });
  controller.enqueue('v1');
  await waitUntil(() => it.target.volumes.get(UID)?.volume.macs.includes(MAC.worker) === true);
  expect(left()).toHaveLength(20);
  expect(disk.waiting).toHaveLength(1);
  const failures = () =>
    names
      .flatMap((name) => (it.kube.volume(name)?.status?.conditions ?? []) as { reason: string; message: string }[])
      .filter(({ reason }) => reason === 'RemovalFailed');
  await waitUntil(() => failures().length > 0);
  expect(failures()[0]?.message).toMatch(/^deletion waits: .*directory .* has not ended/);
  disk.release();
  // What failed is tried again after a while: nobody waits for that here.
  await waitUntil(() => {
    for (const name of left()) controller.enqueue(name);
    return left().length === 0;
  });
});
