import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** Before a program that ended by itself is started again, as the kubelet does. */
const RESTART_MS = 50;
/** Bytes of the log. */
const LAST_WORDS = 1_500;

/** A program of ours that is killed and started again at any moment. */
export class Part implements AsyncDisposable {
  readonly name: string;
  readonly #argv: readonly string[];
  readonly #log: string;
  #child: ChildProcess | undefined;
  /** The last lines of its log, for each time that it ended by itself. */
  readonly surprises: string[] = [];

  /** @param log file for all that it writes */
  constructor(name: string, argv: readonly string[], log: string) {
    this.name = name;
    this.#argv = argv;
    this.#log = log;
  }

  /** 0 while it is not running. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  start(): void {
    if (this.#child) return;
    const [program = '', ...args] = this.#argv;
    const log = openSync(this.#log, 'a');
    // The kernel ends it when this process dies, however that comes about.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    child.once('exit', () => {
      if (this.#child !== child) return;
      this.surprises.push(this.tail(LAST_WORDS).split('\n').slice(-2).join(' ').trim());
      this.#child = undefined;
      setTimeout(() => this.start(), RESTART_MS);
    });
  }

  /** SIGKILL; it is gone when this returns. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** SIGSTOP. A part that is not there, or is replaced meanwhile, is left alone. @returns what lets it go on */
  stop(): () => void {
    const child = this.#child;
    child?.kill('SIGSTOP');
    return () => void child?.kill('SIGCONT');
  }

  /** The end of what it wrote. */
  tail(bytes = 20_000): string {
    return readFileSync(this.#log, 'utf8').slice(-bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
