import { DriverBusyError } from '../disk/kernel-driver.ts';
import { FakeNode } from '../testing/fakes.ts';
import { RemovedDisks } from './removed-disks.ts';

/** A node whose kernel has disk e7.3. */
async function setUp(options: { present?: boolean; openedBy?: string[]; stagedAgain?: boolean; successor?: string } = {}) {
  const node = new FakeNode();
  if (options.present !== false) await node.driver.attach('e7.3');
  Object.assign(node.driver.known.get('e7.3') ?? {}, { openedBy: options.openedBy ?? [] });
  const staged = { get: async () => (options.stagedAgain ? {} : undefined), successor: async () => options.successor };
  const { localDisk, log } = node.deps;
  return { disks: new RemovedDisks({ localDisk, staged: staged as never, log }), flushed: node.driver.flushed, driver: node.driver };
}

/** Lets the promises of a check settle. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a disk that discovery brings back after it was unstaged is removed again, once', async () => {
  const { disks, flushed } = await setUp();
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  disks.add('v1', 'e7.3');
  jest.advanceTimersByTime(1_000);
  await settle();
  jest.advanceTimersByTime(100_000);
  await settle();
  expect(flushed).toStrictEqual(['e7.3']);
});

for (const [why, options] of Object.entries({
  'is not there': { present: false },
  'a program has open': { openedBy: ['process 77 (qemu)'] },
  'is staged again': { stagedAgain: true },
  'belongs to another volume by now': { successor: 'v2' },
})) {
  test(`a disk that ${why} stays as it is`, async () => {
    const { disks, flushed } = await setUp(options);
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    disks.add('v1', 'e7.3');
    jest.advanceTimersByTime(100_000);
    await settle();
    expect(flushed).toStrictEqual([]);
  });
}

test('once a volume is to be staged at the address, its disk stays, and a removal under way has ended', async () => {
  const { disks, flushed, driver } = await setUp();
  const openers = Promise.withResolvers<string[]>();
  driver.openers = () => openers.promise;
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  disks.add('v1', 'e7.3');
  jest.advanceTimersByTime(1_000);
  await settle();
  let isCancelled = false;
  const cancelled = disks.cancel('e7.3').then(() => (isCancelled = true));
  await settle();
  expect(isCancelled).toBe(false);
  openers.resolve([]);
  await cancelled;
  expect(flushed).toStrictEqual(['e7.3']);
  await driver.attach('e7.3');
  jest.advanceTimersByTime(100_000);
  await settle();
  expect(flushed).toStrictEqual(['e7.3']);
});

test('a disk that the driver cannot remove now is tried again until it is gone', async () => {
  const { disks, flushed, driver } = await setUp();
  const flush = driver.flush.bind(driver);
  let busy = 10;
  driver.flush = (address: string) => (busy-- > 0 ? Promise.reject(new DriverBusyError(address, ['e7.4'])) : flush(address));
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  disks.add('v1', 'e7.3');
  for (let minute = 0; minute < 15; minute++) {
    jest.advanceTimersByTime(60_000);
    for (let i = 0; i < 10; i++) await settle();
  }
  expect(flushed).toStrictEqual(['e7.3']);
});
