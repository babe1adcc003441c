import { MiB } from '../../../api/quantity.ts';
import { type FakeLv, FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend, thinBackend } from '../../testing/lvm-backends.ts';
import type { OwnerOf } from '../backend.ts';
import { createEmpty } from '../create-empty.ts';
import type { LvmBase } from './base.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 12 * MiB, from: 'old' };
const nobody: OwnerOf = async () => undefined;

/** A group with logical volume `old`, which an administrator made. */
function groupWith(old: Partial<FakeLv> = {}): FakeLvm {
  const fake = new FakeLvm();
  const made: FakeLv = { name: 'old', bytes: 12 * MiB, tags: ['mine'], active: true, layout: 'linear', ...old };
  fake.volumes.set(made.name, made);
  return fake;
}

const adopt = (backend: LvmBase, changed: Partial<typeof request> = {}, ownerOf = nobody) =>
  backend.adoption.adopt({ ...request, ...changed }, ownerOf, signal);

test('a logical volume is adopted with three commands that change no data, and given back as it was', async () => {
  for (const active of [true, false]) {
    const fake = groupWith({ active });
    const wiped: string[] = [];
    const backend = linearBackend(fake, { wiped });
    const adopted = await adopt(backend);
    expect(adopted).toStrictEqual({ uid: 'u-1', volume: 'pvc-1', name: 'vg0/aoe-u-1', bytes: 12 * MiB, adopted: 'vg0/old' });
    expect(fake.calls.filter((call) => call !== 'vgs')).toStrictEqual([
      'lvchange',
      'lvrename',
      ...(active ? [] : ['lvchange']),
      'lvchange',
    ]);
    expect([...fake.volumes.keys()]).toStrictEqual(['aoe-u-1']);
    expect(wiped).toStrictEqual([]);
    fake.calls.length = 0;
    expect(await adopt(backend), 'again').toStrictEqual(adopted);
    expect(await backend.open('u-1', signal)).toStrictEqual(adopted);
    expect((await backend.measure(signal)).volumes).toStrictEqual([adopted]);
    expect(fake.calls.filter((call) => call !== 'vgs')).toStrictEqual([]);

    await backend.retain('u-1', signal);
    await backend.retain('u-1', signal);
    expect([...fake.volumes.values()]).toStrictEqual([{ name: 'old', bytes: 12 * MiB, tags: ['mine'], active: true, layout: 'linear' }]);
    expect((await backend.measure(signal)).volumes).toStrictEqual([]);
  }
});

test('a thin volume is adopted into the pool of its thin pool only', async () => {
  const fake = groupWith({ pool: 'tp', layout: 'thin,sparse' });
  await expect(adopt(linearBackend(fake))).rejects.toMatchObject({
    reason: 'NotAdoptable',
    message: expect.stringContaining('in pool tp'),
  });
  expect(await adopt(thinBackend(fake))).toMatchObject({ name: 'vg0/aoe-u-1', adopted: 'vg0/old' });
});

test('an adopted volume is removed when that is asked for, and grows as any other', async () => {
  const fake = groupWith();
  const backend = linearBackend(fake);
  await adopt(backend);
  expect(await backend.growth.grow('u-1', 20 * MiB, signal)).toMatchObject({ bytes: 20 * MiB, adopted: 'vg0/old' });
  await backend.remove('u-1', signal);
  expect(fake.volumes.size).toBe(0);
});

for (const [what, old, changed, refusal] of [
  ['nothing of that name', { name: 'other' }, {}, { reason: 'NothingToAdopt', message: /no logical volume vg0\/old/ }],
  ['another size', { bytes: 16 * MiB }, {}, { reason: 'AdoptionSize', message: /has 16Mi .* spec\.capacity is 12Mi/ }],
  ['a larger capacity', {}, { bytes: 13 * MiB }, { reason: 'AdoptionSize', message: /has 12Mi/ }],
  ['a thin pool', { layout: 'thin,pool' }, {}, { reason: 'NotAdoptable', message: /pool of LVM/ }],
  ['a snapshot', { role: 'public,snapshot,thicksnapshot' }, {}, { reason: 'NotAdoptable', message: /is a snapshot/ }],
  ['an origin of old snapshots', { role: 'public,origin,thickorigin' }, {}, { reason: 'NotAdoptable', message: /snapshots/ }],
  ['a part of another volume', { role: 'private,raid,image' }, {}, { reason: 'NotAdoptable', message: /part of another/ }],
  ['the data of an AoESnapshot', { name: 'aoe-snap-s1' }, { from: 'aoe-snap-s1' }, { reason: 'NotAdoptable', message: /AoESnapshot/ }],
  [
    'a volume that was never wiped',
    { name: 'aoe-u-9', tags: ['aoe.dev', 'aoe.dev/new'] },
    { from: 'aoe-u-9' },
    { reason: 'NotAdoptable', message: /never finished/ },
  ],
  [
    'half a copy',
    { name: 'aoe-u-9', tags: ['aoe.dev', 'aoe.dev/copy=s'] },
    { from: 'aoe-u-9' },
    { reason: 'NotAdoptable', message: /copy/ },
  ],
] as const) {
  test(`${what} is refused, and nothing is changed`, async () => {
    const fake = groupWith(old as Partial<FakeLv>);
    const before = structuredClone([...fake.volumes.values()]);
    const { reason, message } = refusal;
    await expect(adopt(linearBackend(fake), changed)).rejects.toMatchObject({ reason, message: expect.stringMatching(message) });
    expect([...fake.volumes.values()]).toStrictEqual(before);
  });
}

