import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import { FakeLvm } from '../../testing/fake-lvm.ts';
import { linearBackend } from '../../testing/lvm-backends.ts';
import { ensureData } from '../../volume/data.ts';
import { createEmpty } from '../create-empty.ts';
import { LvmCli } from './command/cli.ts';
import { LvmLinearBackend } from './linear.ts';
import type { Wiper } from './wipe.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 10 * MiB };

test('a volume is made with two commands once the group is known', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await backend.measure(signal);
  fake.calls.length = 0;
  const made = await createEmpty(backend, request, signal);
  expect(made).toStrictEqual({ uid: 'u-1', volume: 'pvc-1', name: 'vg0/aoe-u-1', bytes: 12 * MiB });
  expect(fake.calls).toStrictEqual(['lvcreate', 'untag']);
  expect(fake.volumes.get('aoe-u-1')?.tags).toStrictEqual(['aoe.dev', 'aoe.dev/volume=pvc-1', 'aoe.dev/pool=p1']);
  fake.calls.length = 0;
  await createEmpty(backend, request, signal);
  await backend.open('u-1', signal);
  expect(fake.calls).toStrictEqual([]);
});

for (const [when, command] of [
  ['before', 'lvcreate'],
  ['after', 'lvcreate'],
  ['before', 'untag'],
  ['after', 'untag'],
] as const) {
  test(`a crash ${when} ${command} is repaired by the next process`, async () => {
    const fake = new FakeLvm();
    fake.crash = { when, command };
    await expect(createEmpty(linearBackend(fake), request, signal))
      .rejects.toThrow()
      .catch((error: unknown) => {
        // A lost answer to lvcreate is not even an error: the volume is there.
        if (command !== 'lvcreate' || when !== 'after') throw error;
      });
    fake.crash = undefined;
    const wiped: string[] = [];
    await createEmpty(linearBackend(fake, { wiped }), request, signal);
    expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeFalsy();
    expect(fake.volumes.size).toBe(1);
    // Wiped again unless the mark was off: then it may hold data.
    const clean = command === 'untag' ? when === 'after' : command === 'lvcreate' && when === 'after';
    expect(wiped).toHaveLength(clean ? 0 : 1);
  });
}

test('after how many moves a volume was served is in a tag of its logical volume', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await createEmpty(backend, request, signal);
  for (const moves of [1, 2]) {
    await backend.noteMoves('u-1', moves, signal);
    expect((await linearBackend(fake).measure(signal)).volumes).toMatchObject([{ uid: 'u-1', volume: 'pvc-1', moves }]);
  }
  expect(fake.volumes.get('aoe-u-1')?.tags.filter((tag) => tag.startsWith('aoe.dev/moves'))).toStrictEqual(['aoe.dev/moves=2']);
  await expect(backend.noteMoves('u-2', 1, signal)).rejects.toThrow(/vg0\/aoe-u-2 vanished/);
});

test('a volume that was not wiped is not handed out', async () => {
  const fake = new FakeLvm();
  await expect(createEmpty(linearBackend(fake, { crash: true }), request, signal)).rejects.toThrow();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeTruthy();
  await expect(createEmpty(linearBackend(fake, { crash: true }), request, signal)).rejects.toThrow();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeTruthy();
});

test('a volume that was served before is never wiped, whatever its restored tags say', async () => {
  const fake = new FakeLvm();
  await createEmpty(linearBackend(fake), request, signal);
  fake.volumes.get('aoe-u-1')?.tags.push('aoe.dev/new');
  const wiped: string[] = [];
  const backend = linearBackend(fake, { wiped });
  expect(await backend.open('u-1', signal)).toBeTruthy();
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/new')).toBeFalsy();
  // Nor by what comes after.
  await createEmpty(backend, request, signal);
  expect(wiped).toStrictEqual([]);
});

test('many at once are marked clean together', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  await Promise.all(Array.from({ length: 8 }, (_, index) => createEmpty(backend, { ...request, uid: `u-${index}`, bytes: MiB }, signal)));
  expect(fake.calls.filter((call) => call === 'lvcreate')).toHaveLength(8);
  expect(fake.calls.filter((call) => call === 'untag').length).toBeLessThan(8);
  for (const { tags } of fake.volumes.values()) expect(tags).not.toContain('aoe.dev/new');
});

test('a full group says so', async () => {
  await expect(createEmpty(linearBackend(new FakeLvm()), { ...request, bytes: 1e12 }, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
  });
});

