import assert from 'node:assert/strict';
import { type AoEVolume, RECLAIM } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { block, mountOf } from '../testing/calls.ts';
import { START, staged } from '../testing/free-space.ts';
import { dueInMs, partOf, Schedule } from './schedule.ts';
import type { Zeroed } from './zero-free-space.ts';

const HOUR = 3_600_000;
const MiB = 2 ** 20;
const WEEK = 168 * HOUR;
const NOW = Date.parse('2026-11-29T01:00:00Z');
const facts = { everyMs: WEEK, waitMs: WEEK, lastAt: NOW - WEEK, now: NOW, knownMs: WEEK, isInherited: false, endedMs: undefined, part: 0 };

for (const [what, change, expected] of [
  ['a week after the last one', {}, 0],
  ['not an hour before', { lastAt: NOW - WEEK + HOUR }, HOUR],
  ['later by its part of six hours, for a long period', { part: 0.5 }, 3 * HOUR],
  ['later by its part of a tenth, for a short period', { everyMs: HOUR, waitMs: HOUR, lastAt: NOW - HOUR, part: 0.5 }, HOUR / 20],
  ['one that is long due, within the spread from when it was known', { lastAt: NOW - 9 * WEEK, knownMs: HOUR, part: 0.5 }, 2 * HOUR],
  [
    'one that is long due and had its schedule before, within half an hour',
    { lastAt: NOW - 9 * WEEK, knownMs: 0, part: 0.5, isInherited: true },
    HOUR / 4,
  ],
  [
    'one that is due within its spread, later by its part',
    { lastAt: NOW - WEEK - 5 * HOUR, knownMs: 0, part: 0.5, isInherited: true },
    3 * HOUR,
  ],
  ['one about which nothing is known, in the same way', { lastAt: undefined, knownMs: HOUR, part: 0.5 }, 2 * HOUR],
  ['one whose last time is a little ahead, a period after that', { lastAt: NOW + HOUR }, WEEK + HOUR],
  ['one whose last time is years ahead, as if there were none', { lastAt: NOW + 99 * WEEK, knownMs: 0 }, 0],
  ['never within a period of the own last run, whatever times say', { lastAt: undefined, endedMs: HOUR }, WEEK - HOUR],
] as const) {
  test(`a run is due ${what}`, () => {
    expect(dueInMs({ ...facts, ...change })).toBe(expected);
  });
}

test('the parts of volumes are all over the spread, and stay the same', () => {
  const parts = Array.from({ length: 1000 }, (_, index) => partOf(`uid-${index}`));
  for (let tenth = 0; tenth < 10; tenth++)
    expect(parts.filter((part) => Math.floor(part * 10) === tenth).length, `${tenth}`).toBeGreaterThan(50);
  expect(partOf('uid-7')).toBe(parts[7]);
});

test('volumes that get a schedule together do not begin together, and a new period begins a new spread', () => {
  const clock = { passed: 0, now: () => clock.passed, date: () => new Date(NOW + clock.passed) };
  const schedule = new Schedule(clock);
  const volumeOf = (index: number, reclaimEvery: string | undefined): AoEVolume => ({
    apiVersion: 'aoe.dev/v1alpha1',
    kind: 'AoEVolume',
    metadata: { name: `v${index}`, uid: `uid-${index}`, creationTimestamp: '2020-01-01T00:00:00Z' },
    spec: { access: 'Exclusive', initiators: {}, reclaimEvery },
  });
  const due = (every: string | undefined) =>
    Array.from({ length: 100 }, (_, index) => index).filter((index) => schedule.isDue(volumeOf(index, every)));
  expect(due(undefined)).toStrictEqual([]);
  expect(due('168h').length).toBeLessThan(5);
  clock.passed = 3 * HOUR;
  const atHalf = due('168h').length;
  expect(atHalf).toBeGreaterThan(30);
  expect(atHalf).toBeLessThan(70);
  expect(due('100h').length, 'of another period').toBeLessThan(5);
  clock.passed += 6 * HOUR;
  expect(due('100h')).toHaveLength(100);
});

/** More than the longest spread of a period of 24 h. */
const SPREAD = 3 * HOUR;