test('a volume that is mounted or open is refused, and adopted once it is not', async () => {
  for (const use of ['open', 'mounted'] as const) {
    const fake = groupWith();
    fake[use].add('old');
    const backend = linearBackend(fake);
    await expect(adopt(backend)).rejects.toMatchObject({ reason: 'AdoptionInUse', message: expect.stringContaining('vg0/old is in use') });
    expect(fake.volumes.get('old')?.tags).toStrictEqual(['mine']);
    fake[use].clear();
    expect(await adopt(backend)).toMatchObject({ adopted: 'vg0/old' });
  }
});

test('a volume that is mounted while it is adopted is not used, and is given back', async () => {
  const fake = groupWith();
  const backend = linearBackend(fake);
  const { run } = fake;
  const racing = Object.assign(Object.create(fake) as FakeLvm, {
    run: async (...args: Parameters<typeof run>) => {
      if (args[0] === 'lvrename') fake.mounted.add('old');
      return await run(...args);
    },
  });
  await expect(adopt(linearBackend(racing))).rejects.toMatchObject({ reason: 'AdoptionInUse' });
  await expect(adopt(backend)).rejects.toMatchObject({ reason: 'AdoptionInUse' });
  await backend.retain('u-1', signal);
  expect(fake.volumes.get('old')?.tags).toStrictEqual(['mine']);
});

test('the data of another AoEVolume is refused, by its name and by its tags; an orphan is adopted', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await createEmpty(backend, { uid: 'u-9', name: 'pvc-1', bytes: 12 * MiB }, signal);
  const owner: OwnerOf = async (uid) => (uid === 'u-9' ? 'pvc-1' : undefined);
  await expect(adopt(backend, { from: 'aoe-u-9' }, owner)).rejects.toMatchObject({
    reason: 'AdoptionOfOther',
    message: expect.stringContaining('belongs to AoEVolume pvc-1'),
  });
  expect(await adopt(backend, { from: 'aoe-u-9' })).toMatchObject({ uid: 'u-1', volume: 'pvc-1', adopted: 'vg0/aoe-u-9' });
  await expect(adopt(backend, { uid: 'u-2', from: 'aoe-u-9' })).rejects.toMatchObject({
    reason: 'NothingToAdopt',
    message: expect.stringMatching(/adopted before, by AoEVolume pvc-1, and is called vg0\/aoe-u-1 now/),
  });
  await expect(adopt(backend, { uid: 'u-2', from: 'aoe-u-1' }, async (uid) => (uid === 'u-1' ? 'pvc-1' : undefined))).rejects.toMatchObject(
    {
      reason: 'AdoptionOfOther',
    },
  );
  await backend.retain('u-1', signal);
  expect(fake.volumes.get('aoe-u-9')?.tags, 'as one that was retained').toStrictEqual(['aoe.dev/retained']);
});

test('of two AoEVolumes that adopt the same volume, one gets it', async () => {
  const fake = groupWith();
  const backend = linearBackend(fake);
  const results = await Promise.allSettled([adopt(backend), adopt(backend, { uid: 'u-2' }, async () => 'pvc-1')]);
  expect(results.map(({ status }) => status)).toStrictEqual(['fulfilled', 'rejected']);
  expect([...fake.volumes.keys()]).toStrictEqual(['aoe-u-1']);
});

test('a volume does not get an old name back that another one has by now', async () => {
  const fake = groupWith();
  const backend = linearBackend(fake);
  await adopt(backend);
  fake.volumes.set('old', { name: 'old', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  await expect(backend.retain('u-1', signal)).rejects.toMatchObject({ message: expect.stringContaining('there is another vg0/old') });
  expect(fake.volumes.get('aoe-u-1')?.tags).toContain('aoe.dev/adopted=old');
});

for (const when of ['before', 'after'] as const) {
  test(`a crash ${when} any change of an adoption and of a release is made up for, also by a release at once`, async () => {
    for (let at = 1; at <= 5; at++) {
      for (const goesOn of [true, false]) {
        const fake = groupWith({ active: false });
        const step = async (work: (backend: LvmBase) => Promise<unknown>): Promise<void> => {
          fake.crashAtChange(at, when);
          await work(linearBackend(fake)).catch(() => {});
          fake.crashAtChange(undefined);
        };
        await step((backend) => adopt(backend));
        expect(fake.volumes.size).toBe(1);
        if (goesOn) expect(await adopt(linearBackend(fake))).toMatchObject({ name: 'vg0/aoe-u-1', adopted: 'vg0/old' });
        await step((backend) => backend.retain('u-1', signal));
        await linearBackend(fake).retain('u-1', signal);
        expect([...fake.volumes.values()]).toMatchObject([{ name: 'old', tags: ['mine'], bytes: 12 * MiB }]);
      }
    }
  });
}