test('creating and wiping are two steps: what is only created holds its old data, and says so', async () => {
  const wiped: string[] = [];
  const backend = linearBackend(new FakeLvm(), { wiped });
  expect((await backend.create(request, signal)).unwiped).toBe(true);
  expect(wiped).toStrictEqual([]);
  expect((await backend.wipe('u-1', signal)).unwiped).toBeUndefined();
  await backend.wipe('u-1', signal);
  expect(wiped).toStrictEqual(['/dev/vg0/aoe-u-1']);
});

test('a volume that is not marked as new is never wiped', async () => {
  const fake = new FakeLvm();
  fake.volumes.set('aoe-u-1', { name: 'aoe-u-1', bytes: 12 * MiB, tags: ['aoe.dev'], active: true, layout: 'linear' });
  const wiped: string[] = [];
  const backend = linearBackend(fake, { wiped });
  await createEmpty(backend, request, signal);
  await backend.wipe('u-1', signal);
  expect(wiped).toStrictEqual([]);
});

test('how far a volume was wiped is kept with it, for the next process, too', async () => {
  const fake = new FakeLvm();
  const both = [linearBackend(fake, { cleanness: 'ends' }), linearBackend(fake)] as const;
  const made = await createEmpty(both[0], request, signal);
  expect(made.cleanness).toBe('ends');
  expect(fake.volumes.get('aoe-u-1')?.tags.includes('aoe.dev/wiped=ends')).toBeTruthy();
  expect((await linearBackend(fake).open('u-1', signal))?.cleanness).toBe('ends');
  expect((await createEmpty(both[1], { ...request, uid: 'u-2' }, signal)).cleanness).toBeUndefined();
});

test('volumes that were wiped to different degrees at the same time are each marked rightly', async () => {
  const fake = new FakeLvm();
  let turn = 0;
  const backend = new LvmLinearBackend({
    lvm: new LvmCli(fake.run, 'x'),
    pool: 'p1',
    group: fake.group,
    hasDevice: fake.hasDevice,
    wiper: {
      wipe: async (path) => (turn++ % 2 === 0 ? 'zeroed' : path.endsWith('7') ? 'discarded' : 'ends'),
      zero: async () => {},
    },
  });
  const made = await Promise.all(
    Array.from({ length: 8 }, (_, index) => createEmpty(backend, { ...request, uid: `u-${index}`, bytes: MiB }, signal)),
  );
  for (const { uid, cleanness, unwiped } of made) {
    const tags = fake.volumes.get(`aoe-${uid}`)?.tags ?? [];
    expect(unwiped).toBeUndefined();
    expect(tags.filter((tag) => tag.startsWith('aoe.dev/wiped=') || tag === 'aoe.dev/new')).toStrictEqual(
      cleanness ? [`aoe.dev/wiped=${cleanness}`] : [],
    );
  }
  expect([...new Set(made.map(({ cleanness }) => cleanness))].length).toBe(3);
});

const GiB = 1024 * MiB;

/** A pool with room for a large volume, whose wipes the test carries out. */
function largeBackend(fake: FakeLvm, wipe: Wiper['wipe'], wipeExtent?: WipeExtent): LvmLinearBackend {
  fake.size = 1024 * GiB;
  return new LvmLinearBackend({
    lvm: new LvmCli(fake.run, 'x'),
    pool: 'p1',
    group: fake.group,
    hasDevice: fake.hasDevice,
    wiper: { wipe, zero: async () => {} },
    wipeExtent,
  });
}

test('a pool wipes the whole of new volumes unless it is told otherwise', async () => {
  const extents: string[] = [];
  const wipe: Wiper['wipe'] = async (_path, _bytes, { wipeExtent }) => {
    extents.push(wipeExtent);
    return 'zeroed';
  };
  for (const wipeExtent of [undefined, 'Full', 'Ends'] as const)
    await createEmpty(largeBackend(new FakeLvm(), wipe, wipeExtent), request, signal);
  expect(extents).toStrictEqual(['Full', 'Full', 'Ends']);
});

