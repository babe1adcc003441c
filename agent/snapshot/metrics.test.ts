import { metricsText } from '../../run/metrics.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { SnapshotMetrics } from './metrics.ts';

test('copies of snapshots are shown with their bytes, and nothing while the copier is away', async () => {
  const copier = new FakeCopier(new Map([['/dev/copy', [0, 0]]]), () => [1, 2]);
  const snapshots = { list: () => [{ metadata: { name: 'snap-a', uid: 'u-1' } }] } as never;
  new SnapshotMetrics(copier, snapshots, new AbortController().signal).register();
  const read = async () => (await metricsText()).split('\n').filter((line) => line.startsWith('aoe_agent_snapshot_copy'));
  const shown = (phase: string, done: number) => [
    `aoe_agent_snapshot_copy_done_bytes{snapshot="snap-a",phase="${phase}"} ${done}`,
    `aoe_agent_snapshot_copy_size_bytes{snapshot="snap-a",phase="${phase}"} 4096`,
  ];
  expect(await read()).toStrictEqual([]);
  const source = { kind: 'local', path: '/dev/cow' } as const;
  const job = {
    id: 'u-1.out-1',
    volume: 'snap-a',
    source,
    destination: { path: '/dev/copy', zeroed: false },
    bytes: 4096,
    bytesPerSecond: 0,
  };
  await copier.start(job);
  await copier.start({ ...job, id: 'u-2.restore', volume: 'pvc-1', destination: { path: '/dev/other', zeroed: false } });
  expect(await read()).toStrictEqual(shown('Copying', 0));
  copier.advance();
  expect(await read()).toStrictEqual(shown('Copying', 2048));
  copier.advance();
  expect(await read()).toStrictEqual(shown('Verifying', 0));
  copier.advance();
  expect(await read()).toStrictEqual(shown('Verifying', 2048));
  copier.fail('u-1.out-1', 'the disk is broken');
  copier.calls.length = 0;
  expect(await read()).toStrictEqual(shown('Failed', 4096));
  expect(copier.calls, 'one call for each scrape').toStrictEqual(['list']);
  copier.up = false;
  expect(await read()).toStrictEqual([]);
});
