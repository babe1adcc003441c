import { pino } from 'pino';
import type { AoEVolume } from '../../api/volume.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { StaleJobs } from './stale-jobs.ts';

const { signal } = new AbortController();

test('jobs are forgotten that no volume of this node needs', async () => {
  const copier = new FakeCopier();
  const job = {
    volume: '',
    source: { kind: 'local', path: '/s' } as const,
    destination: { path: '/d', zeroed: true },
    bytes: 512,
    bytesPerSecond: 0,
  };
  for (const id of ['copied.1', 'whole.1', 'deleted.1', 'gone.1']) await copier.start({ ...job, id });
  const source = { source: { snapshot: 's' } };
  const volumes = [
    { metadata: { uid: 'copied' }, spec: source },
    { metadata: { uid: 'whole' }, spec: source, status: { capacity: '1Gi' } },
    { metadata: { uid: 'deleted', deletionTimestamp: 'now' }, spec: source },
  ] as never as AoEVolume[];
  const jobs = new StaleJobs({ copier, volumes: { list: () => volumes }, log: pino({ level: 'silent' }) });
  await jobs.reconcile(signal);
  expect([...copier.jobs.keys()]).toStrictEqual(['copied.1']);
  copier.up = false;
  expect((await jobs.reconcile(signal)).requeueAfterMs, 'soon, as the copier is away').toBeLessThan(60_000);
});
