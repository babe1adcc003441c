import { MiB } from '../../../api/quantity.ts';
import { FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend, thinBackend } from '../../testing/lvm-backends.ts';
import type { Instant } from '../backend.ts';
import { createEmpty } from '../create-empty.ts';

const { signal } = new AbortController();
const request = { uid: 'u-1', name: 'pvc-1', bytes: 10 * MiB, tail: true as const };
const at: Instant = async (make) => {
  await make();
  return new Date('2026-11-28T08:00:00.000Z');
};
const tagsOf = (lvm: FakeLvm, name = 'aoe-u-1') => lvm.volumes.get(name)?.tags.filter((tag) => /exported|tail|clean/.test(tag));

for (const [kind, backendOf] of [
  ['linear', linearBackend],
  ['thin', thinBackend],
] as const) {
  test(`a ${kind} volume is larger than what may be exported of it, by its tags and not by its size`, async () => {
    const lvm = new FakeLvm();
    const made = await createEmpty(backendOf(lvm), request, signal);
    expect(made).toMatchObject({ bytes: 12 * MiB, tail: 4 * MiB });
    expect(made.extended).toBeUndefined();
    expect(lvm.volumes.get('aoe-u-1')?.bytes).toBe(16 * MiB);
    expect(tagsOf(lvm)).toStrictEqual(['aoe.dev/exported=12582912', 'aoe.dev/tail=4194304']);
    const measured = await backendOf(lvm).measure(signal);
    expect(measured).toMatchObject({ tail: 4 * MiB, volumes: [{ bytes: 12 * MiB, tail: 4 * MiB }] });
    expect(measured.size - measured.free, 'all of it takes room').toBe(16 * MiB);
    // Somebody made the logical volume larger.
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) volume.bytes = 20 * MiB;
    expect(await backendOf(lvm).open('u-1', signal)).toMatchObject({ bytes: 12 * MiB, extended: 16 * MiB });
  });

  test(`a ${kind} volume without a tail stays one when it grows`, async () => {
    const lvm = new FakeLvm();
    const { tail: _, ...plain } = request;
    await createEmpty(backendOf(lvm), plain, signal);
    const grown = await backendOf(lvm).growth?.grow('u-1', 20 * MiB, signal);
    expect(grown).toStrictEqual({ uid: 'u-1', volume: 'pvc-1', name: 'vg0/aoe-u-1', bytes: 20 * MiB });
    expect(tagsOf(lvm)).toStrictEqual([]);
  });

  test(`a growth of a ${kind} volume that is large enough leaves its tail alone`, async () => {
    const [lvm, wiped] = [new FakeLvm(), [] as string[]];
    await createEmpty(backendOf(lvm), request, signal);
    const grown = await backendOf(lvm, { wiped }).growth?.grow('u-1', 12 * MiB, signal);
    expect([grown?.bytes, wiped]).toStrictEqual([12 * MiB, []]);
  });

  test(`a tail of a ${kind} volume that an earlier version has exported is data from then on`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    expect(await backendOf(lvm).exportTail('u-1', signal)).toMatchObject({ bytes: 16 * MiB });
    expect((await backendOf(lvm).open('u-1', signal))?.tail).toBeUndefined();
    expect(tagsOf(lvm)).toStrictEqual([]);
  });

  test(`a tag that cannot be read keeps a ${kind} volume from being exported and from growing`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) volume.tags = volume.tags.map((tag) => tag.replace(/exported=.*/, 'exported=x'));
    const wiped: string[] = [];
    expect(await backendOf(lvm).open('u-1', signal)).toMatchObject({ bytes: 0 });
    await expect(backendOf(lvm, { wiped }).growth?.grow('u-1', 40 * MiB, signal)).rejects.toThrow(/aoe\.dev\/exported=/);
    expect(wiped).toStrictEqual([]);
  });
}