/** A node with volume `v1`, which was made when the world began and is to have a run each day. */
async function scheduled(capability = mountOf()) {
  const it = await staged(capability);
  it.volume.metadata.creationTimestamp = START;
  it.volume.spec.reclaimEvery = '24h';
  const runs = it.runs();
  /** Lets time pass with a check every ten minutes. */
  const pass = async (hours: number, of = runs): Promise<void> => {
    for (let step = 0; step < hours * 6; step++) {
      it.clock.passed += HOUR / 6;
      await it.check(of);
    }
  };
  await it.check(runs);
  return { ...it, now: runs, pass };
}

/** A scheduled run that goes on until it is ended. */
async function begun(it: Awaited<ReturnType<typeof scheduled>>): Promise<{ run: Promise<void> }> {
  it.clock.passed += 24 * HOUR + SPREAD;
  const zeroing = Promise.withResolvers<void>();
  it.world.zero = () => {
    zeroing.resolve();
    return new Promise(() => {});
  };
  const run = it.check(it.now);
  await zeroing.promise;
  return { run };
}

test('a volume has its first run a period after it was made, and then one each period', async () => {
  const it = await scheduled();
  await it.pass(23);
  expect([it.world.spaces, it.report()]).toStrictEqual([[], undefined]);
  await it.pass(1 + SPREAD / HOUR);
  expect(it.report()).toMatchObject({ request: '', scheduled: true, state: 'Done', bytes: 40 * MiB, startedAt: expect.any(String) });
  expect(it.world.events).toStrictEqual([expect.stringMatching(/^Normal FreeSpaceReclaimed/)]);
  await it.pass(21);
  expect(it.world.spaces).toHaveLength(1);
  await it.pass(7 * 24);
  expect([7, 8]).toContain(it.world.spaces.length);
});

test('a period that is changed counts from then on, and without one there are no more runs', async () => {
  const it = await scheduled();
  it.volume.spec.reclaimEvery = '2h';
  await it.pass(3);
  expect(it.world.spaces).toHaveLength(1);
  delete it.volume.spec.reclaimEvery;
  await it.pass(100);
  expect(it.world.spaces).toHaveLength(1);
  it.volume.spec.reclaimEvery = 'weekly';
  await it.pass(500);
  expect(it.world.spaces, 'no time, as an API server that does not check it might take it').toHaveLength(1);
});

test('a run by hand counts for the schedule, and a scheduled one does not repeat what was asked for by hand', async () => {
  const it = await scheduled();
  await it.pass(20);
  it.ask('now');
  await it.check(it.now);
  expect(it.report()).toMatchObject({ request: 'now', state: 'Done' });
  expect(it.report()).not.toHaveProperty('scheduled');
  await it.pass(23);
  expect(it.world.spaces).toHaveLength(1);
  await it.pass(1 + SPREAD / HOUR);
  expect(it.report()).toMatchObject({ request: 'now', scheduled: true, state: 'Done' });
  expect(it.world.spaces).toHaveLength(2);
  await it.check(it.runs());
  expect(it.world.spaces, 'the request was answered').toHaveLength(2);
  it.ask('again');
  await it.check(it.now);
  expect(it.report()).toMatchObject({ request: 'again', state: 'Done' });
  expect(it.report()).not.toHaveProperty('scheduled');
});

test('a run that failed is not begun again before the next period', async () => {
  const it = await scheduled();
  it.world.zero = () => Promise.reject(new Error('dd: Input/output error'));
  await it.pass(24 + SPREAD / HOUR);
  expect(it.report()).toMatchObject({
    scheduled: true,
    state: 'Failed',
    finishedAt: expect.any(String),
    message: 'dd: Input/output error',
  });
  await it.pass(10);
  // Not by a node plugin that is started again, either.
  await it.pass(10, it.runs());
  expect(it.world.spaces).toHaveLength(1);
  await it.pass(4 + SPREAD / HOUR, it.runs());
  expect(it.world.spaces).toHaveLength(2);
});

