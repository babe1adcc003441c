import { FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend, TAKEN_AT, takenAt } from '../../testing/lvm-backends.ts';
import type { BackingSnapshot, Instant } from '../backend.ts';
import { createEmpty } from '../create-empty.ts';
import { cowBytes, type LvmThickSnapshots } from './thick-snapshots.ts';

const signal = new AbortController().signal;
const MiB = 1 << 20;
const REQUEST = { uid: 's-1', name: 'snap-a', volumeUID: 'u-1' };
const COW = 'aoe-snap-s-1.cow';

async function harness() {
  const lvm = new FakeLvm();
  await createEmpty(linearBackend(lvm), { uid: 'u-1', name: 'pvc-1', bytes: 16 * MiB }, signal);
  /** The snapshots of an agent that has just been started. */
  const snapshots = () => linearBackend(lvm).snapshots as LvmThickSnapshots;
  const names = () => [...lvm.volumes.keys()].filter((name) => name !== 'aoe-u-1').sort();
  return { lvm, snapshots, names, free: async () => (await linearBackend(lvm).measure(signal)).free };
}

/** As the agent makes a snapshot whole, when all is copied. */
async function finish(snapshots: LvmThickSnapshots): Promise<BackingSnapshot> {
  await snapshots.copyOut.open('s-1', 0, signal);
  return await snapshots.copyOut.finish('s-1', signal);
}

test('a snapshot is a copy-on-write snapshot and room for the copy, then a volume of its own; both are counted', async () => {
  const { lvm, snapshots, names, free } = await harness();
  const before = await free();
  const found = { uid: 's-1', snapshot: 'snap-a', name: 'vg0/aoe-snap-s-1', bytes: 16 * MiB, createdAt: '2026-11-28T08:00:00.000Z' };
  expect(await snapshots().take(REQUEST, takenAt, signal)).toStrictEqual({ ...found, unfinished: true });
  expect(names()).toStrictEqual(['aoe-snap-s-1', COW]);
  expect(before - (await free())).toBe(36 * MiB);
  for (const each of [await snapshots().find('s-1', signal), (await snapshots().list(signal))[0]])
    expect(each).toStrictEqual({ ...found, unfinished: true });
  expect(await snapshots().take(REQUEST, () => Promise.reject(new Error('not again')), signal)).toMatchObject({ unfinished: true });
  await expect(snapshots().expose('s-1', signal)).rejects.toMatchObject({ reason: 'BackingBusy' });
  await expect(snapshots().retain('s-1', signal)).rejects.toMatchObject({ reason: 'BackingBusy' });

  const copy = { source: `/dev/vg0/${COW}`, destination: '/dev/vg0/aoe-snap-s-1', bytes: 16 * MiB };
  expect(await snapshots().copyOut.open('s-1', 0, signal)).toStrictEqual(copy);
  expect(await snapshots().copyOut.finish('s-1', signal)).toStrictEqual(found);
  expect(names()).toStrictEqual(['aoe-snap-s-1']);
  expect(before - (await free())).toBe(16 * MiB);
  expect(await snapshots().list(signal)).toStrictEqual([found]);
  expect(
    (await linearBackend(lvm).measure(signal)).volumes.map(({ uid }) => uid),
    'it is no volume',
  ).toStrictEqual(['u-1']);

  await snapshots().conceal('s-1', signal);
  expect(lvm.volumes.get('aoe-snap-s-1')).toMatchObject({ active: false });
  expect(await snapshots().expose('s-1', signal)).toStrictEqual({ path: '/dev/vg0/aoe-snap-s-1', bytes: 16 * MiB });
  await linearBackend(lvm).remove('u-1', signal);
  await snapshots().remove('s-1', signal);
  expect([...lvm.volumes.keys()]).toStrictEqual([]);
});

test('a snapshot is refused with numbers when there is no room for the copy and the changes meanwhile', async () => {
  const { lvm, snapshots, names } = await harness();
  lvm.size = (16 + 32) * MiB;
  const message = /has 33554432 bytes free, and 37748736 are needed: 16777216 for the copy .* 20971520 for what is written/;
  await expect(snapshots().take(REQUEST, takenAt, signal)).rejects.toMatchObject({ reason: 'PoolFull', message });
  expect(names()).toStrictEqual([]);
});

test('until the copy is whole the volume can neither grow nor be removed, which says why, and then it can', async () => {
  const { lvm, snapshots, names } = await harness();
  await snapshots().take(REQUEST, takenAt, signal);
  const because = {
    reason: 'BackingBusy',
    message: /aoe-u-1 cannot .* now: logical volume vg0\/aoe-snap-s-1\.cow is a copy-on-write snapshot/,
  };
  await expect(linearBackend(lvm).growth.grow('u-1', 24 * MiB, signal)).rejects.toMatchObject(because);
  await expect(linearBackend(lvm).remove('u-1', signal)).rejects.toMatchObject(because);
  const running = linearBackend(lvm);
  await running.measure(signal);
  await expect(running.remove('u-1', signal), 'whatever is known').rejects.toMatchObject(because);
  expect(names()).toHaveLength(2);
  expect(lvm.volumes.get('aoe-u-1')?.tags, 'nothing was begun').not.toContainEqual(expect.stringContaining('clean'));
  await finish(snapshots());
  expect((await linearBackend(lvm).growth.grow('u-1', 24 * MiB, signal)).bytes).toBe(24 * MiB);
  await linearBackend(lvm).remove('u-1', signal);
  expect([...lvm.volumes.keys()]).toStrictEqual(['aoe-snap-s-1']);
});

