import assert from 'node:assert/strict';
import { MiB } from '../../api/quantity.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { CopierError } from './api.ts';
import type { CopyInContext } from './copy-in.ts';
import { copySnapshot } from './copy-snapshot.ts';

const { signal } = new AbortController();
const UID = '11111111-2222-3333-4444-555555555555';
const PATH = `/dev/fake/${UID}`;
const volume = { metadata: { name: 'v', uid: UID }, spec: { pool: 'thick', nodeName: 'here', capacity: '8Mi' } } as AoEVolume;

function snapshotWith(status: object = {}, uid = 'aaaaaaaa-2222-3333-4444-555555555555'): AoESnapshot {
  const taken = { pool: 'thin', nodeName: 'there', capacity: '4Mi', createdAt: '2026-11-28T08:00:00Z', copyAddress: { shelf: 9, slot: 3 } };
  return { metadata: { name: 's', uid }, spec: { volumeName: 'x' }, status: { ...taken, ...status } } as AoESnapshot;
}

function harness() {
  const backend = new FakeBackend();
  const disks = new Map<string, number[]>();
  const source = { blocks: [1, 0, 2, 3] as number[] | undefined };
  const copier = new FakeCopier(disks, () => source.blocks);
  const context: CopyInContext = {
    copier,
    interfaces: () => [{ name: 'eth1', mac: '02:00:00:00:05:01' }],
    expose: async () => ({ path: '/dev/vg0/snap', bytes: 4 * MiB }),
    survey: async () => [],
    bytesPerSecond: 7,
  };
  const copy = async (snapshot = snapshotWith()) => {
    if (!backend.volumes.has(UID)) disks.set(PATH, [0, 0, 0, 0]);
    return await copySnapshot(context, { backend, request: { uid: UID, name: 'v', bytes: 8 * MiB }, volume }, snapshot, signal);
  };
  const copyAll = async (snapshot = snapshotWith()) => {
    for (let step = 0; step < 20; step++) {
      const result = await copy(snapshot);
      if (result.kind === 'whole') return result;
      copier.advance();
    }
    return await copy(snapshot);
  };
  return { backend, disks, source, copier, context, copy, copyAll };
}

test('a volume is marked until all of it was compared; then the mark goes, and the job', async () => {
  const { backend, disks, copier, copy, copyAll } = harness();
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 0, bytesTotal: 4 * MiB, macs: ['02:00:00:00:05:01'] });
  const mark = backend.volumes.get(UID)?.copy;
  expect(mark).toMatch(/^aaaaaaaa-.*\/[0-9a-f]{8}$/);
  const [{ job } = assert.fail()] = [...copier.jobs.values()];
  expect(job).toStrictEqual({
    id: `${UID}.${mark?.split('/')[1]}`,
    volume: 'v',
    source: { kind: 'aoe', shelf: 9, slot: 3, serial: 'AAAAAAAA222233334444', interfaces: ['eth1'] },
    destination: { path: PATH, zeroed: true },
    bytes: 4 * MiB,
    bytesPerSecond: 7,
  });
  copier.advance();
  expect(await copy()).toMatchObject({ phase: 'Copying', bytesDone: MiB, problem: '' });
  for (let step = 0; step < 4; step++) copier.advance();
  expect(await copy()).toMatchObject({ phase: 'Verifying', bytesDone: MiB });
  expect(backend.volumes.get(UID)?.copy).toBe(mark);
  expect(await copyAll()).toStrictEqual({ kind: 'whole' });
  expect([backend.volumes.get(UID)?.copy, copier.jobs.size, disks.get(PATH)]).toStrictEqual([undefined, 0, [1, 0, 2, 3]]);
  expect(await copy(), 'also without its source').toStrictEqual({ kind: 'whole' });
});

test('however often a copy is looked at, the pool is not measured', async () => {
  const { backend, copyAll } = harness();
  backend.measure = () => Promise.reject(new Error('it was measured'));
  expect(await copyAll()).toStrictEqual({ kind: 'whole' });
});

test('a whole volume needs its snapshot no more', async () => {
  const { copy, copyAll } = harness();
  await copyAll();
  expect(await copy(snapshotWith({ createdAt: undefined }))).toStrictEqual({ kind: 'whole' });
});

test('a snapshot of this node is read from its device', async () => {
  const { copier, copy } = harness();
  expect(await copy(snapshotWith({ nodeName: 'here', copyAddress: undefined }))).toMatchObject({ kind: 'copying', macs: [] });
  expect([...copier.jobs.values()][0]?.job.source).toStrictEqual({ kind: 'local', path: '/dev/vg0/snap' });
});

