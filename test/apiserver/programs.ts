import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT } from '../testbed/paths.ts';
import type { ApiServer } from './server.ts';

const START_MS = 120_000;

/** One of our programs as a process of its own, as in a pod. Its log goes to ours when the test is run with DEBUG set. */
export class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;
  #log = '';

  /** @param main such as `operator/main.ts` */
  constructor(main: string, args: readonly string[]) {
    this.#name = main;
    // The kernel ends it when this process dies, however that comes about.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, join(ROOT, main), ...args], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
      if (process.env.DEBUG) process.stderr.write(text);
    });
    const kill = () => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#child.once('exit', () => process.removeListener('exit', kill));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Everything logged so far: lines of JSON. */
  get log(): string {
    return this.#log;
  }

  /** Waits until the program says at `address` (HOST:PORT) that it is ready. */
  async ready(address: string): Promise<void> {
    const limit = Date.now() + START_MS;
    for (;;) {
      const answer = await fetch(`http://${address}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      if (this.#child.exitCode !== null || Date.now() > limit)
        throw new Error(`${this.#name} is not ready: ${(await answer?.text()) ?? ''}\n${this.#log.slice(-3_000)}`);
      await delay(30);
    }
  }

  /** Ends it as Kubernetes does. @returns the exit status */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/**
 * Starts the operator. It is not ready when this returns.
 * @param http where it serves health and metrics, HOST:PORT
 * @param more arguments beside those that it always needs
 */
export function startOperator({ kubeconfig }: Pick<ApiServer, 'kubeconfig'>, http: string, ...more: string[]): Program {
  return new Program('operator/main.ts', [`--kubeconfig=${kubeconfig}`, `--http=${http}`, '--namespace=default', ...more]);
}

/** Ends what a `describe` has started, for the second argument of serveTests: its loops, then its program. */
export function endOf(stop: AbortController, running: readonly Promise<void>[], program: () => Program | undefined): () => Promise<void> {
  return async () => {
    stop.abort();
    await Promise.all(running);
    await program()?.kill();
  };
}
