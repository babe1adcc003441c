import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PATIENCE } from '../testbed/process/patience.ts';

const run = promisify(execFile);

/** A network namespace with a cable in it: targets sit at `target0`, initiators at `host0`. Disposing removes all of it. */
export class WireLab implements AsyncDisposable {
  readonly name = `aoe-wire-${process.pid}`;
  readonly directory: string;
  readonly #stops: (() => Promise<void>)[] = [];

  /** `folder`: where the disks lie. */
  constructor({ mtu = 1500, folder = tmpdir() }: { mtu?: number; folder?: string } = {}) {
    this.directory = mkdtempSync(join(folder, 'aoe-wire-'));
    execFileSync('ip', ['netns', 'add', this.name]);
    const ip = (...args: string[]): void => void execFileSync('ip', ['-n', this.name, ...args]);
    // The same addresses each time, so that what is reported can be compared.
    const end = (name: string, mac: string): string[] => [name, 'address', mac, 'mtu', String(mtu)];
    ip('link', 'add', ...end('host0', '02:00:5e:00:53:0a'), 'type', 'veth', 'peer', 'name', ...end('target0', '02:00:5e:00:53:01'));
    ip('link', 'set', 'host0', 'up');
    ip('link', 'set', 'target0', 'up');
  }

  /** A sparse file to export. */
  disk(name: string, bytes: number): string {
    const path = join(this.directory, name);
    writeFileSync(path, '');
    truncateSync(path, bytes);
    return path;
  }

  /** Starts a program in the namespace; it is killed at the end, or by the returned function. */
  start(command: string, ...args: string[]): () => Promise<void> {
    return this.process([command, ...args]).stop;
  }

  /** The same, with the process itself and its standard error. */
  process(command: readonly string[], stderr: 'ignore' | 'pipe' = 'ignore'): { child: ChildProcess; stop: () => Promise<void> } {
    const child = spawn('ip', ['netns', 'exec', this.name, ...command], { stdio: ['ignore', 'ignore', stderr] });
    const gone = new Promise<void>((resolve) => child.on('exit', () => resolve()));
    const stop = async (): Promise<void> => {
      child.kill('SIGKILL');
      await gone;
    };
    this.#stops.push(stop);
    return { child, stop };
  }

  /**
   * Starts a program in the namespace again whenever it ends. The returned command for a shell there ends it, and thus
   * restarts it.
   */
  keepRunning(command: string, ...args: string[]): string {
    const pid = join(this.directory, 'pid');
    // It writes its number before it does anything: whoever has its answer can end it.
    const once = `echo $$ > "$0"; exec "$@"`;
    const loop = `while :; do bash -c '${once}' '${pid}' "$@"; sleep 0.1; done`;
    this.start('bash', '-c', loop, command, command, ...args);
    return `kill -9 $(cat '${pid}')`;
  }

  /** Runs a program in the namespace and returns what it wrote. */
  async exec(command: string, ...args: string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.name, command, ...args], { timeout: 60_000 * PATIENCE })).stdout;
  }

  /** Runs the steps of `host.ts` there, one after the other; the result has an entry for each. */
  async host(shelf: number, slot: number, ...steps: string[]): Promise<unknown[]> {
    const script = join(import.meta.dirname, 'host.ts');
    return JSON.parse(await this.exec(process.execPath, script, 'host0', String(shelf), String(slot), ...steps));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
    // What a program started there may have outlived it.
    for (const pid of execFileSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' }).split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It is gone.
      }
    }
    execFileSync('ip', ['netns', 'del', this.name]);
    rmSync(this.directory, { recursive: true, maxRetries: 5 });
  }
}