test('what waits says for what', async () => {
  const { source, copier, context, copy } = harness();
  expect(await copy(snapshotWith({ copyAddress: undefined }))).toMatchObject({
    phase: 'Waiting',
    problem: expect.stringMatching(/no address yet/),
  });
  await copy();
  source.blocks = undefined;
  copier.advance();
  expect(await copy()).toMatchObject({
    problem: 'the source does not answer',
    failed: false,
    from: 'AoESnapshot s in pool thin on node there',
  });
  const ready = { type: 'Ready', status: 'Unknown', message: 'node there is not Ready' };
  const away = snapshotWith({ conditions: [ready, { type: 'Taken', status: 'True', message: '' }] });
  expect(await copy(away)).toMatchObject({ problem: 'the source does not answer; AoESnapshot s: node there is not Ready' });
  copier.up = false;
  expect(await copy()).toMatchObject({ problem: expect.stringMatching(/copier on this node does not answer/), failed: false });
  copier.up = true;
  context.interfaces = () => [];
  expect(await copy()).toMatchObject({ phase: 'Waiting', problem: expect.stringMatching(/no interface/) });
});

test('a job that failed says why, and is begun again after a minute', async () => {
  const { copier, copy } = harness();
  await copy();
  const [id = ''] = copier.jobs.keys();
  copier.fail(id, 'the disk is broken');
  expect(await copy()).toMatchObject({ failed: true, problem: 'the disk is broken' });
  copier.fail(id, 'the disk is broken', new Date(Date.now() - 61_000));
  expect(await copy()).toMatchObject({ failed: false });
});

test('a backing volume that was made again gets a new job: what an earlier one has copied is not in it', async () => {
  const { backend, copier, copy, copyAll, disks } = harness();
  await copy();
  for (let step = 0; step < 8; step++) copier.advance();
  expect([...copier.jobs.values()][0]?.state.phase).toBe('verified');
  backend.volumes.delete(UID);
  expect(await copy()).toMatchObject({ kind: 'copying', bytesDone: 0 });
  expect(copier.jobs.size, 'the earlier job must not write there').toBe(1);
  await copyAll();
  expect(disks.get(PATH)).toStrictEqual([1, 0, 2, 3]);
});

test('a copy does not go on from another snapshot of the same name', async () => {
  const { copy } = harness();
  await copy();
  const other = snapshotWith({}, 'bbbbbbbb-2222-3333-4444-555555555555');
  expect(await copy(other)).toMatchObject({
    kind: 'no-source',
    message: expect.stringMatching(/earlier AoESnapshot s with UID aaaaaaaa.*delete the volume/),
  });
});

test('a snapshot that got another address is copied again from there', async () => {
  const { copier, copy, copyAll, disks } = harness();
  await copy();
  copier.advance();
  expect(await copy(snapshotWith({ copyAddress: { shelf: 9, slot: 4 } }))).toMatchObject({ kind: 'copying', bytesDone: 0 });
  await copyAll(snapshotWith({ copyAddress: { shelf: 9, slot: 4 } }));
  expect(disks.get(PATH)).toStrictEqual([1, 0, 2, 3]);
});

test('a destination that may hold old data is wiped first, and gets its zeros written where the wipe left old data', async () => {
  const { backend, copier, copy } = harness();
  backend.unwiped = true;
  await copy();
  expect(backend.calls).toStrictEqual(['create', 'wipe']);
  const { cleanness: _, ...found } = backend.volumes.get(UID) ?? assert.fail();
  backend.volumes.set(UID, { ...found, cleanness: 'ends' });
  copier.jobs.clear();
  await copy();
  expect([...copier.jobs.values()][0]?.job.destination.zeroed).toBe(false);
});

test('nothing is made of a snapshot that is not ready or too large', async () => {
  const { backend, copy } = harness();
  expect(await copy(snapshotWith({ capacity: undefined }))).toMatchObject({ kind: 'no-source' });
  expect(await copy(snapshotWith({ capacity: '9Mi' }))).toMatchObject({ kind: 'no-source', message: expect.stringMatching(/9Mi.*8Mi/) });
  expect(backend.volumes.size).toBe(0);
});

test('what the copier refuses for good is a failure', async () => {
  const { copier, copy } = harness();
  await copy();
  copier.failure = new CopierError('invalid', 'bytes: must be a multiple of 512');
  expect(await copy()).toMatchObject({ failed: true, problem: expect.stringMatching(/multiple of 512/) });
});
