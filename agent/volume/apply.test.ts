import { TargetError } from '../target/api.ts';
import { harness, UID } from '../testing/volume-harness.ts';

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

for (const call of ['export', 'setAccess'] as const) {
  test(`a failure of ${call} is tried again until it works`, async () => {
    const it = await harness();
    if (call !== 'export') await it.reconcile();
    if (call === 'setAccess') it.spec({ initiators: { nodes: ['worker'] } });
    it.target.failing.set(call, new TargetError('unavailable', 'gone'));
    await it.reconcile();
    await it.reconcile();
    expect(it.condition('Exported')?.status).toBe('True');
  });
}

test('a host loses access before the disk of an export is opened, which may hang', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.admitHolder('worker', volumes);
  it.spec({ initiators: {}, limits: { iops: 100 } });
  it.target.failing.set('export', new TargetError('unavailable', 'the disk hangs'));
  const before = it.target.calls.length;
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['setAccess', 'replaceConfigString', 'export']);
  expect([it.target.volumes.get(UID)?.volume.macs, it.volume().status?.initiators?.nodes]).toStrictEqual([[], []]);
  expect(it.condition('Exported')?.message).toBe('the disk hangs');
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before + 3)).toStrictEqual(['export']);
  expect(it.volume().status?.limits?.iops).toBe(100);
});

test('a host counts as cut off only when the target has answered, though it already says that it admits nobody', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.admitHolder('worker', volumes);
  it.spec({ initiators: {} });
  // Of the real one, too, the watch shows a change as soon as it is saved, while requests of the host are still under way.
  const setAccess = it.target.setAccess.bind(it.target);
  let waits = true;
  it.target.setAccess = async (uid, access) => {
    const state = await setAccess(uid, access);
    if (waits) throw new TargetError('waits', 'the disk hangs');
    return state;
  };
  const before = it.target.calls.length;
  for (const attempt of ['first', 'second']) {
    await it.reconcile(volumes);
    await it.tick();
    expect(it.target.volumes.get(UID)?.volume.macs, attempt).toStrictEqual([]);
    expect([it.volume().status?.initiators?.nodes, it.condition('Exported')?.reason], attempt).toStrictEqual([['worker'], 'WaitsForDisk']);
  }
  waits = false;
  await it.reconcile(volumes);
  expect(it.volume().status?.initiators?.nodes).toStrictEqual([]);
  expect(it.target.calls.slice(before)).toStrictEqual(['setAccess', 'setAccess', 'setAccess', 'replaceConfigString']);
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toHaveLength(4);
});

test('a change that waits for its disk is asked for again after a while, and frees its worker until then', async () => {
  const it = await harness();
  it.target.failing.set('export', new TargetError('waits', 'the disk hangs'));
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.condition('Exported')).toMatchObject({ status: 'Unknown', reason: 'WaitsForDisk', message: /waits for disk \/dev\// });
});

test('limits are given to the target while it serves, and what it enforces is reported', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  expect(it.volume().status?.limits).toBeUndefined();
  it.spec({ limits: { writeIOPS: 100, bytesPerSecond: '2048Ki', burstSeconds: 5 } });
  it.target.failing.set('export', new TargetError('unavailable', 'gone'));
  await it.reconcile(volumes);
  expect(it.volume().status?.limits, 'nothing is enforced yet').toBeUndefined();
  const before = it.target.calls.length;
  await it.reconcile(volumes);
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['export']);
  const observedGeneration = it.volume().metadata.generation;
  expect(it.volume().status?.limits).toStrictEqual({ observedGeneration, writeIOPS: 100, bytesPerSecond: '2Mi', burstSeconds: 5 });
  it.spec({ limits: undefined });
  await it.reconcile(volumes);
  expect(it.volume().status?.limits).toBeUndefined();
  expect(it.target.volumes.get(UID)?.volume.limits?.writeIOPS).toBe(0);
});

