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

test('a backing volume that grew is exported again, so that the target takes its new size', async () => {
  const it = await harness();
  const volumes = it.make();
  const path = it.backend.path(UID);
  it.target.sizes.set(path, 10 << 20);
  await it.reconcile(volumes);
  it.backend.allowGrowth();
  it.target.sizes.set(path, 20 << 20);
  it.spec({ capacity: '20Mi' });
  const before = it.target.calls.length;
  await it.reconcile(volumes);
  await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['export']);
  expect(it.target.volumes.get(UID)?.bytes).toBe(20 << 20);
  expect(it.volume().status?.capacity).toBe('20Mi');
});

test('a target that keeps the old size is asked again after a while only', async () => {
  const it = await harness();
  const volumes = it.make();
  it.target.sizes.set(it.backend.path(UID), 5 << 20);
  await it.reconcile(volumes);
  const before = it.target.calls.length;
  for (let i = 0; i < 3; i++) await it.reconcile(volumes);
  expect(it.target.calls.slice(before)).toStrictEqual(['export']);
});