for (const [what, capability, status, message] of [
  ['a block volume', block, {}, /used as a block device/],
  ['a pool that gets nothing back', mountOf(), { reclaimsZeros: false }, /pool p gets nothing back/],
] as const) {
  test(`a schedule of ${what} is refused, and that is said once`, async () => {
    const it = await scheduled(capability);
    it.volume.status = { ...it.volume.status, ...status };
    await it.pass(24 + SPREAD / HOUR);
    const first = it.report();
    expect(first).toMatchObject({ scheduled: true, state: 'Refused', message });
    let writes = 0;
    const record = it.node.volumes.record.bind(it.node.volumes);
    it.node.volumes.record = (...args) => {
      writes++;
      return record(...args);
    };
    await it.pass(4 * 24);
    expect(it.world.events).toStrictEqual([expect.stringMatching(/^Warning ReclaimRefused/)]);
    expect([3, 4]).toContain(writes);
    expect(it.world.spaces).toStrictEqual([]);
    it.ask('now');
    await it.check(it.now);
    expect(it.world.events, 'somebody who asks gets an answer').toHaveLength(2);
  });
}

test('a volume that is long due has its run on a node that lives for less than an hour', async () => {
  const it = await scheduled();
  it.volume.spec.reclaimEvery = '168h';
  it.clock.passed += 2 * WEEK;
  await it.pass(0.7, it.runs());
  expect(it.report()).toMatchObject({ scheduled: true, state: 'Done' });
});

for (const what of ['refused', 'ended'] as const) {
  test(`a run that was ${what} because status.reclaimsZeros was absent is tried again soon after it is true, and not before`, async () => {
    const it = await scheduled();
    const begins = what === 'ended' ? await begun(it) : undefined;
    it.volume.status = { ...it.volume.status, reclaimsZeros: undefined };
    if (begins) await it.check(it.now);
    else await it.pass(24 + SPREAD / HOUR);
    await begins?.run;
    it.world.zero = async () => ({ bytes: 1, end: 'all' });
    const before = it.world.spaces.length;
    expect(it.report()).toMatchObject({ scheduled: true, reason: 'ReclaimsZerosAbsent', finishedAt: expect.any(String) });
    await it.pass(10);
    expect(it.world.spaces).toHaveLength(before);
    it.volume.status = { ...it.volume.status, reclaimsZeros: true };
    await it.check(it.now);
    await it.pass(1);
    expect(it.world.spaces).toHaveLength(before + 1);
    expect(it.report()).toMatchObject({ scheduled: true, state: 'Done' });
    expect(it.report()).not.toHaveProperty('reason');
    await it.pass(20);
    expect(it.world.spaces).toHaveLength(before + 1);
  });
}

test('a run that an unmount has cut short begins again some hours later where the volume is used then, and not at each mount', async () => {
  const it = await scheduled();
  const { run } = await begun(it);
  await it.unstage();
  await run;
  expect(it.report()).toMatchObject({ scheduled: true, state: 'Running' });
  it.world.zero = async () => ({ bytes: 1, end: 'all' });
  // With a node plugin that is started again after each hour.
  for (let hour = 0; hour < 5; hour++) {
    await it.stage();
    await it.pass(1, it.runs());
    expect(it.world.spaces, `${hour}`).toHaveLength(1);
    await it.unstage();
  }
  await it.stage();
  await it.pass(1 + SPREAD / HOUR, it.runs());
  expect(it.report()).toMatchObject({ request: '', scheduled: true, state: 'Done', bytes: 1 });
});

test('a run ends when its schedule is taken away, and one that was cut short before that does not begin again', async () => {
  const it = await scheduled();
  const { run } = await begun(it);
  await it.check(it.now);
  expect(it.report()?.state, 'it is still wanted').toBe('Running');
  delete it.volume.spec.reclaimEvery;
  await it.check(it.now);
  await run;
  expect(it.report()).toMatchObject({ state: 'Failed', message: 'spec.reclaimEvery was taken away' });
  expect(it.world.events).toStrictEqual([expect.stringMatching(/^Warning ReclaimStopped/)]);
  it.volume.status = {
    ...it.volume.status,
    reclaim: { request: '', scheduled: true, node: 'worker-2', state: 'Running', startedAt: START },
  };
  await it.check(it.now);
  expect(it.report()).toMatchObject({
    state: 'Failed',
    startedAt: START,
    message: 'it was cut short, and spec.reclaimEvery was taken away',
  });
  expect(it.world.spaces).toHaveLength(1);
});

test('a run that somebody asked for by hand goes on without a schedule', async () => {
  const it = await scheduled();
  it.ask('now');
  const { run } = await begun(it);
  delete it.volume.spec.reclaimEvery;
  await it.check(it.now);
  expect(it.report()).toMatchObject({ request: 'now', state: 'Running' });
  await it.now.stop('e7.3');
  await run;
});

