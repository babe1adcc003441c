import { FakeLvm } from '../../testing/fake-lvm.ts';
import { TAKEN_AT, takenAt, thinBackend } from '../../testing/lvm-backends.ts';
import type { Instant } from '../backend.ts';
import { LvmCli } from './command/cli.ts';
import { LvmThinBackend } from './thin.ts';

const signal = new AbortController().signal;
const MiB = 1 << 20;
const REQUEST = { uid: 's-1', name: 'snap-a', volumeUID: 'u-1' };

async function harness() {
  const lvm = new FakeLvm();
  const backend = thinBackend(lvm);
  await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 16 * MiB }, signal);
  const free = async () => (await thinBackend(lvm).measure(signal)).free;
  return { lvm, backend, snapshots: backend.snapshots, free };
}

test('a snapshot is an inactive thin volume that is found by its own UID, also after its volume is gone', async () => {
  const { lvm, backend, snapshots } = await harness();
  const taken = await snapshots.take(REQUEST, takenAt, signal);
  expect(taken).toStrictEqual({
    uid: 's-1',
    snapshot: 'snap-a',
    name: 'vg0/aoe-snap-s-1',
    bytes: 16 * MiB,
    createdAt: '2026-11-28T08:00:00.000Z',
  });
  expect(lvm.volumes.get('aoe-snap-s-1')).toMatchObject({ active: false });
  await backend.remove('u-1', signal);
  const again = thinBackend(lvm);
  expect(await again.snapshots.find('s-1', signal)).toStrictEqual(taken);
  expect(await again.snapshots.list(signal)).toStrictEqual([taken]);
  expect((await again.measure(signal)).volumes, 'it is no volume').toStrictEqual([]);
  expect(await snapshots.take(REQUEST, () => Promise.reject(new Error('not again')), signal)).toStrictEqual(taken);
});

test('a snapshot reserves what its volume had written, not its full size', async () => {
  const { lvm, snapshots, free } = await harness();
  const before = await free();
  lvm.written = '25.00';
  await snapshots.take(REQUEST, takenAt, signal);
  const taken = before - (await free());
  expect(taken).toBeGreaterThanOrEqual(4 * MiB);
  expect(taken).toBeLessThan(4.1 * MiB);
  await snapshots.remove('s-1', signal);
  expect(await free()).toBe(before);
});

test('a snapshot is refused with numbers when the thin pool could fill, or its metadata', async () => {
  const { lvm, backend, snapshots } = await harness();
  await backend.create({ uid: 'u-2', name: 'pvc-2', bytes: 44 * MiB }, signal);
  await expect(snapshots.take(REQUEST, takenAt, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: /has 4194304 bytes .* and 83\d+ are/,
  });
  lvm.poolData = '96.00';
  await expect(snapshots.take(REQUEST, takenAt, signal)).rejects.toMatchObject({ reason: 'PoolFull', message: /96\.00% full/ });
  expect([...lvm.volumes.keys()]).not.toContain('aoe-snap-s-1');
});

test('a snapshot is refused when what hosts had not yet written when it was admitted does not fit', async () => {
  const { lvm, backend, snapshots, free } = await harness();
  lvm.written = '10.00';
  await backend.create({ uid: 'u-2', name: 'pvc-2', bytes: 40 * MiB }, signal);
  const before = await free();
  expect(before).toBe(8 * MiB);
  /** Hosts freeze their file systems, which writes what they had in memory. */
  const frozenAt =
    (written: string): Instant =>
    async (make) => {
      lvm.written = written;
      await make();
      return TAKEN_AT;
    };
  await expect(snapshots.take(REQUEST, frozenAt('75.00'), signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: /has 8388608 bytes .* and 12\d+ are/,
  });
  expect([...lvm.volumes.keys()]).not.toContain('aoe-snap-s-1');
  expect(await free()).toBe(before);
  lvm.written = '10.00';
  // Itself half a snapshot, it counts with what it keeps, not with its full size.
  await snapshots.take(REQUEST, frozenAt('45.00'), signal);
  expect(before - (await free())).toBeGreaterThan(7 * MiB);
});

