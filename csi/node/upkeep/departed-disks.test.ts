import { DepartedDisks } from './departed-disks.ts';

/** A disk that the kernel has, and what became of it. */
function setUp(options: { present?: boolean; busy?: boolean; stagedAgain?: boolean; successor?: string } = {}) {
  const flushed: string[] = [];
  let present = options.present ?? true;
  const parts = {
    driver: {
      disk: async () => (present ? { device: '152:0' } : undefined),
      state: async () => 'up',
      busy: async () => options.busy ?? false,
      flush: async (address: string) => {
        flushed.push(address);
        present = false;
      },
    },
    staged: { get: async () => (options.stagedAgain ? {} : undefined), successor: async () => options.successor },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  };
  return { disks: new DepartedDisks(parts as never), flushed };
}

/** Lets the promises of a look settle. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a disk that discovery brings back after it was unstaged is removed again, once', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const { disks, flushed } = setUp();
  disks.add('v1', 'e7.3');
  jest.advanceTimersByTime(1_000);
  await settle();
  jest.advanceTimersByTime(100_000);
  await settle();
  expect(flushed).toStrictEqual(['e7.3']);
});

for (const [why, options] of Object.entries({
  'is not there': { present: false },
  'is in use by somebody': { busy: true },
  'is staged again': { stagedAgain: true },
  'is another volume’s by now': { successor: 'v2' },
})) {
  test(`a disk that ${why} is left alone`, async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    const { disks, flushed } = setUp(options);
    disks.add('v1', 'e7.3');
    jest.advanceTimersByTime(100_000);
    await settle();
    expect(flushed).toStrictEqual([]);
  });
}
