import { pino } from 'pino';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { StaleJobs } from './stale-jobs.ts';

const { signal } = new AbortController();

test('jobs are forgotten that no volume of this node and no snapshot needs', async () => {
  const copier = new FakeCopier();
  const job = {
    volume: '',
    source: { kind: 'local', path: '/s' } as const,
    destination: { path: '/d', zeroed: true },
    bytes: 512,
    bytesPerSecond: 0,
  };
  for (const id of ['copied.1', 'whole.1', 'deleted.1', 'gone.1', 'taken.out', 'troubled.out', 'unreported.out', 'lost.out', 'done.out'])
    await copier.start({ ...job, id });
  const source = { source: { snapshot: 's' } };
  const volumes = [
    { metadata: { uid: 'copied' }, spec: source },
    { metadata: { uid: 'whole' }, spec: source, status: { capacity: '1Gi' } },
    { metadata: { uid: 'deleted', deletionTimestamp: 'now' }, spec: source },
  ] as never as AoEVolume[];
  const taken = (reason: string) => {
    const status = reason === 'Taken' ? 'True' : 'False';
    return { createdAt: '2026-11-28T08:00:00Z', conditions: [{ type: 'Taken', status, reason }] };
  };
  const snapshots = [
    { metadata: { uid: 'taken' }, status: taken('Copying') },
    { metadata: { uid: 'troubled' }, status: taken('BackendFailed') },
    { metadata: { uid: 'unreported' } },
    { metadata: { uid: 'lost' }, status: taken('SnapshotLost') },
    { metadata: { uid: 'done' }, status: taken('Taken') },
  ] as never as AoESnapshot[];
  const stores = { volumes: { list: () => volumes }, snapshots: { list: () => snapshots } };
  const jobs = new StaleJobs({ copier, ...stores, log: pino({ level: 'silent' }) });
  await jobs.reconcile(signal);
  expect([...copier.jobs.keys()]).toStrictEqual(['copied.1', 'taken.out', 'troubled.out', 'unreported.out']);
  copier.hanging.add('gone.1');
  for (const id of ['gone.1', 'whole.1']) await copier.start({ ...job, id });
  expect((await jobs.reconcile(signal)).requeueAfterMs, 'soon, as a disk hangs').toBeLessThan(60_000);
  expect([...copier.jobs.keys()], 'one that hangs keeps no other').toStrictEqual([
    'copied.1',
    'taken.out',
    'troubled.out',
    'unreported.out',
    'gone.1',
  ]);
  copier.up = false;
  expect((await jobs.reconcile(signal)).requeueAfterMs, 'soon, as the copier is away').toBeLessThan(60_000);
});
