import type { Condition } from '../../api/meta.ts';
import { MiB } from '../../api/quantity.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { ExternalDisk } from '../address/probe.ts';
import { BackendError } from '../backends/backend.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { copyExternal } from './copy-external.ts';
import type { CopyInContext } from './copy-in.ts';

const { signal } = new AbortController();
const UID = '11111111-2222-3333-4444-555555555555';
const PATH = `/dev/fake/${UID}`;
const volume = { metadata: { name: 'v', uid: UID }, spec: { pool: 'thick', nodeName: 'here', capacity: '8Mi' } } as AoEVolume;
const DISK: ExternalDisk = {
  mac: '02:00:00:00:06:06',
  interface: 'eth1',
  configString: new Uint8Array(),
  serial: '55.5:vblade-1',
  bytes: 4 * MiB,
};

function harness({ serial }: { serial?: string } = {}) {
  const backend = new FakeBackend();
  const disks = new Map([[PATH, [0, 0, 0, 0]]]);
  const remove = backend.remove.bind(backend);
  // The next one reads as zeros.
  backend.remove = async (uid) => {
    await remove(uid);
    disks.set(PATH, [0, 0, 0, 0]);
  };
  const world = {
    found: [DISK] as ExternalDisk[],
    blocks: [1, 0, 2, 3],
    bytes: 8 * MiB,
    placed: undefined as Condition | undefined,
    said: undefined as Condition | undefined,
  };
  const copier = new FakeCopier(disks, () => (world.found.length > 0 ? world.blocks : undefined));
  const context: CopyInContext = {
    copier,
    interfaces: () => [{ name: 'eth1', mac: '02:00:00:00:05:01' }],
    expose: async () => undefined,
    survey: async () => world.found,
    bytesPerSecond: 7,
  };
  const external = { shelf: 55, slot: 5, ...(serial ? { serial } : {}) };
  const copy = async () => {
    const now = { ...volume, status: { conditions: [world.placed, world.said].filter((each) => each !== undefined) } };
    return await copyExternal(context, { backend, request: { uid: UID, name: 'v', bytes: world.bytes }, volume: now }, external, signal);
  };
  const steps = (count: number): void => {
    for (let step = 0; step < count; step++) copier.advance();
  };
  const inUse = (text: string): void => {
    world.found = [{ ...DISK, configString: new TextEncoder().encode(text) }];
  };
  return { backend, disks, world, copier, context, copy, steps, inUse, job: () => [...copier.jobs.values()][0] };
}

test('a disk is copied at the size and with the serial number that it has, and the volume is marked until all was compared', async () => {
  const { backend, disks, copier, copy, steps, job } = harness();
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 0, bytesTotal: 4 * MiB, macs: ['02:00:00:00:05:01'] });
  const mark = backend.volumes.get(UID)?.copy;
  expect(mark).toMatch(/^55\.5-[0-9a-f]{16}\/[0-9a-f]{8}$/);
  expect(job()?.job).toStrictEqual({
    id: `${UID}.${mark?.split('/')[1]}`,
    volume: 'v',
    source: { kind: 'aoe', shelf: 55, slot: 5, serial: '55.5:vblade-1', interfaces: ['eth1'] },
    destination: { path: PATH, zeroed: true },
    bytes: 4 * MiB,
    bytesPerSecond: 7,
  });
  steps(6);
  expect(await copy()).toMatchObject({ phase: 'Verifying', from: 'the disk at e55.5 (serial number 55.5:vblade-1)' });
  steps(2);
  expect(await copy()).toStrictEqual({ kind: 'whole' });
  expect([backend.volumes.get(UID)?.copy, copier.jobs.size, disks.get(PATH)]).toStrictEqual([undefined, 0, [1, 0, 2, 3]]);
});

test('however often a copy is looked at, the pool is not measured', async () => {
  const { backend, copy, steps } = harness();
  backend.measure = () => Promise.reject(new Error('it was measured'));
  await copy();
  steps(8);
  expect(await copy()).toStrictEqual({ kind: 'whole' });
});

test('a copy keeps its progress while its target is silent, and needs it no more once all was compared', async () => {
  const { world, copy, steps } = harness();
  await copy();
  steps(2);
  world.found = [];
  const problem = expect.stringMatching(/^no target answers at e55\.5 on eth1/);
  expect(await copy()).toMatchObject({ kind: 'copying', phase: 'Waiting', bytesDone: 2 * MiB, bytesTotal: 4 * MiB, problem });
  world.found = [DISK];
  steps(6);
  world.found = [];
  expect(await copy()).toStrictEqual({ kind: 'whole' });
  expect(await copy()).toStrictEqual({ kind: 'whole' });
});

