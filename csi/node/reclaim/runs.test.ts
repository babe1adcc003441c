import { Code, RpcError } from '../../../rpc/status.ts';
import { block, context, mountOf } from '../testing/calls.ts';
import { START, staged } from '../testing/free-space.ts';
import { type FreeSpaceRuns, reserveOf } from './runs.ts';

const MiB = 2 ** 20;

test('each new request is carried out once, reported, and leaves a reserve', async () => {
  const it = await staged();
  const runs = it.runs();
  await it.check(runs);
  expect([it.world.spaces, it.report()]).toStrictEqual([[], undefined]);
  it.ask('now');
  await it.check(runs);
  const { total } = (await it.node.filesystems.usage()).bytes;
  const space = { path: it.stagingTargetPath, disk: '/dev/etherd/e7.3', reserve: Math.ceil(total / 10), limitSeconds: 7200 };
  expect(it.world.spaces).toStrictEqual([space]);
  const message = `${40 * MiB} bytes of free space were overwritten with zeros, so that the pool has them back`;
  const times = { startedAt: START, finishedAt: START };
  expect(it.report()).toStrictEqual({ request: 'now', node: 'worker-1', state: 'Done', ...times, bytes: 40 * MiB, message });
  expect(it.world.events).toStrictEqual([`Normal FreeSpaceReclaimed: ${message}`]);
  await it.check(runs);
  await it.check(it.runs());
  expect(it.world.spaces).toHaveLength(1);
  it.ask('again');
  it.world.zero = () => Promise.reject(new Error('dd: Input/output error'));
  await it.check(runs);
  expect(it.report()).toMatchObject({ request: 'again', state: 'Failed', message: 'dd: Input/output error' });
  expect(it.report()).not.toHaveProperty('bytes');
  await it.check(runs);
  expect(it.world.spaces).toHaveLength(2);
});

for (const [what, capability, change, message] of [
  ['a block volume', block, {}, /used as a block device/],
  ['an encrypted volume', mountOf(), { spec: { encryption: 'LUKS2' } }, /is encrypted/],
  ['a shared volume', mountOf(), { spec: { access: 'Shared' } }, /only an Exclusive/],
  ['a pool that gets nothing back', mountOf(), { status: { reclaimsZeros: false } }, /pool p gets nothing back/],
  ['a volume of another target', mountOf(), { spec: { external: { shelf: 7, slot: 3 } } }, /outside of this project/],
] as const) {
  test(`${what} is refused, once, and with the reason`, async () => {
    const it = await staged(capability);
    const { spec = {}, status = {} } = change as { spec?: object; status?: object };
    Object.assign(it.volume.spec, spec);
    it.volume.status = { ...it.volume.status, ...status };
    it.ask('now');
    const runs = it.runs();
    await it.check(runs);
    await it.check(runs);
    expect(it.report()).toMatchObject({ request: 'now', state: 'Refused', message });
    expect([it.world.spaces.length, it.world.events.length]).toStrictEqual([0, 1]);
    expect(it.world.events[0]).toMatch(/^Warning ReclaimRefused/);
  });
}

test('what a run has written meanwhile counts as free in the stats, so that nobody makes the volume larger for it', async () => {
  const it = await staged();
  const usage = async () => {
    const { usage } = await it.service.nodeGetVolumeStats({ volumeId: 'v1', volumePath: it.stagingTargetPath }, context);
    return [Number(usage?.[0]?.used), Number(usage?.[0]?.available)];
  };
  const seen: number[][] = [];
  it.world.zero = async (onWritten) => {
    for (const bytes of [10, 30, 1000]) {
      onWritten?.(bytes);
      seen.push(await usage());
    }
    return { bytes: 30, end: 'all' };
  };
  it.ask('now');
  const runs = it.runs();
  await it.check(runs);
  expect(seen).toStrictEqual([
    [30, 70],
    [10, 90],
    [0, 100],
  ]);
  expect(await usage()).toStrictEqual([40, 60]);
  expect(runs.written('e7.3')).toBe(0);
});

/** A run that goes on until it is ended. */
async function begun(it: Awaited<ReturnType<typeof staged>>): Promise<{ runs: FreeSpaceRuns; run: Promise<void> }> {
  const runs = it.runs();
  const zeroing = Promise.withResolvers<void>();
  it.world.zero = () => {
    zeroing.resolve();
    return new Promise(() => {});
  };
  it.ask('now');
  const run = it.check(runs);
  await zeroing.promise;
  return { runs, run };
}

