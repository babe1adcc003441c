import { FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend, takenAt, thinBackend } from '../../testing/lvm-backends.ts';
import type { Backend } from '../backend.ts';
import { createEmpty } from '../create-empty.ts';

const MiB = 1 << 20;
const { signal } = new AbortController();
const FULL = {
  reason: 'PoolFull',
  message: expect.stringMatching(/the LVM metadata of volume group vg0 is nearly full: .*--metadatasize/),
};

for (const [kind, open] of [
  ['thick', (fake: FakeLvm) => linearBackend(fake)],
  ['thin', (fake: FakeLvm) => thinBackend(fake)],
] as const) {
  /** A volume in a group of which others have then filled LVM's metadata, but for these bytes. */
  const filled = async (left: number): Promise<{ fake: FakeLvm; backend: Backend }> => {
    const fake = new FakeLvm();
    await createEmpty(open(fake), { uid: 'u-1', name: 'pvc-1', bytes: 4 * MiB }, signal);
    fake.volumes.set('old', { name: 'old', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
    const backend = open(fake);
    fake.otherMetadata += fake.metadataFree() - left;
    return { fake, backend };
  };

  test(`${kind}: where LVM's metadata is nearly full, nothing new begins, and the pool says what to do`, async () => {
    const { fake, backend } = await filled(65_000);
    expect(await backend.measure(signal)).toMatchObject({ ready: false, full: true, message: FULL.message, volumes: [{ uid: 'u-1' }] });
    const before = structuredClone(fake.volumes);
    await expect(createEmpty(backend, { uid: 'u-2', name: 'pvc-2', bytes: MiB }, signal)).rejects.toMatchObject(FULL);
    await expect(backend.growth?.grow('u-1', 8 * MiB, signal)).rejects.toMatchObject(FULL);
    const snapshot = { uid: 's-1', name: 'snap-1', volumeUID: 'u-1' };
    await expect(backend.snapshots?.take(snapshot, takenAt, signal)).rejects.toMatchObject(FULL);
    expect(fake.volumes).toStrictEqual(before);
  });

  test(`${kind}: with an eighth more it is ready`, async () => {
    const measured = await (await filled(66_000)).backend.measure(signal);
    expect([measured.ready, measured.full]).toStrictEqual([true, undefined]);
  });

  test(`${kind}: the snapshots of a group are admitted together`, async () => {
    const { fake, backend } = await filled(75_000);
    const requests = Array.from({ length: 16 }, (_, at) => ({ uid: `s-${at}`, name: `snap-${at}`, volumeUID: 'u-1' }));
    const before = structuredClone(fake.volumes);
    await expect(backend.snapshots?.prepare(requests, signal)).rejects.toMatchObject(FULL);
    expect(fake.volumes).toStrictEqual(before);
    await expect(backend.snapshots?.prepare(requests.slice(0, 4), signal)).resolves.toHaveLength(4);
  });

  test(`${kind}: a command that LVM refuses for lack of metadata says that the pool is full, whatever it was to do`, async () => {
    const { fake, backend } = await filled(70_000);
    expect(await backend.measure(signal)).toMatchObject({ ready: true });
    // By somebody else, since the last report.
    fake.otherMetadata += 69_500;
    const message = expect.stringMatching(/^creating .*exceeds maximum metadata size.*pvcreate --metadatasize/);
    await expect(createEmpty(backend, { uid: 'u-2', name: 'pvc-2', bytes: MiB }, signal)).rejects.toMatchObject({
      reason: 'PoolFull',
      message,
    });
    fake.otherMetadata += 400;
    await expect(backend.noteMoves('u-1', 1, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
    await backend.remove('u-1', signal);
    expect([...fake.volumes.keys()]).not.toContain('aoe-u-1');
  });
}

test('nothing is adopted where its tags would take the last room', async () => {
  const fake = new FakeLvm();
  fake.volumes.set('old', { name: 'old', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  fake.otherMetadata += fake.metadataFree() - 65_000;
  const adopted = linearBackend(fake).adoption.adopt(
    { uid: 'u-1', name: 'pvc-1', bytes: 4 * MiB, from: 'old' },
    async () => undefined,
    signal,
  );
  await expect(adopted).rejects.toMatchObject(FULL);
  expect(fake.volumes.get('old')?.tags).toStrictEqual([]);
});

test('however many volumes are made at once, their own tags still fit, and so does what each of them needs later', async () => {
  const fake = new FakeLvm();
  Object.assign(fake, { metadataSize: 131_072, size: 1000 * fake.extent });
  const backend = linearBackend(fake);
  const uids = Array.from({ length: 200 }, (_, index) => `0b0a5a56-7d4e-4a52-9f0c-4a5b4b2f8${index}`);
  const made = await Promise.allSettled(
    uids.map((uid) => createEmpty(backend, { uid, name: `pvc-${uid}`, bytes: MiB, tail: true }, signal)),
  );
  const whole = uids.filter((_, index) => made[index]?.status === 'fulfilled');
  expect(whole.length).toBeGreaterThan(80);
  for (const each of made) if (each.status === 'rejected') expect(each.reason).toMatchObject({ reason: 'PoolFull' });
  expect([...fake.volumes.keys()]).toHaveLength(whole.length);
  expect(fake.metadataFree()).toBeGreaterThan(7_000);
  for (const uid of whole) await backend.noteMoves(uid, 123_456, signal);
  for (const { tags } of fake.volumes.values()) tags.push(`aoe.dev/clean=${2 ** 44}`);
  await expect(backend.exportTail(whole[0] ?? '', signal)).resolves.toMatchObject({ uid: whole[0] });
  await Promise.all(whole.map((uid) => backend.remove(uid, signal)));
  expect(fake.volumes.size).toBe(0);
  expect(await backend.measure(signal)).toMatchObject({ ready: true });
});