test('a volume group with large extents gives whole extents to tails', async () => {
  const lvm = new FakeLvm();
  Object.assign(lvm, { extent: 32 * MiB, size: 128 * MiB });
  expect(await createEmpty(linearBackend(lvm), request, signal)).toMatchObject({ bytes: 32 * MiB, tail: 32 * MiB });
  expect((await linearBackend(lvm).measure(signal)).tail).toBe(32 * MiB);
});

test('a thin snapshot has what was exported of its volume, and a restored volume a tail of its own', async () => {
  const [lvm, wiped] = [new FakeLvm(), [] as string[]];
  await thinBackend(lvm).create({ ...request, bytes: 12 * MiB }, signal);
  const taken = await thinBackend(lvm).snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal);
  expect(taken.bytes).toBe(12 * MiB);
  expect((await thinBackend(lvm).snapshots.expose('s-1', signal))?.bytes).toBe(12 * MiB);
  await thinBackend(lvm).growth?.grow('u-1', 16 * MiB, signal);
  const restored = { uid: 'u-2', name: 'pvc-2', bytes: 12 * MiB, tail: true as const };
  expect(await thinBackend(lvm, { wiped }).snapshots.restore(restored, 's-1', signal)).toBe(true);
  expect(await thinBackend(lvm).open('u-2', signal)).toMatchObject({ bytes: 12 * MiB, tail: 4 * MiB });
  expect(wiped, 'the old tail is zeroed').toStrictEqual([`/dev/vg0/aoe-u-2 ${12 * MiB}-${16 * MiB}`]);
  expect(tagsOf(lvm, 'aoe-u-2')).not.toContain(`aoe.dev/clean=${12 * MiB}`);
});

test('a restore that ends at any point exports no old tail, and is finished by the next one', async () => {
  for (const withTail of [true, false]) {
    for (const [change, when] of [1, 2, 3, 4].flatMap((each) => [[each, 'before'] as const, [each, 'after'] as const])) {
      const [lvm, wiped] = [new FakeLvm(), [] as string[]];
      await thinBackend(lvm).create({ ...request, bytes: 12 * MiB }, signal);
      await thinBackend(lvm).snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal);
      const restored = { uid: 'u-2', name: 'pvc-2', bytes: 20 * MiB, ...(withTail ? { tail: true as const } : {}) };
      lvm.crashAtChange(change, when);
      await thinBackend(lvm, { wiped })
        .snapshots.restore(restored, 's-1', signal)
        .catch(() => {});
      lvm.crashAtChange(undefined);
      const half = await thinBackend(lvm).open('u-2', signal);
      if (half && half.bytes > 12 * MiB) expect(wiped).toContain(`/dev/vg0/aoe-u-2 ${12 * MiB}-${16 * MiB}`);
      await thinBackend(lvm, { wiped }).snapshots.restore(restored, 's-1', signal);
      const whole = await thinBackend(lvm).open('u-2', signal);
      expect([whole?.bytes, whole?.tail, whole?.extended]).toStrictEqual([20 * MiB, withTail ? 4 * MiB : undefined, undefined]);
      expect(wiped).toContain(`/dev/vg0/aoe-u-2 ${12 * MiB}-${16 * MiB}`);
    }
  }
});

