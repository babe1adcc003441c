import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ProcessRunner, { type RunnerOptions } from './runner.ts';

/** What Jest gives to a runner, as far as it is read. */
const globalConfig = { maxWorkers: 2, testTimeout: 5_000 };
const config = {
  snapshotSerializers: [],
  setupFilesAfterEnv: [join(import.meta.dirname, 'setup.ts')],
  injectGlobals: true,
  fakeTimers: {},
};

describe('the runner', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-runner-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Runs test files; gives what each file came to, and each of its tests. */
  async function run(files: Record<string, string>, options: RunnerOptions = {}) {
    const runner = new ProcessRunner(globalConfig as never, undefined, options);
    const events: string[] = [];
    runner.on('test-file-start', ([{ path }]) => void events.push(`start ${path.slice(folder.length + 1)}`));
    runner.on(
      'test-case-result',
      ([, { fullName, status, failureMessages }]) => void events.push([fullName, status, ...failureMessages].join(': ')),
    );
    runner.on('test-file-success', ([{ path }]) => void events.push(`end ${path.slice(folder.length + 1)}`));
    runner.on('test-file-failure', ([, { message }]) => void events.push(`failed ${message}`));
    const tests = Object.entries(files).map(([name, text]) => {
      writeFileSync(join(folder, name), text);
      return { path: join(folder, name), context: { config: { ...config, rootDir: folder } } };
    });
    await runner.runTests(tests as never, { isInterrupted: () => false });
    return events;
  }

  it('runs one file after the other, in the order of their names, when that is asked for', async () => {
    const pass = "test('passes', () => {});";
    const events = await run({ 'b.ts': pass, 'a.ts': pass }, { serial: true });
    expect(events).toStrictEqual(['start a.ts', 'passes: passed', 'end a.ts', 'start b.ts', 'passes: passed', 'end b.ts']);
  });

  it('runs the files that take longest first', async () => {
    const pass = "test('passes', () => {});";
    const events = await run({ 'a.ts': pass, 'b.ts': pass, 'c.ts': pass }, { serial: true, first: ['c.ts', 'b.ts'] });
    expect(events.filter((event) => event.startsWith('start'))).toStrictEqual(['start c.ts', 'start b.ts', 'start a.ts']);
  });

  const notRoot = process.getuid?.() === 0 ? undefined : 'needs root';
  it.skipIf(notRoot)('runs two files at once on networks of their own when that is asked for', async () => {
    // Each listens at the same port until the other has been there.
    const meet = (me: string, other: string) => `
      import { once } from 'node:events';
      import { existsSync, writeFileSync } from 'node:fs';
      import { createServer } from 'node:net';
      test('meets', async () => {
        const server = createServer().listen(4711, '127.0.0.1');
        await once(server, 'listening');
        writeFileSync('${folder}/${me}', '');
        while (!existsSync('${folder}/${other}')) await new Promise((resolve) => setTimeout(resolve, 20));
        server.close();
      });`;
    const events = await run({ 'a.ts': meet('a', 'b'), 'b.ts': meet('b', 'a') }, { serial: true, workers: 2, testTimeout: 30_000 });
    expect(events.toSorted()).toStrictEqual(['end a.ts', 'end b.ts', 'meets: passed', 'meets: passed', 'start a.ts', 'start b.ts']);
  });

  it('fails a test that never ends, by its name', async () => {
    const [, first, second] = await run(
      { 'a.ts': "test('waits', () => new Promise(() => {})); test('goes on', () => {});" },
      { testTimeout: 100 },
    );
    expect(first).toMatch(/^waits: failed: .*Exceeded timeout of 100 ms/);
    expect(second).toBe('goes on: passed');
  });

  it('names the test in which a process dies', async () => {
    const events = await run({ 'a.ts': "test('dies', () => process.kill(process.pid, 'SIGKILL'));" });
    expect(events.at(-1)).toBe('failed the process ended with SIGKILL in "dies"');
  });

  it('removes what a test file leaves among temporary files', async () => {
    const leave = `
      import { mkdtempSync, writeFileSync } from 'node:fs';
      import { tmpdir } from 'node:os';
      import { dirname, join } from 'node:path';
      test('leaves', () => writeFileSync('${folder}/left', mkdtempSync(join(tmpdir(), 'left-'))));`;
    const events = await run({ 'a.ts': leave });
    expect(events).toContain('leaves: passed');
    expect(existsSync(dirname(readFileSync(join(folder, 'left'), 'utf8')))).toBe(false);
  });

  it('fails a file that cannot be loaded', async () => {
    expect((await run({ 'a.ts': "import './missing.ts';" })).at(-1)).toMatch(/^failed Cannot find module .*missing\.ts/);
  });

  it('runs tests in the one realm of Node, each file with modules of its own', async () => {
    const events = await run({
      'a.ts': `import { isDeepStrictEqual } from 'node:util';
        test('one realm', () => { if (!isDeepStrictEqual(structuredClone({ a: 1 }), { a: 1 })) throw new Error('two'); });`,
    });
    expect(events[1]).toBe('one realm: passed');
  });
});

describe('what setup.ts adds', () => {
  it('expect() puts the context before the message', async () => {
    expect(() => expect(1, 'of the first').toBe(2)).toThrow(/^of the first\n\n[\s\S]*Expected: .*2/);
    expect(() => expect(1, 'negated').not.toBe(1)).toThrow(/^negated/);
    await expect(expect(Promise.resolve(1), 'promised').resolves.toBe(2)).rejects.toThrow(/^promised/);
  });

  it('toSatisfy() takes what the function accepts', async () => {
    const isTwo = (value: number) => value === 2;
    expect(2).toSatisfy(isTwo);
    await expect(Promise.reject(2)).rejects.toSatisfy(isTwo);
    expect(() => expect(3).toSatisfy(isTwo)).toThrow(/3.* is not what isTwo accepts/);
  });

  const ended: string[] = [];
  it('onTestFinished() is called after the test, what came last first', () => {
    onTestFinished(() => ended.push('first'));
    onTestFinished(() => ended.push('second'));
    expect(ended).toStrictEqual([]);
  });
  it('… and only once', () => {
    expect(ended).toStrictEqual(['second', 'first']);
  });

  it('fake timers end with the test that asked for them', () => {
    jest.useFakeTimers();
    let rang = false;
    setTimeout(() => {
      rang = true;
    }, 60_000);
    jest.advanceTimersByTime(60_000);
    expect(rang).toBe(true);
  });
  it('… the next has real ones', () => new Promise((resolve) => setTimeout(resolve, 1)));
});