test('data that differs when it is compared ends the copy for good, whatever the copier did about it', async () => {
  const { backend, world, copier, copy, steps, job } = harness();
  await copy();
  steps(4);
  world.blocks = [1, 0, 9, 3];
  steps(3);
  const changed = { kind: 'no-source', reason: 'SourceChanged', message: expect.stringMatching(/was read twice.*delete the AoEVolume/) };
  expect(await copy()).toMatchObject(changed);
  expect(job()?.state.phase).toBe('stopped');
  expect(await copy(), 'also for an agent that was started again').toMatchObject(changed);
  const [id = ''] = copier.jobs.keys();
  copier.fail(id, 'too many places differ', new Date(0));
  expect(await copy()).toMatchObject(changed);
  expect(backend.volumes.get(UID)?.copy).toBeDefined();
});

test('data that differs in the last place that is compared ends the copy, too', async () => {
  const { world, copy, steps } = harness();
  await copy();
  steps(4);
  world.blocks = [1, 0, 2, 9];
  steps(4);
  expect(await copy()).toMatchObject({ reason: 'SourceChanged' });
});

test('nothing is copied while a host has the disk, and what was copied before that is copied again', async () => {
  const { backend, world, copier, disks, copy, steps, inUse } = harness();
  inUse('net.corvus');
  const used = { reason: 'SourceInUse', message: expect.stringMatching(/its config string was set by a host that set "net\.corvus"/) };
  expect(await copy()).toMatchObject(used);
  expect(backend.volumes.size).toBe(0);
  world.found = [DISK];
  await copy();
  steps(8);
  inUse('net.corvus');
  copier.up = false;
  expect(await copy()).toMatchObject({ reason: 'SourceInUse', message: expect.stringMatching(/cannot be thrown away yet/) });
  copier.up = true;
  expect(await copy()).toMatchObject(used);
  expect([backend.volumes.size, copier.jobs.size]).toStrictEqual([0, 0]);
  world.found = [DISK];
  world.blocks = [4, 0, 0, 4];
  await copy();
  steps(8);
  expect(await copy()).toStrictEqual({ kind: 'whole' });
  expect(disks.get(PATH)).toStrictEqual([4, 0, 0, 4]);
});

test('what was copied before a host had the disk is copied again, also when the copier is away until that host has gone', async () => {
  const { backend, world, copier, disks, copy, steps, inUse } = harness();
  await copy();
  steps(8);
  inUse('net.corvus');
  copier.up = false;
  expect(await copy()).toMatchObject({ reason: 'SourceInUse', message: expect.stringMatching(/cannot be thrown away yet/) });
  world.said = { type: 'Provisioned', status: 'False', reason: 'SourceInUse', message: '', lastTransitionTime: '' };
  world.found = [DISK];
  world.blocks = [4, 0, 0, 4];
  const again = /^a host had the disk at e55\.5, so the copy begins again; what was copied cannot be thrown away yet/;
  expect(await copy()).toMatchObject({ reason: 'SourceInUse', message: expect.stringMatching(again) });
  copier.up = true;
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 0 });
  world.said = undefined;
  steps(8);
  expect(await copy()).toStrictEqual({ kind: 'whole' });
  expect([disks.get(PATH), backend.volumes.get(UID)?.copy]).toStrictEqual([[4, 0, 0, 4], undefined]);
  world.said = { type: 'Provisioned', status: 'False', reason: 'SourceInUse', message: '', lastTransitionTime: '' };
  expect(await copy(), 'what is whole stays').toStrictEqual({ kind: 'whole' });
});

test('the copier is stopped while a host has the disk, also when the pool cannot say what was copied', async () => {
  const { backend, world, copier, disks, copy, steps, inUse } = harness();
  await copy();
  steps(2);
  backend.unmeasured = 'vgs hangs';
  await expect(copy()).rejects.toThrow(/vgs hangs/);
  inUse('net.corvus');
  expect(await copy()).toMatchObject({ reason: 'SourceInUse', message: expect.stringMatching(/cannot be thrown away yet: vgs hangs/) });
  expect(copier.jobs.size).toBe(0);
  backend.unmeasured = undefined;
  world.found = [DISK];
  world.blocks = [0, 4, 0, 4];
  await copy();
  steps(8);
  expect(await copy(), 'all is copied again, zeros too').toStrictEqual({ kind: 'whole' });
  expect(disks.get(PATH)).toStrictEqual([0, 4, 0, 4]);
});

test('what a crash left of a copy that was thrown away is not taken for zeros, also by an agent that is started again', async () => {
  const { backend, world, copier, disks, copy, steps, inUse, job } = harness();
  await copy();
  steps(4);
  inUse('net.corvus');
  backend.failure = new BackendError('BackingBusy', 'busy');
  await expect(copy()).rejects.toThrow(/busy/);
  expect([backend.volumes.size, copier.jobs.size]).toStrictEqual([1, 0]);
  backend.failure = undefined;
  world.found = [DISK];
  world.blocks = [0, 4, 0, 0];
  await copy();
  expect(job()?.job.destination.zeroed).toBe(false);
  steps(2);
  expect(await copy(), 'the job goes on').toMatchObject({ bytesDone: 2 * MiB });
  steps(6);
  expect(await copy()).toStrictEqual({ kind: 'whole' });
  expect(disks.get(PATH)).toStrictEqual([0, 4, 0, 0]);
});