test('a restore that ended before there was room for a tail has made a volume without one, which gets it with the next growth', async () => {
  for (const extent of [MiB, 4 * MiB]) {
    for (const next of ['growth', 'restore', 'snapshot'] as const) {
      const [lvm, wiped] = [new FakeLvm(), [] as string[]];
      Object.assign(lvm, { extent, size: 100 * 4 * MiB });
      const bytes = extent;
      await thinBackend(lvm).create({ uid: 'u-1', name: 'pvc-1', bytes }, signal);
      await thinBackend(lvm).snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal);
      const restored = { uid: 'u-2', name: 'pvc-2', bytes, tail: true as const };
      lvm.crashAtChange(2, 'before');
      await expect(thinBackend(lvm).snapshots.restore(restored, 's-1', signal)).rejects.toThrow();
      lvm.crashAtChange(undefined);
      expect(lvm.volumes.get('aoe-u-2')?.bytes).toBe(bytes);
      const half = await thinBackend(lvm).open('u-2', signal);
      expect([half?.bytes, half?.tail, half?.extended]).toStrictEqual([bytes, undefined, undefined]);
      if (next === 'snapshot') {
        // Somebody made it larger before the snapshot was taken.
        const volume = lvm.volumes.get('aoe-u-2');
        if (volume) volume.bytes += extent;
        const taken = await thinBackend(lvm).snapshots.take({ uid: 's-2', name: 'snap', volumeUID: 'u-2' }, at, signal);
        expect(taken.bytes).toBe(bytes);
        continue;
      }
      const wanted = next === 'growth' ? bytes + extent : bytes;
      if (next === 'growth') await thinBackend(lvm, { wiped }).growth?.grow('u-2', wanted, signal);
      else await thinBackend(lvm, { wiped }).snapshots.restore(restored, 's-1', signal);
      const whole = await thinBackend(lvm).open('u-2', signal);
      expect([whole?.bytes, whole?.tail, whole?.extended]).toStrictEqual([wanted, 4 * MiB, undefined]);
      expect(lvm.volumes.get('aoe-u-2')?.bytes).toBe(wanted + 4 * MiB);
      expect(tagsOf(lvm, 'aoe-u-2')?.join()).not.toContain('clean');
      await thinBackend(lvm, { wiped }).growth?.grow('u-2', wanted + extent, signal);
      expect(await thinBackend(lvm).open('u-2', signal)).toMatchObject({ bytes: wanted + extent, tail: 4 * MiB });
    }
  }
});

test('a snapshot without a tail, of an earlier version, becomes a volume with one', async () => {
  const lvm = new FakeLvm();
  const { tail: _, ...plain } = request;
  await thinBackend(lvm).create({ ...plain, bytes: 12 * MiB }, signal);
  await thinBackend(lvm).snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal);
  await thinBackend(lvm).snapshots.restore({ uid: 'u-2', name: 'pvc-2', bytes: 12 * MiB, tail: true }, 's-1', signal);
  expect(await thinBackend(lvm).open('u-2', signal)).toMatchObject({ bytes: 12 * MiB, tail: 4 * MiB });
});

test('a snapshot of a thick volume is a copy of what is exported', async () => {
  const lvm = new FakeLvm();
  await createEmpty(linearBackend(lvm), request, signal);
  const { snapshots } = linearBackend(lvm);
  expect((await snapshots.take({ uid: 's-1', name: 'snap', volumeUID: 'u-1' }, at, signal)).bytes).toBe(12 * MiB);
  expect(await snapshots.copyOut?.open('s-1', 0, signal)).toMatchObject({ bytes: 12 * MiB });
});

