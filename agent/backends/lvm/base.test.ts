import { FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend } from '../../testing/lvm-backends.ts';
import { createEmpty } from '../create-empty.ts';

const MiB = 1 << 20;
const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 10 * MiB };

test('a missing group is a pool that is not ready, with the command that makes it', async () => {
  const fake = new FakeLvm();
  fake.present = false;
  const { ready, message } = await linearBackend(fake).measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/vgcreate vg0/);
  for (const look of ['open', 'find'] as const)
    await expect(linearBackend(fake)[look]('u-1', signal)).rejects.toMatchObject({ reason: 'PoolMissing' });
});

test('what is not marked as ours is never taken, shown or removed', async () => {
  const fake = new FakeLvm();
  fake.volumes.set('aoe-u-1', { name: 'aoe-u-1', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  fake.volumes.set('root', { name: 'root', bytes: 4 * MiB, tags: ['aoe.dev'], active: true, layout: 'linear' });
  const backend = linearBackend(fake);
  expect((await backend.measure(signal)).volumes).toStrictEqual([]);
  await expect(createEmpty(backend, request, signal)).rejects.toThrow(/already exists/);
  await backend.remove('u-1', signal);
  expect(fake.volumes.size).toBe(2);
});

test('a retained volume is no longer one of ours', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await createEmpty(backend, request, signal);
  const before = await backend.measure(signal);
  await backend.retain('u-1', signal);
  const after = await backend.measure(signal);
  expect(after.volumes).toStrictEqual([]);
  expect(after.size).toBe(before.size - 12 * MiB);
  expect(fake.volumes.size).toBe(1);
});

test('an inactive volume is activated', async () => {
  const fake = new FakeLvm();
  await createEmpty(linearBackend(fake), request, signal);
  for (const volume of fake.volumes.values()) volume.active = false;
  expect(await linearBackend(fake).open('u-1', signal)).toBeTruthy();
  expect(fake.volumes.get('aoe-u-1')?.active).toBe(true);
});

test('volumes that are opened at once are all found, and removed', async () => {
  const fake = new FakeLvm();
  const uids = ['u-1', 'u-2', 'u-3'];
  for (const uid of uids) await createEmpty(linearBackend(fake), { uid, name: uid, bytes: MiB }, signal);
  const backend = linearBackend(fake);
  const opened = await Promise.all(uids.map((uid) => backend.open(uid, signal)));
  expect(opened.map((volume) => volume?.uid)).toStrictEqual(uids);
  const other = linearBackend(fake);
  await Promise.all(uids.map((uid) => other.remove(uid, signal)));
  expect(fake.volumes.size).toBe(0);
});

test('a snapshot that carries our mark is no volume, and what it takes is not promised', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await createEmpty(backend, request, signal);
  const before = await backend.measure(signal);
  fake.volumes.set('aoe-snap-u-9', {
    name: 'aoe-snap-u-9',
    bytes: 8 * MiB,
    tags: ['aoe.dev', 'aoe.dev/pool=p1'],
    active: true,
    layout: 'linear',
  });
  const after = await linearBackend(fake).measure(signal);
  expect(after.volumes).toStrictEqual(before.volumes);
  expect([after.size, after.free]).toStrictEqual([before.size - 8 * MiB, before.free - 8 * MiB]);
  expect(() => backend.path('snap-u-9')).toThrow(RangeError);
});

test('data of an earlier AoEVolume of the same name is found by its tag, unless it is retained', async () => {
  const fake = new FakeLvm();
  const again = { uid: 'u-2', name: 'pvc-1' };
  await createEmpty(linearBackend(fake), request, signal);
  await createEmpty(linearBackend(fake), { uid: 'u-3', name: 'pvc-3', bytes: MiB }, signal);
  const backend = linearBackend(fake);
  expect(await backend.namesakes(again, signal)).toMatchObject([{ uid: 'u-1', name: 'vg0/aoe-u-1', volume: 'pvc-1' }]);
  expect(await backend.namesakes(request, signal), 'its own').toStrictEqual([]);
  expect(await linearBackend(fake, { pool: 'p2' }).namesakes(again, signal), 'of another pool').toStrictEqual([]);
  await backend.retain('u-1', signal);
  expect(await backend.namesakes(again, signal)).toStrictEqual([]);
});

test('the size of a pool follows our own changes; it is reported again only before a removal', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  const before = await backend.measure(signal);
  fake.calls.length = 0;
  await createEmpty(backend, request, signal);
  expect(await backend.measure(signal)).toMatchObject({ size: before.size, free: before.free - 12 * MiB, volumes: [{ uid: 'u-1' }] });
  await backend.remove('u-1', signal);
  expect(await backend.measure(signal)).toStrictEqual(before);
  await backend.remove('u-1', signal);
  expect(fake.calls).toStrictEqual(['lvcreate', 'untag', 'vgs', 'lvremove']);
  expect(before.free).toBe(fake.free());
});

test('a volume that is missing is looked for in a new report before it counts as lost', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await backend.measure(signal);
  fake.volumes.set('aoe-u-1', { name: 'aoe-u-1', bytes: 4 * MiB, tags: ['aoe.dev'], active: true, layout: 'linear' });
  expect(await backend.open('u-1', signal)).toMatchObject({ uid: 'u-1' });
  fake.volumes.clear();
  fake.calls.length = 0;
  expect(await Promise.all(['u-1', 'u-2', 'u-3'].map((uid) => backend.open(uid, signal)))).toStrictEqual([undefined, undefined, undefined]);
  expect(fake.calls.every((call) => call === 'vgs')).toBe(true);
});

test("data of the same name that was removed by hand meanwhile is in nobody's way", async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await createEmpty(backend, request, signal);
  fake.volumes.clear();
  expect(await backend.namesakes({ uid: 'u-2', name: 'pvc-1' }, signal)).toStrictEqual([]);
});