test('limits that an earlier target does not know are said not to be enforced', async () => {
  const it = await harness();
  await restartWith(it, 'writes_need_lock', 'exported_size');
  it.spec({ limits: { iops: 100 } });
  await it.reconcile();
  expect(it.condition('Exported')).toMatchObject({ status: 'True', reason: 'LimitsNotEnforced' });
  expect(it.volume().status?.limits).toBeUndefined();
  await restartWith(it, 'writes_need_lock', 'exported_size', 'limits');
  await it.reconcile();
  expect([it.condition('Exported')?.reason, it.volume().status?.limits?.iops]).toStrictEqual(['Exported', 100]);
});

test('a claim that grows: the data, then the target, and then the status', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  it.backend.allowGrowth();
  it.spec({ capacity: '20Mi' });
  const before = it.target.calls.length;
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before), 'no room is reserved yet').toStrictEqual([]);
  it.reserve('20Mi');
  it.target.failing.set('export', new TargetError('unavailable', 'gone'));
  await it.reconcile(volumes);
  expect(it.volume().status?.capacity, 'no host can see it yet').toBe('10Mi');
  expect(it.backend.volumes.get(UID)?.bytes).toBe(20 << 20);
  await it.reconcile(volumes);
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['export', 'export']);
  expect(it.target.volumes.get(UID)?.bytes).toBe(20 << 20);
  expect(it.volume().status?.capacity).toBe('20Mi');
  expect(it.condition('Provisioned')?.reason).toBe('Provisioned');
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['Grown']);
});

test('a volume that is not exported is exported at its present size before its data grows, also in the middle of a growth', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  it.backend.allowGrowth();
  it.backend.wiping = new Promise(() => {});
  it.spec({ capacity: '20Mi' });
  it.reserve('20Mi');
  await it.reconcile(volumes);
  expect(it.backend.calls.filter((call) => call === 'grow')).toHaveLength(1);
  await it.target.unexport(UID);
  await it.tick();
  await it.reconcile(volumes);
  await it.tick();
  expect(it.world.dataSettled, 'the growth is stopped').toStrictEqual(['v1']);
  await it.reconcile(volumes);
  expect(it.condition('Provisioned')).toMatchObject({ status: 'True', reason: 'NotGrown' });
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(10 << 20);
  // An agent that was just started finds it so, too.
  await it.target.unexport(UID);
  await it.tick();
  const next = it.make();
  await it.reconcile(next);
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(10 << 20);
  expect(it.backend.calls.filter((call) => call === 'grow')).toHaveLength(1);
  it.backend.wiping = undefined;
  await it.reconcile(next);
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(20 << 20);
  expect(it.volume().status?.capacity).toBe('20Mi');
});

test('a new volume that was made before its claim grew is exported at the size that it was made with, and then grows', async () => {
  const it = await harness();
  const volumes = it.make();
  it.backend.allowGrowth();
  await it.backend.create({ uid: UID, name: 'v1', bytes: 10 << 20 });
  it.spec({ capacity: '20Mi' });
  it.reserve('20Mi');
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(10 << 20);
  expect(it.volume().status?.capacity).toBe('10Mi');
  await it.reconcile(volumes);
  expect(it.volume().status?.capacity).toBe('20Mi');
});

/** The target is replaced by one with these features. */
async function restartWith(it: Awaited<ReturnType<typeof harness>>, ...features: string[]): Promise<void> {
  it.target.stop();
  await it.connected(false);
  it.target.features = features;
  it.target.start();
  await it.connected(true);
}

test('a volume of an earlier version: the target is given the present size before the data grows', async () => {
  const it = await harness();
  await restartWith(it, 'writes_need_lock');
  const volumes = it.make();
  it.target.sizes.set(it.backend.path(UID), 10 << 20);
  it.backend.allowGrowth();
  await it.reconcile(volumes);
  it.spec({ capacity: '20Mi' });
  it.reserve('20Mi');
  await it.reconcile(volumes);
  expect(it.condition('Provisioned')).toMatchObject({ status: 'True', reason: 'NotGrown' });
  expect(it.condition('Provisioned')?.message).toMatch(/the target on this node is of an earlier version/);
  expect(it.condition('Exported')?.status).toBe('True');
  await restartWith(it, 'writes_need_lock', 'exported_size');
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(10 << 20);
  expect(it.backend.calls).not.toContain('grow');
  await it.tick();
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.bytes).toBe(20 << 20);
  expect(it.volume().status?.capacity).toBe('20Mi');
});