for (const [kind, backendOf] of [
  ['linear', linearBackend],
  ['thin', thinBackend],
] as const) {
  const nobody = async () => undefined;
  const adopt = (lvm: FakeLvm, bytes: number, from = 'aoe-u-1') =>
    backendOf(lvm).adoption.adopt({ uid: 'u-2', name: 'pvc-2', bytes, from }, nobody, signal);

  test(`a ${kind} volume that is retained or given back is an ordinary one of its full size: a growth zeroes nothing in it`, async () => {
    const [lvm, wiped] = [new FakeLvm(), [] as string[]];
    await createEmpty(backendOf(lvm), request, signal);
    await backendOf(lvm).retain('u-1', signal);
    expect(tagsOf(lvm)).toStrictEqual([]);
    // Its administrator makes it larger, and a file system over all of it.
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) volume.bytes = 20 * MiB;
    expect(await adopt(lvm, 20 * MiB)).toMatchObject({ bytes: 20 * MiB });
    await backendOf(lvm, { wiped }).growth?.grow('u-2', 24 * MiB, signal);
    expect(wiped.filter((each) => !each.endsWith(`${20 * MiB}-${24 * MiB}`))).toStrictEqual([]);
    await backendOf(lvm).retain('u-2', signal);
    expect(tagsOf(lvm)).toStrictEqual([]);
  });

  test(`an orphaned ${kind} volume is adopted with the size that was exported, and given back with its full size`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    expect(await adopt(lvm, 12 * MiB)).toMatchObject({ bytes: 12 * MiB, tail: 4 * MiB });
    await backendOf(lvm).retain('u-2', signal);
    expect(lvm.volumes.get('aoe-u-1')?.tags).toStrictEqual(['aoe.dev/retained']);
    expect(await adopt(lvm, 16 * MiB)).toMatchObject({ bytes: 16 * MiB });
  });

  test(`a ${kind} volume that was given up by hand, with the tags of its size, is taken with its full size`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) volume.tags = volume.tags.filter((tag) => tag !== 'aoe.dev');
    const adopted = await adopt(lvm, 16 * MiB);
    expect([adopted.bytes, adopted.tail, tagsOf(lvm, 'aoe-u-2')]).toStrictEqual([16 * MiB, undefined, []]);
  });

  test(`an orphaned ${kind} volume that somebody has made larger is not adopted, whatever was written behind`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) volume.bytes = 20 * MiB;
    const advice = `lvchange --deltag aoe.dev/exported=${12 * MiB} --deltag aoe.dev/tail=${4 * MiB} vg0/aoe-u-1`;
    const refused = { reason: 'NotAdoptable', message: expect.stringContaining(advice) };
    for (const bytes of [12 * MiB, 20 * MiB]) await expect(adopt(lvm, bytes)).rejects.toMatchObject(refused);
    if (volume) volume.tags = ['aoe.dev'];
    expect(await adopt(lvm, 20 * MiB)).toMatchObject({ bytes: 20 * MiB });
  });

  test(`a ${kind} volume that is retained in the middle of a growth keeps its tags, and is adopted when a person has decided`, async () => {
    const lvm = new FakeLvm();
    await createEmpty(backendOf(lvm), request, signal);
    lvm.crashAtChange(3, 'before');
    await expect(backendOf(lvm).growth?.grow('u-1', 20 * MiB, signal)).rejects.toThrow();
    lvm.crashAtChange(undefined);
    await backendOf(lvm).retain('u-1', signal);
    const tags = [`aoe.dev/exported=${12 * MiB}`, `aoe.dev/tail=${4 * MiB}`, `aoe.dev/clean=${12 * MiB}`];
    expect(tagsOf(lvm)).toStrictEqual(expect.arrayContaining(tags));
    for (const bytes of [12 * MiB, 24 * MiB])
      await expect(adopt(lvm, bytes)).rejects.toMatchObject({ reason: 'NotAdoptable', message: /lvreduce --size 12582912b vg0\/aoe-u-1/ });
    const volume = lvm.volumes.get('aoe-u-1');
    if (volume) Object.assign(volume, { bytes: 12 * MiB, tags: ['aoe.dev/retained'] });
    expect(await adopt(lvm, 12 * MiB)).toMatchObject({ bytes: 12 * MiB });
  });

  test(`an orphaned ${kind} volume in the middle of a growth is adopted with the size that was exported, and grows on`, async () => {
    const [lvm, wiped] = [new FakeLvm(), [] as string[]];
    await createEmpty(backendOf(lvm), request, signal);
    lvm.crashAtChange(3, 'before');
    await expect(backendOf(lvm).growth?.grow('u-1', 20 * MiB, signal)).rejects.toThrow();
    lvm.crashAtChange(undefined);
    expect(await adopt(lvm, 12 * MiB)).toMatchObject({ bytes: 12 * MiB, extended: 20 * MiB });
    expect(await backendOf(lvm, { wiped }).growth?.grow('u-2', 20 * MiB, signal)).toMatchObject({ bytes: 20 * MiB, tail: 4 * MiB });
    expect(wiped[0]).toContain(`${12 * MiB}-`);
  });
}