test('an unmount ends a run before it, and the run begins again when the volume is used again', async () => {
  const it = await staged();
  const { runs, run } = await begun(it);
  expect(it.report()).toMatchObject({ state: 'Running' });
  await it.unstage();
  await run;
  expect(it.node.ownUseEnded).toContain('e7.3');
  expect([it.report()?.state, it.world.events]).toStrictEqual(['Running', []]);
  await it.check(runs);
  expect(it.world.spaces, 'it is not staged').toHaveLength(1);
  await it.stage();
  await it.check(runs);
  expect(it.world.spaces, 'it was unmounted a moment ago').toHaveLength(1);
  it.world.zero = async () => ({ bytes: 1, end: 'needed' });
  await it.check(it.runs());
  expect(it.report()).toMatchObject({ state: 'Done', bytes: 1, message: /because the space was needed/ });
});

test('a run ends when zeros are not given back any more, and says so', async () => {
  const it = await staged();
  const { runs, run } = await begun(it);
  await it.check(runs);
  expect(it.report()?.state, 'they still are').toBe('Running');
  it.volume.status = { ...it.volume.status, reclaimsZeros: undefined };
  await it.check(runs);
  await run;
  const message = expect.stringMatching(/^pool p gets nothing back for zeros any more, or is nearly full .*ask again/);
  expect(it.report()).toMatchObject({ request: 'now', state: 'Failed', finishedAt: START, message, reason: 'ReclaimsZerosAbsent' });
  expect(it.world.events).toStrictEqual([expect.stringMatching(/^Warning ReclaimStopped: pool p gets nothing back/)]);
  it.volume.status = { ...it.volume.status, reclaimsZeros: true };
  await it.check(runs);
  expect(it.world.spaces, 'it was answered').toHaveLength(1);
});

test('a run by hand that was cut short begins again, also when an earlier node plugin has left in its report that the one before was scheduled', async () => {
  const it = await staged();
  it.ask('now');
  const left = { request: 'now', scheduled: true, node: 'worker-2', state: 'Running', startedAt: START } as const;
  it.volume.status = { ...it.volume.status, reclaim: left };
  await it.check(it.runs());
  expect(it.report()).toMatchObject({ request: 'now', state: 'Done', bytes: 40 * MiB });
  expect(it.report()).not.toHaveProperty('scheduled');
});

test('a result that the API server does not take is written at the next check, and nothing is done twice', async () => {
  const it = await staged();
  const runs = it.runs();
  const record = it.node.volumes.record.bind(it.node.volumes);
  it.ask('now');
  it.world.zero = async () => {
    it.node.volumes.record = () => Promise.reject(new RpcError(Code.UNAVAILABLE, 'away'));
    return { bytes: 1, end: 'limit' };
  };
  await it.check(runs);
  await it.check(runs);
  expect(it.report()?.state).toBe('Running');
  it.node.volumes.record = record;
  await it.check(runs);
  expect(it.report()).toMatchObject({ state: 'Done', message: /ended after 2 hours/ });
  expect(it.world.spaces).toHaveLength(1);
});

test('a volume that is another node by now, or whose disk is down, stays as it is', async () => {
  const it = await staged();
  const runs = it.runs();
  it.ask('now');
  it.volume.spec.initiators = { nodes: ['worker-2'] };
  await it.check(runs);
  it.volume.spec.initiators = { nodes: ['worker-1'] };
  it.disk().state = 'down';
  await it.check(runs);
  it.disk().state = 'up';
  // It is being staged: the record is there, and the mount is not yet.
  await it.node.recordStaged({ stagingPath: '/staging/later' });
  await it.check(runs);
  expect([it.world.spaces, it.report(), it.world.events]).toStrictEqual([[], undefined, []]);
});

test('the reserve is 5 %, at least 1 GiB, or 10 % of a small file system', () => {
  const of = (total: number) => reserveOf({ bytes: { total, used: 0, available: 0 }, inodes: { total: 0, used: 0, available: 0 } });
  expect([of(100 * 2 ** 30), of(12 * 2 ** 30), of(2 ** 30)]).toStrictEqual([5 * 2 ** 30, 2 ** 30, Math.ceil(2 ** 30 / 10)]);
});
