import { FakeCopier } from '../testing/fake-copier.ts';
import type { CopyJob } from './api.ts';
import { startJob } from './start-job.ts';

const { signal } = new AbortController();
const job = (path: string): CopyJob => ({
  id: 'uid.1',
  volume: 'v',
  source: { kind: 'local', path },
  destination: { path: '/d', zeroed: true },
  bytes: 512,
  bytesPerSecond: 0,
});

test('a job that is known with another path is begun again, and one that is the same goes on', async () => {
  const copier = new FakeCopier();
  await startJob(copier, job('/a'), signal);
  const known = copier.jobs.get('uid.1');
  if (known) known.state.copied = 512;
  expect((await startJob(copier, job('/a'), signal)).copied).toBe(512);
  expect((await startJob(copier, job('/b'), signal)).copied).toBe(0);
  expect(copier.jobs.get('uid.1')?.job.source).toStrictEqual({ kind: 'local', path: '/b' });
});

test('any other refusal of the copier is passed on', async () => {
  const copier = new FakeCopier();
  copier.up = false;
  await expect(startJob(copier, job('/a'), signal)).rejects.toMatchObject({ reason: 'unavailable' });
});