test('a volume is removed with what a crash has left of a snapshot of it, which never had an instant', async () => {
  const { lvm, snapshots, names } = await harness();
  const [prepared] = await snapshots().prepare([REQUEST], signal);
  await prepared?.make();
  expect(names()).toContain(COW);
  await linearBackend(lvm).remove('u-1', signal);
  expect([...lvm.volumes.keys()], 'the room for the copy goes with the AoESnapshot').toStrictEqual(['aoe-snap-s-1']);
  await snapshots().remove('s-1', signal);
  expect(names()).toStrictEqual([]);
});

test('a volume that is growing is taken a snapshot of afterwards', async () => {
  const { lvm, snapshots } = await harness();
  lvm.volumes.get('aoe-u-1')?.tags.push(`aoe.dev/clean=${8 * MiB}`);
  await expect(snapshots().take(REQUEST, takenAt, signal)).rejects.toMatchObject({ reason: 'BackingBusy', message: /is growing/ });
});

test('a copy-on-write snapshot that became invalid is no snapshot, and nothing of it is left', async () => {
  const { lvm, snapshots, names } = await harness();
  await snapshots().take(REQUEST, takenAt, signal);
  Object.assign(lvm.volumes.get(COW) ?? {}, { isInvalid: true });
  await expect(snapshots().copyOut.open('s-1', 0, signal)).rejects.toMatchObject({ reason: 'SnapshotLost', message: /became full/ });
  expect(await snapshots().find('s-1', signal)).toBeUndefined();
  expect(names()).toStrictEqual([]);
});

test('writes that went on meanwhile leave nothing', async () => {
  const { snapshots, names } = await harness();
  const broken: Instant = async (make) => {
    await make();
    throw new Error('not held');
  };
  await expect(snapshots().take(REQUEST, broken, signal)).rejects.toThrow('not held');
  expect(names()).toStrictEqual([]);
});

test('after a crash at any command a snapshot is taken, made whole or removed without a rest', async () => {
  for (const when of ['before', 'after'] as const) {
    for (const end of ['finish', 'remove'] as const) {
      for (let command = 1; command <= 7; command++) {
        const { lvm, snapshots, names } = await harness();
        const what = `${when} change ${command}, then ${end}`;
        lvm.crashAtChange(command, when);
        let dead = false;
        const dying = snapshots();
        // The process is gone: it discards nothing.
        await (async () => {
          const [prepared] = await dying.prepare([REQUEST], signal);
          await prepared?.make();
          await prepared?.finish(TAKEN_AT);
          await finish(dying);
        })().catch(() => (dead = true));
        lvm.crashAtChange(undefined);
        if (end === 'remove') {
          await snapshots().remove('s-1', signal);
          expect(names(), what).toStrictEqual([]);
          continue;
        }
        const taken = await snapshots().take(REQUEST, takenAt, signal);
        expect(taken.createdAt, what).toBe('2026-11-28T08:00:00.000Z');
        if (taken.unfinished) await finish(snapshots());
        expect(names(), what).toStrictEqual(['aoe-snap-s-1']);
        expect(await snapshots().find('s-1', signal), what).not.toHaveProperty('unfinished');
        expect(command > 4 || dead, what).toBe(true);
      }
    }
  }
});

test('without the kernel module none can be taken, nothing is made, and those that are there stay usable', async () => {
  const { lvm, snapshots, names } = await harness();
  expect(await snapshots().problem()).toBeUndefined();
  lvm.modules.clear();
  const problem = /^kernel module dm-snapshot is missing on this node: load it/;
  expect(await snapshots().problem()).toMatch(problem);
  await expect(snapshots().take(REQUEST, takenAt, signal)).rejects.toMatchObject({ reason: 'PoolNotReady', message: problem });
  expect(names()).toStrictEqual([]);
  lvm.modules.add('dm_snapshot');
  await snapshots().take(REQUEST, takenAt, signal);
  lvm.modules.clear();
  expect(await snapshots().take(REQUEST, takenAt, signal)).toMatchObject({ unfinished: true });
});

test('snapshots of several volumes are prepared together, or none', async () => {
  const { lvm, snapshots, names } = await harness();
  await createEmpty(linearBackend(lvm), { uid: 'u-2', name: 'pvc-2', bytes: 16 * MiB }, signal);
  const both = [REQUEST, { uid: 's-2', name: 'snap-b', volumeUID: 'u-2' }];
  lvm.size = (32 + 64) * MiB;
  await expect(snapshots().prepare(both, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
  lvm.size = 200 * MiB;
  lvm.crashAtChange(2);
  await expect(snapshots().prepare(both, signal)).rejects.toThrow();
  expect(names()).toStrictEqual(['aoe-u-2']);
  lvm.crashAtChange(undefined);
  expect(await snapshots().prepare(both, signal)).toHaveLength(2);
  expect(names()).toStrictEqual(['aoe-snap-s-1', 'aoe-snap-s-2', 'aoe-u-2']);
});

test('a copy-on-write snapshot has room for all chunks of its volume with their entries', () => {
  const [chunk, extent] = [65_536, 4 * MiB];
  for (const bytes of [extent, 256 * MiB, 1 << 30, 2 ** 40]) {
    const chunks = bytes / chunk;
    // One area of entries for 4096 chunks, and one more when the last is full; the header.
    const needed = (chunks + Math.floor(chunks / 4096) + 1 + 1) * chunk;
    expect(cowBytes(bytes, extent)).toBeGreaterThanOrEqual(needed);
    expect(cowBytes(bytes, extent)).toBeLessThanOrEqual(bytes + bytes / 2048 + 2 * extent);
  }
});
