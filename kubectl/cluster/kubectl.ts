import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { type Right, refusedRight } from './right.ts';

/** How a program is started: {@link startKubectl}, or a fake in tests. */
export type Start = (args: readonly string[], options: RunOptions) => Promise<Ended>;

export interface RunOptions {
  /** Limit in milliseconds: then the program is killed. */
  readonly timeoutMs: number;
  /** Gets the output while it comes, instead of {@link Ended.stdout}. */
  readonly to?: Writable | undefined;
}

export interface Ended {
  /** Exit status; undefined when it was killed at its limit. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the program `kubectl` answered instead of doing what it was asked. */
export class KubectlError extends Error {
  override readonly name = 'KubectlError';
  /** `Status.reason` of the API server, such as `NotFound`; empty when the answer has none. */
  readonly reason: string;
  /** The right that is missing, when that is why. */
  readonly right: Right | undefined;

  constructor(what: string, stderr: string) {
    const said = stderr.trim().replace(/^(?:error: |Error from server \([A-Za-z]+\): )/, '');
    super(`${what}: ${said === '' ? 'kubectl gave no reason' : said}`);
    this.reason = /^Error from server \(([A-Za-z]+)\)/m.exec(stderr)?.[1] ?? '';
    this.right = refusedRight(stderr);
  }
}

/** Which cluster, as for kubectl itself. */
export interface Connection {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * The program `kubectl`, which does everything here that concerns the cluster, with the rights of the person who started it:
 * docs/adr/0025.
 */
export class Kubectl {
  readonly #start: Start;
  readonly #connection: readonly string[];

  constructor({ kubeconfig, context }: Connection, start: Start = startKubectl) {
    this.#start = start;
    this.#connection = [
      ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
      ...(context === undefined ? [] : [`--context=${context}`]),
    ];
  }

  /**
   * @returns what it wrote to its output
   * @throws KubectlError
   */
  async run(args: readonly string[], options: RunOptions): Promise<string> {
    const { code, stdout, stderr } = await this.#start([...this.#connection, ...args], options);
    if (code === 0) return stdout;
    const what = `kubectl ${args.slice(0, 2).join(' ')}`;
    if (code === undefined) throw new KubectlError(what, `took longer than ${options.timeoutMs / 1000} s and was ended`);
    throw new KubectlError(what, stderr || stdout);
  }
}

const NOT_THERE = 'the program kubectl cannot be started: it must be in the PATH';

/**
 * Starts `kubectl` from the PATH. Its input is empty, but a plugin for credentials can ask on the terminal itself.
 * @throws Error when there is no such program, or when its output cannot be written
 */
export function startKubectl(args: readonly string[], { timeoutMs, to }: RunOptions): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    if (to) {
      child.stdout.pipe(to, { end: false });
      // Nobody reads its output any longer, so it would wait until its limit.
      to.once('error', (error) => {
        child.kill('SIGKILL');
        reject(error);
      });
    } else child.stdout.on('data', (part: Buffer) => out.push(part));
    child.stderr.on('data', (part: Buffer) => err.push(part));
    child.once('error', (cause) => reject(new Error(NOT_THERE, { cause })));
    child.once('close', (code) =>
      resolve({ code: code ?? undefined, stdout: Buffer.concat(out).toString('utf8'), stderr: Buffer.concat(err).toString('utf8') }),
    );
  });
}