test('a wipe that was cut short goes on where it failed, or where it was last noted, and leaves no note behind', async () => {
  const fake = new FakeLvm();
  const tags = () => fake.volumes.get('aoe-u-1')?.tags.filter((tag) => /new|zeroed/.test(tag));
  const progress: number[] = [];
  const stop = new AbortController();
  const stops = largeBackend(fake, async (_path, _bytes, { onZeroed }) => {
    for (const done of [16, 32, 40, 70, 80]) await onZeroed(done * GiB);
    stop.abort(new Error('stopped'));
    throw stop.signal.reason;
  });
  const large = { ...request, bytes: 100 * GiB };
  await expect(createEmpty(stops, large, stop.signal, ({ zeroed }) => progress.push(zeroed / GiB))).rejects.toThrow('stopped');
  expect(progress).toStrictEqual([0, 16, 32, 40, 70, 80]);
  expect(tags()).toStrictEqual(['aoe.dev/new', `aoe.dev/zeroed=${70 * GiB}`]);
  const begun: number[] = [];
  const fails = largeBackend(fake, async (_path, _bytes, { from, onZeroed }) => {
    begun.push(from / GiB);
    await onZeroed(from + GiB / 4);
    throw new Error('took too long');
  });
  for (let attempt = 0; attempt < 2; attempt++) await expect(createEmpty(fails, large, signal)).rejects.toThrow('took too long');
  expect(tags()).toStrictEqual(['aoe.dev/new', `aoe.dev/zeroed=${70.5 * GiB}`]);
  const next = largeBackend(fake, async (_path, bytes, { from, onZeroed }) => {
    begun.push(from / GiB);
    await onZeroed(bytes);
    return 'zeroed';
  });
  expect((await createEmpty(next, large, signal)).unwiped).toBeUndefined();
  expect(begun).toStrictEqual([70, 70.25, 70.5]);
  expect(tags()).toStrictEqual([]);
});

/** A volume of 12 MiB that is in use. */
async function inUse(fake: FakeLvm): Promise<void> {
  await createEmpty(linearBackend(fake), request, signal);
  fake.calls.length = 0;
}

test('a volume that grows is wiped where it is new, and nowhere else', async () => {
  const fake = new FakeLvm();
  await inUse(fake);
  const wiped: string[] = [];
  const backend = linearBackend(fake, { wiped });
  const before = fake.volumes.get('aoe-u-1')?.tags.slice();
  expect(await backend.growth.grow('u-1', 18 * MiB, signal)).toMatchObject({ uid: 'u-1', bytes: 20 * MiB });
  expect(wiped).toStrictEqual([`/dev/vg0/aoe-u-1 ${12 * MiB}-${20 * MiB}`]);
  expect(fake.volumes.get('aoe-u-1')?.tags).toStrictEqual(before);
  fake.calls.length = 0;
  expect((await backend.growth.grow('u-1', 18 * MiB, signal)).bytes).toBe(20 * MiB);
  expect(fake.calls, 'it is large enough').toStrictEqual(['vgs']);
  expect(wiped).toHaveLength(1);
});

for (const when of ['before', 'after'] as const) {
  for (const [step, at] of [
    ['the mark', 1],
    ['lvextend', 2],
    ['the wipe', 3],
    ['the end of the mark', 4],
  ] as const) {
    test(`a crash ${when} ${step} of a growth exports nothing unwiped, and the next process finishes it`, async () => {
      const fake = new FakeLvm();
      await inUse(fake);
      const wiped: string[] = [];
      const crash = at === 3 && when === 'before';
      if (at === 3 && when === 'after') fake.crashAtChange(3, 'before');
      else if (at !== 3) fake.crashAtChange(at === 4 ? 3 : at, when);
      await expect(linearBackend(fake, { wiped, crash }).growth.grow('u-1', 20 * MiB, signal)).rejects.toThrow();
      fake.crashAtChange(undefined);
      const isWiped = wiped.length > 0 && at === 4 && when === 'after';
      const next = linearBackend(fake, { wiped });
      expect((await next.open('u-1', signal))?.bytes).toBe(isWiped ? 20 * MiB : 12 * MiB);
      wiped.length = 0;
      expect((await next.growth.grow('u-1', 20 * MiB, signal)).bytes).toBe(20 * MiB);
      expect(wiped).toStrictEqual(isWiped ? [] : [`/dev/vg0/aoe-u-1 ${12 * MiB}-${20 * MiB}`]);
      expect(fake.volumes.get('aoe-u-1')).toMatchObject({ bytes: 20 * MiB });
      expect(fake.volumes.get('aoe-u-1')?.tags.filter((tag) => tag.startsWith('aoe.dev/clean'))).toStrictEqual([]);
    });
  }
}