test('of snapshots that are taken together, each counts once with what it keeps when more was written meanwhile', async () => {
  const { lvm, backend, snapshots, free } = await harness();
  lvm.written = '10.00';
  await backend.create({ uid: 'u-2', name: 'pvc-2', bytes: 16 * MiB }, signal);
  await backend.create({ uid: 'u-3', name: 'pvc-3', bytes: 16 * MiB }, signal);
  const second = { uid: 's-2', name: 'snap-b', volumeUID: 'u-2' };
  for (const [written, fits] of [
    ['45.00', true],
    ['55.00', false],
  ] as const) {
    lvm.written = '10.00';
    const prepared = await snapshots.prepare([REQUEST, second], signal);
    lvm.written = written;
    for (const each of prepared) await each.make();
    const finished = await Promise.allSettled([prepared[0]?.finish(TAKEN_AT)]);
    expect(finished.map(({ status }) => status)).toStrictEqual([fits ? 'fulfilled' : 'rejected']);
    if (fits) await prepared[1]?.finish(TAKEN_AT);
    for (const each of prepared) await each.discard();
    for (const { uid } of [REQUEST, second]) await snapshots.remove(uid, signal);
    expect(await free()).toBe(16 * MiB);
  }
});

test('a snapshot is refused with numbers when the metadata of the thin pool could fill', async () => {
  const { lvm, snapshots } = await harness();
  // Of 16 MiB 8 are written: 129 blocks of 64 KiB, rounded up, at 48 bytes each.
  lvm.poolMetadataBytes = 10_000;
  lvm.poolMetadata = '20.00';
  await snapshots.take(REQUEST, takenAt, signal);
  const second = { ...REQUEST, uid: 's-2', name: 'snap-b' };
  await expect(snapshots.take(second, takenAt, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message:
      'the metadata of thin pool vg0/tp has 10000 bytes, of which 7000 are left, and snapshots may need 12384: extend it (lvextend --poolmetadatasize +SIZE vg0/tp)',
  });
  lvm.poolMetadata = '90.10';
  await expect(snapshots.take(second, takenAt, signal)).rejects.toMatchObject({ reason: 'PoolFull', message: /90\.10% full/ });
  await snapshots.remove('s-1', signal);
  lvm.poolMetadata = '20.00';
  expect((await snapshots.take(second, takenAt, signal)).uid).toBe('s-2');
});

test('without an instant there is no snapshot', async () => {
  const { lvm, snapshots } = await harness();
  const tooLate: Instant = async (make) => {
    await make();
    throw new Error('the hold ended');
  };
  await expect(snapshots.take(REQUEST, tooLate, signal)).rejects.toThrow('the hold ended');
  expect([...lvm.volumes.keys()]).not.toContain('aoe-snap-s-1');
  expect(await snapshots.find('s-1', signal)).toBeUndefined();
});

test('a crash before or after each command leaves no snapshot or a whole one, and the next attempt takes or finds it', async () => {
  for (const when of ['before', 'after'] as const) {
    for (const command of ['lvcreate', 'untag']) {
      const { lvm, snapshots } = await harness();
      lvm.crash = { when, command };
      // The process ends at once: nothing is discarded.
      let ended = false;
      const ending = new LvmCli(async (...args) => {
        if (ended) throw new Error('ended');
        try {
          return await lvm.run(...args);
        } catch (error) {
          ended = error instanceof Error && error.message === 'crash';
          throw error;
        }
      }, 'x');
      const { group, hasDevice } = lvm;
      const backend = new LvmThinBackend({ lvm: ending, pool: 'p1', group, hasDevice, thinPool: 'tp', wiper: { zero: async () => {} } });
      await expect(backend.snapshots.take(REQUEST, takenAt, signal)).rejects.toThrow();
      lvm.crash = undefined;
      const there = lvm.volumes.get('aoe-snap-s-1');
      const isWhole = there !== undefined && !there.tags.includes('aoe.dev/new');
      const next = thinBackend(lvm).snapshots;
      expect((await next.find('s-1', signal)) !== undefined, `${when} ${command}`).toBe(isWhole);
      await next.take(REQUEST, takenAt, signal);
      expect(await snapshots.find('s-1', signal)).toBeDefined();
      await next.remove('s-1', signal);
      expect([...lvm.volumes.keys()]).not.toContain('aoe-snap-s-1');
    }
  }
});

