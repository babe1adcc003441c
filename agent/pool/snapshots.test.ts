import type { AoEPool } from '../../api/pool.ts';
import { BackendError, type Instant } from '../backends/backend.ts';
import { FakeSnapshots } from '../testing/fake-snapshots.ts';
import { CONFIRM_AFTER_MS, Orphans } from './orphans.ts';
import { snapshotsOf } from './snapshots.ts';

const signal = new AbortController().signal;
const pool = { metadata: { name: 'fast' }, spec: { backend: 'lvm', volumeGroup: 'vg0' } } as AoEPool;
const known = (...uids: string[]) => ({ list: () => uids.map((uid) => ({ metadata: { name: uid, uid } })) }) as never;

test('a pool says whether it can take snapshots, and why not', async () => {
  const context = { snapshots: known(), orphans: new Orphans(), signal };
  expect(await snapshotsOf(pool, {}, context)).toStrictEqual({
    possible: false,
    message: 'pool fast has backend lvm, which has no snapshots in this version',
  });
  const snapshots = new FakeSnapshots();
  expect(await snapshotsOf(pool, { snapshots }, context)).toStrictEqual({ possible: true });
  snapshots.obstacle = 'the file system is ext4';
  expect(await snapshotsOf(pool, { snapshots }, context)).toStrictEqual({ possible: false, message: 'the file system is ext4' });
  snapshots.list = () => Promise.reject(new BackendError('PoolMissing', 'no such group'));
  expect(await snapshotsOf(pool, { snapshots }, context)).toStrictEqual({ possible: false, message: 'no such group' });
  snapshots.list = () => Promise.reject(new BackendError('PoolNotReady', 'the disk does not answer'));
  expect(await snapshotsOf(pool, { snapshots }, context), 'not known').toBeUndefined();
});

test('snapshots are counted, and one without an AoESnapshot is named after a second look', async () => {
  let now = 0;
  const snapshots = new FakeSnapshots();
  const at: Instant = async (make) => {
    await make();
    return new Date();
  };
  for (const uid of ['u-1', 'u-2']) await snapshots.take({ uid, name: `s-${uid}`, volumeUID: 'v' }, at);
  const context = { snapshots: known('u-1'), orphans: new Orphans(() => now), signal };
  expect(await snapshotsOf(pool, { snapshots }, context)).toStrictEqual({ possible: true, count: 2 });
  now = CONFIRM_AFTER_MS;
  expect(await snapshotsOf(pool, { snapshots }, context)).toStrictEqual({
    possible: true,
    count: 2,
    orphans: ['fake/snap-u-2 (was s-u-2)'],
  });
});