test('a growth that is larger than the one before it, which did not finish, wipes both parts', async () => {
  const fake = new FakeLvm();
  await inUse(fake);
  const wiped: string[] = [];
  await expect(linearBackend(fake, { crash: true }).growth.grow('u-1', 20 * MiB, signal)).rejects.toThrow();
  expect((await linearBackend(fake, { wiped }).growth.grow('u-1', 24 * MiB, signal)).bytes).toBe(24 * MiB);
  expect(wiped).toStrictEqual([`/dev/vg0/aoe-u-1 ${12 * MiB}-${24 * MiB}`]);
});

test('a growth that was interrupted and then taken back is finished, so that the size of the volume has all the space that it took', async () => {
  const fake = new FakeLvm();
  await inUse(fake);
  await expect(linearBackend(fake, { crash: true }).growth.grow('u-1', 20 * MiB, signal)).rejects.toThrow();
  const wiped: string[] = [];
  const backend = linearBackend(fake, { wiped });
  expect(await backend.open('u-1', signal)).toMatchObject({ bytes: 12 * MiB, extended: 20 * MiB });
  const volume = { metadata: { name: 'pvc-1', uid: 'u-1' }, spec: { capacity: '12Mi' }, status: { capacity: '12Mi', reserved: '12Mi' } };
  const ensure = (barrier?: string) => ensureData(volume as never, backend, 'open', signal, { barrier });
  expect(await ensure('not exported')).toMatchObject({ bytes: 12 * MiB, growthProblem: { reason: 'NotGrown', message: 'not exported' } });
  expect(wiped).toStrictEqual([]);
  expect(await ensure()).toMatchObject({ kind: 'available', bytes: 20 * MiB });
  expect(wiped).toStrictEqual([`/dev/vg0/aoe-u-1 ${12 * MiB}-${20 * MiB}`]);
  expect(await backend.open('u-1', signal)).not.toHaveProperty('extended');
});

for (const tag of ['x', '', '-1', '1.5', '1e99', `${24 * MiB}`]) {
  test(`a volume whose tag of its clean part is "${tag}" is neither exported nor wiped`, async () => {
    const fake = new FakeLvm();
    await inUse(fake);
    fake.volumes.get('aoe-u-1')?.tags.push(`aoe.dev/clean=${tag}`);
    const wiped: string[] = [];
    const backend = linearBackend(fake, { wiped });
    for (const status of [{ capacity: '12Mi', reserved: '20Mi' }, { reserved: '20Mi' }]) {
      const volume = { metadata: { name: 'pvc-1', uid: 'u-1' }, spec: { capacity: '20Mi' }, status } as never;
      expect(await ensureData(volume, backend, 'capacity' in status ? 'open' : 'create', signal)).toMatchObject({
        kind: 'shrunk',
        bytes: 0,
      });
    }
    await expect(backend.growth.grow('u-1', 20 * MiB, signal)).rejects.toMatchObject({ reason: 'BackendFailed' });
    expect(wiped).toStrictEqual([]);
    expect(fake.volumes.get('aoe-u-1')).toMatchObject({ bytes: 12 * MiB, tags: expect.arrayContaining([`aoe.dev/clean=${tag}`]) });
  });
}

test('a group that has no room for a growth says so, and the volume stays as it is', async () => {
  const fake = new FakeLvm();
  await inUse(fake);
  const backend = linearBackend(fake);
  await expect(backend.growth.grow('u-1', 1e12, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
  expect((await backend.open('u-1', signal))?.bytes).toBe(12 * MiB);
  expect((await backend.growth.grow('u-1', 16 * MiB, signal)).bytes, 'what there is room for').toBe(16 * MiB);
});

test('a volume that is not there cannot grow', async () => {
  await expect(linearBackend(new FakeLvm()).growth.grow('u-1', MiB, signal)).rejects.toMatchObject({ reason: 'BackendFailed' });
});

test('a volume into which data is copied is marked from the beginning, until the copy is finished', async () => {
  const fake = new FakeLvm();
  const made = await createEmpty(linearBackend(fake), { ...request, copy: 'snap-uid/0a1b' }, signal);
  expect(made).toMatchObject({ copy: 'snap-uid/0a1b' });
  expect(fake.volumes.get('aoe-u-1')?.tags).toContain('aoe.dev/copy=snap-uid/0a1b');
  const again = linearBackend(fake);
  expect(await createEmpty(again, { ...request, copy: 'snap-uid/ffff' }, signal), 'the first mark stays').toStrictEqual(made);
  expect((await again.measure(signal)).volumes).toStrictEqual([made]);
  await again.finishCopy('u-1', signal);
  expect((await linearBackend(fake).open('u-1', signal))?.copy).toBeUndefined();
});
