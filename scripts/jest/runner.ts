// A Jest runner: each test file in a process of its own, in Node's one realm, as it is (Node strips the types).
// docs/adr/0013 says why it is not Jest's own runner.
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Config, EmittingTestRunnerInterface, TestEvents, Test as TestFile } from 'jest-runner';

type TestResult = TestEvents['test-file-success'][1];

/** What jest.config.ts may give to the runner of a project. */
export interface RunnerOptions {
  /** One file at a time, in the order of their names: for tests that share the machine's network, or a cluster. */
  serial?: boolean;
  /** How many files of a `serial` project run at the same time all the same, each in a network namespace of its own. Without root: one. */
  workers?: number;
  /** Names of the files that take longest: these are started first. */
  first?: string[];
  /** Limit in milliseconds of each test and hook that brings none of its own. */
  testTimeout?: number;
}

/** What the process of a test file is given. */
export interface Order {
  path: string;
  globalConfig: Config.GlobalConfig;
  config: Config.ProjectConfig;
}

/** What the process of a test file sends. */
export type Message =
  | { type: 'event'; name: 'test-case-start' | 'test-case-result'; data: TestEvents['test-case-result'] }
  | { type: 'result'; result: TestResult }
  | { type: 'error'; message: string; stack: string };

/** Arguments of unshare: what follows them runs on a network that has nothing but a loopback interface. */
const OWN_NETWORK = ['--net', '--', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];

type Listener = (data: never) => void | Promise<void>;

export default class ProcessRunner implements EmittingTestRunnerInterface {
  readonly supportsEventEmitters = true;
  readonly isSerial: boolean;
  readonly #workers: number;
  readonly #first: string[];
  readonly #globalConfig: Config.GlobalConfig;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(globalConfig: Config.GlobalConfig, _context: unknown, options: RunnerOptions = {}) {
    const { testTimeout } = options;
    this.#globalConfig = { ...globalConfig, ...(testTimeout === undefined ? {} : { testTimeout }) };
    this.isSerial = options.serial ?? false;
    const isRoot = process.getuid?.() === 0;
    this.#workers = this.isSerial ? (isRoot && options.workers) || 1 : globalConfig.maxWorkers;
    this.#first = options.first ?? [];
  }

  on<Name extends keyof TestEvents>(name: Name, listener: (data: TestEvents[Name]) => void | Promise<void>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  async runTests(tests: TestFile[], watcher: { isInterrupted(): boolean }): Promise<void> {
    const rank = ({ path }: TestFile) => this.#first.indexOf(basename(path)) + 1 || Number.POSITIVE_INFINITY;
    const byRank = (a: TestFile, b: TestFile) => (rank(a) === rank(b) ? (a.path < b.path ? -1 : 1) : rank(a) - rank(b));
    const queue = this.isSerial ? tests.toSorted(byRank) : [...tests];
    const work = async () => {
      for (let test = queue.shift(); test && !watcher.isInterrupted(); test = queue.shift()) await this.#runFile(test);
    };
    await Promise.all(Array.from({ length: this.#workers }, work));
  }

  async #emit<Name extends keyof TestEvents>(name: Name, data: TestEvents[Name]): Promise<void> {
    for (const listener of this.#listeners.get(name) ?? []) await listener(data as never);
  }

  async #runFile(test: TestFile): Promise<void> {
    await this.#emit('test-file-start', [test]);
    // Another Node.js for the tests, such as that of another platform (docs/releasing.md).
    const node = process.env.TEST_NODE ?? process.execPath;
    const isAlone = this.isSerial && this.#workers === 1;
    const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-test-'));
    const child = fork(join(import.meta.dirname, 'test-file.ts'), {
      // What two files print would mix: of these it is printed when a file fails.
      stdio: ['ignore', isAlone ? 'inherit' : 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, TMPDIR: folder },
      ...(this.isSerial && !isAlone ? { execPath: 'unshare', execArgv: [...OWN_NETWORK, node, ...process.execArgv] } : { execPath: node }),
    });
    const order: Order = { path: test.path, globalConfig: this.#globalConfig, config: test.context.config };
    child.send(order);
    try {
      await this.#emit('test-file-success', [test, await this.#resultOf(child)]);
    } catch (error) {
      await this.#emit('test-file-failure', [test, error as Error & { stack: string }]);
    } finally {
      removeFolder(folder);
    }
  }

  /** The result that the process has sent, once it has ended. @throws Error when it ended badly */
  #resultOf(child: ChildProcess): Promise<TestResult> {
    return new Promise((resolve, reject) => {
      let result: TestResult | undefined;
      let failure: Error | undefined;
      let running = 'before its first test';
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          output += chunk;
        });
      child.on('message', (message: Message) => {
        if (message.type === 'result') result = message.result;
        else if (message.type === 'error') failure = Object.assign(new Error(message.message), { stack: message.stack });
        else {
          if (message.name === 'test-case-start') running = `in "${message.data[1].fullName}"`;
          void this.#emit(message.name, message.data as never);
        }
      });
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (output && (failure || code !== 0 || (result?.numFailingTests ?? 1) > 0)) process.stderr.write(output);
        if (failure) reject(failure);
        else if (result && code === 0) resolve(result);
        else reject(Object.assign(new Error(`the process ended with ${signal ?? code} ${running}`), { stack: '' }));
      });
    });
  }
}

/** Removes what a test file has left in its folder for temporary files; not through a mount, which may lead to anything. */
function removeFolder(folder: string): void {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder}/`)) console.error(`a test has left a mount in ${folder}`);
  else rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