/** A scheduled run, at whose end the API server is away. @returns what ends that */
async function runWithoutApi(it: Awaited<ReturnType<typeof scheduled>>): Promise<() => void> {
  const record = it.node.volumes.record.bind(it.node.volumes);
  it.world.zero = async () => {
    it.node.volumes.record = () => Promise.reject(new RpcError(Code.UNAVAILABLE, 'away'));
    return { bytes: 1, end: 'all' };
  };
  await it.pass(24 + SPREAD / HOUR);
  return () => {
    it.node.volumes.record = record;
  };
}

test('a result that the API server does not take is written at the next check, and nothing is done twice', async () => {
  const it = await scheduled();
  const isBack = await runWithoutApi(it);
  expect(it.report()).toMatchObject({ state: 'Running' });
  isBack();
  await it.check(it.now);
  expect(it.report()).toMatchObject({ scheduled: true, state: 'Done' });
  expect(it.world.spaces).toHaveLength(1);
});

test('a report from a clock that is a year ahead neither ends the runs nor begins them again and again', async () => {
  const it = await scheduled();
  const finishedAt = '2027-11-29T01:00:00.000Z';
  it.volume.status = { ...it.volume.status, reclaim: { request: '', scheduled: true, node: 'worker-2', state: 'Done', finishedAt } };
  await it.pass(SPREAD / HOUR);
  expect(it.world.spaces).toHaveLength(1);
  // From now on the clock of this node is wrong.
  it.clock.wrongBy = -365 * 24 * HOUR;
  await it.pass(20);
  expect(it.world.spaces).toHaveLength(1);
  await it.pass(4 + SPREAD / HOUR);
  expect(it.world.spaces).toHaveLength(2);
});

test('a result that was not written is dropped when the volume had a run on another node since', async () => {
  const it = await scheduled();
  const isBack = await runWithoutApi(it);
  isBack();
  it.clock.passed += 24 * HOUR + SPREAD;
  const elsewhere = { request: '', scheduled: true, node: 'worker-2', state: 'Done', finishedAt: START } as const;
  it.volume.status = { ...it.volume.status, reclaim: elsewhere };
  it.world.zero = async () => ({ bytes: 2, end: 'all' });
  await it.check(it.now);
  expect(it.report()).toMatchObject({ state: 'Done', bytes: 2, finishedAt: it.clock.date().toISOString() });
});

test('a run by hand comes before scheduled ones that wait for their turn', async () => {
  const it = await scheduled();
  const record = (await it.node.deps.staged.get('v1')) ?? assert.fail();
  /** Another volume of the node, made when the world began. */
  const use = async (name: string, annotations: Record<string, string>): Promise<AoEVolume> => {
    const volume = structuredClone(it.volume) as AoEVolume;
    volume.metadata = { ...volume.metadata, name, uid: `uid-of-${name}`, annotations };
    it.node.volumes.items.set(name, volume);
    await it.node.deps.staged.put(name, { ...record, volumeUID: `uid-of-${name}` });
    await it.now.check(name, structuredClone({ ...volume, metadata: { ...volume.metadata, annotations: {} } }) as AoEVolume);
    return volume;
  };
  const due = await use('due', {});
  const asked = await use('asked', { [RECLAIM]: 'now' });
  const [zeroing, first] = [Promise.withResolvers<void>(), Promise.withResolvers<Zeroed>()];
  it.clock.passed += 24 * HOUR + SPREAD;
  it.world.zero = () => {
    zeroing.resolve();
    return first.promise;
  };
  const checks = [it.check(it.now)];
  await zeroing.promise;
  checks.push(...[due, asked].map((each) => it.now.check(each.metadata.name, structuredClone(each) as AoEVolume)));
  first.resolve({ bytes: 1, end: 'all' });
  await Promise.all(checks);
  expect([it.report()?.state, due.status?.reclaim, asked.status?.reclaim?.request]).toStrictEqual(['Done', undefined, 'now']);
  await it.now.check('due', structuredClone(due) as AoEVolume);
  expect(due.status?.reclaim).toMatchObject({ scheduled: true, state: 'Done' });
});