test('that the data has changed stays so when a host takes the disk afterwards', async () => {
  const { backend, world, copy, steps, inUse } = harness();
  await copy();
  steps(4);
  world.blocks = [1, 0, 9, 3];
  steps(3);
  expect(await copy()).toMatchObject({ reason: 'SourceChanged' });
  inUse('net.corvus');
  expect(await copy()).toMatchObject({ reason: 'SourceChanged' });
  world.found = [DISK];
  expect(await copy()).toMatchObject({ reason: 'SourceChanged' });
  expect(backend.volumes.get(UID)?.copy).toBeDefined();
});

test('a disk that is larger than what is reserved refers to what keeps the volume from growing', async () => {
  const { world, copy } = harness();
  world.found = [{ ...DISK, bytes: 6 * MiB }];
  world.bytes = 5 * MiB;
  expect(await copy()).toMatchObject({
    reason: 'SourceTooLarge',
    message: 'the disk at e55.5 has 6Mi, more than the 5Mi of the volume: spec.capacity is not reserved yet, see condition Grown',
  });
});

test('half a copy is thrown away when the operator says that a node of this cluster got the disk', async () => {
  const { backend, world, copier, copy, steps } = harness();
  await copy();
  steps(2);
  const message = 'the disk at e55.5 is used by w, as AoEVolume x';
  world.placed = { type: 'Placed', status: 'False', reason: 'SourceInUse', message, lastTransitionTime: '' };
  expect(await copy()).toMatchObject({ reason: 'SourceInUse', message: expect.stringMatching(/is used by w, as AoEVolume x/) });
  expect([backend.volumes.size, copier.jobs.size]).toStrictEqual([0, 0]);
  world.placed = undefined;
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 0 });
});

test('a disk that is larger than the volume is refused with both sizes, until the volume is as large', async () => {
  const { world, backend, copy } = harness();
  world.found = [{ ...DISK, bytes: 9 * MiB }];
  expect(await copy()).toMatchObject({
    reason: 'SourceTooLarge',
    message: 'the disk at e55.5 has 9Mi, more than the 8Mi of the volume: set spec.capacity to 9Mi',
  });
  expect(backend.volumes.size).toBe(0);
  world.bytes = 9 * MiB;
  expect(await copy()).toMatchObject({ kind: 'copying', bytesTotal: 9 * MiB });
});

test('a copy does not go on from another disk at the address', async () => {
  const { world, copy, steps, copier } = harness();
  await copy();
  steps(2);
  world.found = [{ ...DISK, serial: '55.5:other' }];
  expect(await copy()).toMatchObject({ kind: 'no-source', message: expect.stringMatching(/begun from another disk/) });
  world.found = [{ ...DISK, serial: '55.5:other', bytes: 9 * MiB }];
  expect(await copy(), 'whatever its size').toMatchObject({ message: expect.stringMatching(/begun from another disk/) });
  world.found = [DISK];
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 2 * MiB });
  expect(copier.calls.filter((call) => call === 'remove')).toStrictEqual([]);
});

for (const [what, found, message] of [
  ['nobody answers', [], /no target answers at e55\.5 on eth1: it must be on the segment/],
  ['two disks answer', [DISK, { ...DISK, mac: '02:07', serial: 'x' }], /two disks answer at e55\.5/],
  [
    'a target does not say whether a host has its disk',
    [{ ...DISK, configString: undefined }],
    /02:00:00:00:06:06 at e55\.5 does not say whether/,
  ],
  ['a target does not say which disk it has', [{ ...DISK, serial: undefined }], /does not say which disk/],
] as const) {
  test(`nothing is made when ${what}`, async () => {
    const { world, backend, copy } = harness();
    world.found = [...found];
    expect(await copy()).toMatchObject({ kind: 'no-source', message: expect.stringMatching(message) });
    expect(backend.volumes.size).toBe(0);
  });
}

test('a disk with another serial number than the spec has is not read', async () => {
  const { copy, copier } = harness({ serial: 'S1' });
  expect(await copy()).toMatchObject({ kind: 'no-source', message: expect.stringMatching(/55\.5:vblade-1 instead of S1/) });
  expect(copier.jobs.size).toBe(0);
});

test('one disk on two paths is one disk', async () => {
  const { world, copy } = harness();
  world.found = [DISK, { ...DISK, mac: '02:00:00:00:06:07' }];
  expect(await copy()).toMatchObject({ kind: 'copying' });
});

test('without an interface, or when the segment cannot be asked, the reason is said', async () => {
  const { context, copy } = harness();
  context.survey = async () => Promise.reject(new Error('no socket'));
  expect(await copy()).toMatchObject({ message: 'e55.5 cannot be asked: no socket' });
  context.interfaces = () => [];
  expect(await copy()).toMatchObject({ message: expect.stringMatching(/no interface/) });
});
