import { FakeClock } from '../../../kube/testing/fake-clock.ts';
import { Code } from '../../../rpc/status.ts';
import { FakeFreezer, FakeKernel } from '../testing/fake-freezer.ts';
import { FreezeSessions } from './sessions.ts';

const DEVICE = '7:1';
const LIMIT_MS = 30_000;
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const { signal } = new AbortController();

let clock: FakeClock;
beforeEach(() => {
  clock = new FakeClock();
});

/** A plugin that has just been started on a node. */
async function start(kernel = new FakeKernel()) {
  const freezer = new FakeFreezer(kernel);
  const seconds: number[] = [];
  const sessions = new FreezeSessions({
    freezer,
    records: freezer,
    limitMs: LIMIT_MS,
    clock: clock.machine(),
    frozenFor: (each) => seconds.push(each),
    log,
  });
  await sessions.recover(signal);
  return { kernel, freezer, sessions, seconds };
}
const pass = (ms: number) => clock.pass(ms);

test('a file system is frozen, recorded before, until it is thawed', async () => {
  const { kernel, freezer, sessions, seconds } = await start();
  const seen: string[] = [];
  freezer.step = async (name) => {
    if (name === 'freeze') expect([...kernel.records.values()]).toMatchObject([{ volumeId: 'v1', device: DEVICE, bootId: 'boot-1' }]);
    if (name === 'delete') expect(kernel.frozen.size).toBe(0);
    seen.push(name);
  };
  await sessions.freeze('v1', 'f1', DEVICE);
  expect(kernel.frozen).toEqual(new Set([DEVICE]));
  // A repetition of the request.
  await sessions.freeze('v1', 'f1', DEVICE);
  await pass(2_000);
  expect(await sessions.thaw('f1')).toBeUndefined();
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
  expect(seen).toEqual(['put', 'recorded', 'freeze', 'frozen', 'thaw', 'thawed', 'delete', 'deleted']);
  expect(seconds).toHaveLength(1);
  expect(await sessions.thaw('f1')).toMatch('has ended before');
  await expect(sessions.freeze('v1', 'f1', DEVICE)).rejects.toThrow('has ended already');
});

test('who asks again is not told that it was frozen until then, though its record could not be removed yet', async () => {
  const { kernel, freezer, sessions } = await start();
  freezer.step = async (name) => {
    if (name === 'delete') throw new Error('the disk is full');
  };
  await sessions.freeze('v1', 'f1', DEVICE);
  const first = sessions.thaw('f1');
  await pass(1);
  expect(kernel.frozen.size).toBe(0);
  const second = sessions.thaw('f1');
  freezer.step = async () => {};
  await pass(1_000);
  expect([await first, await second]).toEqual([undefined, 'the freeze has ended before']);
});

test('it ends at the limit, though nobody asks', async () => {
  const { kernel, sessions } = await start();
  await sessions.freeze('v1', 'f1', DEVICE);
  await pass(LIMIT_MS - 1);
  expect(kernel.frozen.size).toBe(1);
  await pass(1);
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
  expect(await sessions.thaw('f1')).toBeDefined();
});

test('a freeze that hangs is given up at the limit, and thawed when it takes effect after all, by this plugin or the next one', async () => {
  for (const isRestarted of [false, true]) {
    const { kernel, freezer, sessions } = await start();
    freezer.isSlow = true;
    const frozen = expect(sessions.freeze('v1', 'f1', DEVICE)).rejects.toThrow();
    await pass(LIMIT_MS);
    await frozen;
    await pass(5_000);
    expect(kernel.records.size).toBe(1);
    if (isRestarted) {
      freezer.step = () => new Promise(() => {});
      await start(kernel);
    }
    kernel.complete();
    expect(kernel.frozen.size).toBe(1);
    await pass(1_000);
    expect(kernel.frozen.size + kernel.records.size).toBe(0);
  }
});