test('a target that knows no sizes and keeps the old one is asked again after a while only', async () => {
  const it = await harness();
  await restartWith(it, 'writes_need_lock');
  const volumes = it.make();
  it.target.sizes.set(it.backend.path(UID), 5 << 20);
  await it.reconcile(volumes);
  const before = it.target.calls.length;
  for (let i = 0; i < 3; i++) await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['export']);
});

/** The features of the target in the release before backing volumes had tails: it may be beside this agent until a person replaces it. */
const RELEASED = ['writes_need_lock', 'exported_size', 'hold', 'for_copies', 'limits', 'reclaim'];

test('beside the target of the release before tails, new data has a tail, and exactly the size of the volume is exported', async () => {
  const it = await harness();
  await restartWith(it, ...RELEASED);
  it.target.sizes.set(it.backend.path(UID), 14 << 20);
  const volumes = it.make();
  await it.reconcile(volumes);
  expect(it.backend.volumes.get(UID)).toMatchObject({ bytes: 10 << 20, tail: 4 << 20 });
  expect(it.target.volumes.get(UID)).toMatchObject({ bytes: 10 << 20, volume: { bytes: 10 << 20 } });
  expect(it.volume().status?.capacity).toBe('10Mi');
  it.backend.allowGrowth();
  it.spec({ capacity: '20Mi' });
  it.reserve('20Mi');
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.bytes).toBe(20 << 20);
  expect(it.backend.calls).not.toContain('exportTail');
});

test('beside a target that exports all of a device, new data has no tail', async () => {
  const it = await harness();
  await restartWith(it, 'writes_need_lock');
  await it.reconcile();
  expect(it.backend.volumes.get(UID)?.tail).toBeUndefined();
  expect(it.condition('Exported')?.status).toBe('True');
});

test('a target that exports all of a device does not get data with a tail, until it is replaced', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  await it.target.unexport(UID);
  await restartWith(it, 'writes_need_lock');
  await it.reconcile(volumes);
  expect(it.target.volumes.has(UID)).toBe(false);
  expect(it.condition('Exported')).toMatchObject({
    status: 'False',
    reason: 'TargetTooOld',
    message: expect.stringMatching(/replace its pod/),
  });
  expect(it.backend.volumes.get(UID)?.tail).toBe(4 << 20);
  await restartWith(it, ...RELEASED);
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.bytes).toBe(10 << 20);
});

test('a tail that a target of an earlier version exports by its own state is data from then on', async () => {
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  const state = it.target.volumes.get(UID);
  if (state) it.target.volumes.set(UID, { ...state, volume: { ...state.volume, bytes: 0 }, bytes: 14 << 20 });
  it.target.sizes.set(it.backend.path(UID), 14 << 20);
  await restartWith(it, 'writes_need_lock');
  await it.reconcile(volumes);
  expect(it.backend.volumes.get(UID)).toMatchObject({ bytes: 14 << 20 });
  expect(it.backend.volumes.get(UID)?.tail).toBeUndefined();
  expect([it.volume().status?.capacity, it.condition('Exported')?.status]).toStrictEqual(['14Mi', 'True']);
});

test('no data is made before the target has ever said what it can do', async () => {
  const it = await harness({ connect: false });
  await it.reconcile();
  expect(it.backend.calls).not.toContain('create');
  expect(it.condition('Exported')?.reason).toBe('TargetUnavailable');
  it.target.start();
  await it.connected(true);
  await it.reconcile();
  expect(it.backend.volumes.get(UID)?.tail).toBe(4 << 20);
});