test('half a snapshot is removed when its AoESnapshot is deleted', async () => {
  const { lvm, snapshots } = await harness();
  await snapshots.take(REQUEST, takenAt, signal);
  lvm.volumes.get('aoe-snap-s-1')?.tags.push('aoe.dev/new');
  const later = thinBackend(lvm).snapshots;
  expect(await later.list(signal)).toStrictEqual([]);
  await later.remove('s-1', signal);
  expect([...lvm.volumes.keys()]).not.toContain('aoe-snap-s-1');
});

test('a retained snapshot belongs to the administrator, and one of another volume group is left alone', async () => {
  const { lvm, snapshots } = await harness();
  await snapshots.take(REQUEST, takenAt, signal);
  await snapshots.retain('s-1', signal);
  expect(lvm.volumes.has('aoe-snap-s-1')).toBe(true);
  expect(await snapshots.find('s-1', signal)).toBeUndefined();
  await snapshots.remove('s-1', signal);
  expect(lvm.volumes.has('aoe-snap-s-1')).toBe(true);
});

test('a volume that is not there has no snapshot', async () => {
  const { snapshots } = await harness();
  await expect(snapshots.take({ ...REQUEST, volumeUID: 'u-9' }, takenAt, signal)).rejects.toMatchObject({
    reason: 'BackendFailed',
    message: /aoe-u-9/,
  });
});

test('a volume is made of a snapshot once, active and at the size that is wanted, and is a volume like others', async () => {
  const { lvm, backend, snapshots, free } = await harness();
  await snapshots.take(REQUEST, takenAt, signal);
  const before = await free();
  const request = { uid: 'u-2', name: 'pvc-2', bytes: 24 * MiB };
  expect(await snapshots.restore(request, 'no-such', signal)).toBe(false);
  expect(await snapshots.restore(request, 's-1', signal)).toBe(true);
  expect(await snapshots.restore(request, 's-1', signal)).toBe(true);
  expect(await backend.open('u-2', signal)).toMatchObject({ name: 'vg0/aoe-u-2', volume: 'pvc-2', bytes: 24 * MiB });
  expect(before - (await free())).toBe(24 * MiB);
  await snapshots.remove('s-1', signal);
  expect((await thinBackend(lvm).measure(signal)).volumes.map(({ uid }) => uid)).toStrictEqual(['u-1', 'u-2']);
  await expect(snapshots.restore({ ...request, uid: 'u-3', bytes: 60 * MiB }, 's-1', signal)).resolves.toBe(false);
  await snapshots.take(REQUEST, takenAt, signal);
  const tooLarge = snapshots.restore({ ...request, uid: 'u-3', bytes: 60 * MiB }, 's-1', signal);
  await expect(tooLarge).rejects.toMatchObject({ reason: 'PoolFull' });
});

test('a crash at any step of a restore is made good by the next attempt', async () => {
  for (const when of ['before', 'after'] as const) {
    for (const command of ['lvcreate', 'lvextend']) {
      const { lvm, snapshots, backend } = await harness();
      await snapshots.take(REQUEST, takenAt, signal);
      lvm.crash = { when, command };
      const request = { uid: 'u-2', name: 'pvc-2', bytes: 24 * MiB };
      await expect(thinBackend(lvm).snapshots.restore(request, 's-1', signal)).rejects.toThrow();
      lvm.crash = undefined;
      expect(await thinBackend(lvm).snapshots.restore(request, 's-1', signal)).toBe(true);
      expect(await backend.open('u-2', signal), `${when} ${command}`).toMatchObject({ bytes: 24 * MiB });
    }
  }
});

test('a snapshot that is copied is active meanwhile, and again inactive afterwards', async () => {
  const { lvm, snapshots } = await harness();
  expect(await snapshots.expose('s-1', signal), 'there is none').toBeUndefined();
  await snapshots.take(REQUEST, takenAt, signal);
  const exposed = { path: '/dev/vg0/aoe-snap-s-1', bytes: 16 * MiB };
  for (const backend of [snapshots, thinBackend(lvm).snapshots]) expect(await backend.expose('s-1', signal)).toStrictEqual(exposed);
  expect(lvm.volumes.get('aoe-snap-s-1')).toMatchObject({ active: true });
  await thinBackend(lvm).snapshots.conceal('s-1', signal);
  expect(lvm.volumes.get('aoe-snap-s-1')).toMatchObject({ active: false });
  await snapshots.conceal('s-2', signal);
});