test('what an earlier start has left is thawed, and forgotten when the node was started since', async () => {
  const kernel = new FakeKernel();
  const { sessions } = await start(kernel);
  await sessions.freeze('v1', 'f1', DEVICE);
  const again = await start(kernel);
  await pass(0);
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
  expect(await again.sessions.thaw('f1')).toMatch('was restarted');

  await again.sessions.freeze('v1', 'f2', DEVICE);
  kernel.boot = 'boot-2';
  await start(kernel);
  expect(kernel.records.size).toBe(0);
});

test('records that cannot be read are read again, and nothing is frozen before', async () => {
  const kernel = new FakeKernel();
  const freezer = new FakeFreezer(kernel);
  const sessions = new FreezeSessions({ freezer, records: freezer, limitMs: LIMIT_MS, clock: clock.machine(), log });
  let isBroken = true;
  freezer.step = async (name) => {
    if (name === 'list' && isBroken) throw new Error('EIO');
  };
  const recovered = sessions.recover(signal);
  await pass(1_200);
  await expect(sessions.freeze('v1', 'f1', DEVICE)).rejects.toThrow('just been started');
  isBroken = false;
  await pass(600);
  await recovered;
  await sessions.freeze('v1', 'f1', DEVICE);
});

test('what somebody else has frozen is left alone; what somebody else has thawed was not frozen throughout', async () => {
  const { kernel, sessions } = await start();
  kernel.frozen.add(DEVICE);
  await expect(sessions.freeze('v1', 'f1', DEVICE)).rejects.toThrow('somebody else has frozen it');
  expect(kernel.frozen.size).toBe(1);
  expect(kernel.records.size).toBe(0);
  kernel.frozen.clear();
  await sessions.freeze('v1', 'f2', DEVICE);
  kernel.frozen.clear();
  expect(await sessions.thaw('f2')).toMatch('somebody else has thawed it');
});

test('one freeze of a volume at a time, and a call of the kubelet ends it', async () => {
  const { kernel, freezer, sessions } = await start();
  await sessions.freeze('v1', 'f1', DEVICE);
  await expect(sessions.freeze('v1', 'f2', DEVICE)).rejects.toThrow('for another snapshot');
  await sessions.end('v1', 'NodeUnstageVolume was called', signal);
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
  expect(await sessions.thaw('f1')).toBeDefined();

  // The disk does not answer: the call fails, and the thaw is tried again.
  await sessions.freeze('v1', 'f3', DEVICE);
  let answers = false;
  freezer.step = async (name) => {
    if (name === 'thaw' && !answers) throw new Error('took longer than 10 s');
  };
  const ended = expect(sessions.end('v1', 'NodeUnstageVolume was called', signal)).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  await pass(10_000);
  await ended;
  answers = true;
  await pass(1_000);
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
});

test('a stage is not held up by what can be thawed only once it is mounted', async () => {
  const { kernel, sessions } = await start();
  await sessions.freeze('v1', 'f1', DEVICE);
  kernel.mounted.clear();
  const ended = sessions.end('v1', 'NodeStageVolume was called', signal);
  await pass(10_000);
  await ended;
  expect(kernel.records.size).toBe(1);
  kernel.mounted.add(DEVICE);
  await pass(10_000);
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
});

test('a freeze that nobody waits for any more is ended, and so are all when the plugin stops', async () => {
  const { kernel, sessions } = await start();
  await sessions.freeze('v1', 'f1', DEVICE);
  sessions.abandon('f2');
  await pass(10);
  expect(kernel.frozen.size).toBe(1);
  sessions.abandon('f1');
  await pass(10);
  expect(kernel.frozen.size).toBe(0);
  await sessions.freeze('v1', 'f3', DEVICE);
  await sessions.stop();
  expect(kernel.frozen.size + kernel.records.size).toBe(0);
});

test('a volume that is not mounted has only to stay so', async () => {
  const { kernel, sessions } = await start();
  await sessions.freeze('v1', 'f1', undefined);
  expect(kernel.records.size).toBe(0);
  expect(await sessions.thaw('f1')).toBeUndefined();
  await sessions.freeze('v1', 'f2', undefined);
  await sessions.end('v1', 'NodeStageVolume was called', signal);
  expect(await sessions.thaw('f2')).toBeDefined();
});
