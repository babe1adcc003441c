import './own-network.ts';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Guest } from '../testbed/guest.ts';
import { makeNetwork, removeNetwork } from '../testbed/network.ts';
import { RUN, SHM } from '../testbed/paths.ts';
import { isAlive, killRecorded, startInNetns } from '../testbed/process/processes.ts';
import { poll, shInNetns } from '../testbed/process/shell.ts';

// The one above must come first, and nothing of the test bed before it: else a cluster would be taken for ours, and removed.
if (!RUN.endsWith(`-driver-${process.pid}`)) throw new Error(`${RUN} is not this lab's: import own-network.ts before the test bed`);

export const TARGET = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');
/** The disk as its guest sees it. */
export const DEVICE = '/dev/etherd/e7.3';

/**
 * Why the lab cannot run here, for `skipIf`; false when it can.
 * @param programs others that a test needs, by path
 */
export function whyNoLab(...programs: readonly string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root, for network namespaces';
  const missing = [TARGET, '/usr/bin/linux.uml', ...programs].filter((path) => !existsSync(path));
  return missing.length > 0 && `needs ${missing.map((path) => basename(path)).join(', ')}`;
}

export interface LabOptions {
  mtu: number;
  bytes: number;
  /** 2 serves on both of the guest's interfaces; the second has MTU 1500. */
  paths?: 1 | 2;
  /** Of the guest, such as 384M. */
  memory?: string;
  /** What to start the target with: words before its own. */
  before?: readonly string[];
  /** Volumes of the target beside the disk. */
  exports?: readonly string[];
  /** Serves another disk of this size at e7.4. */
  neighbour?: boolean;
  /** Makes the files of `exports` that the lab does not have. */
  prepare?: () => void;
}

/** A guest with the real aoe driver, and our target on the host: target0 faces the guest's vec0, target1 its vec1. */
export class DriverLab implements AsyncDisposable {
  readonly guest: Guest;
  readonly disk = join(SHM, 'disk');
  /** Where the target listens to agents. */
  readonly socket = join(RUN, 'target.sock');
  readonly #options: LabOptions;
  #target: ChildProcess | undefined;

  private constructor(options: LabOptions) {
    this.guest = new Guest('driver', { index: 1, memory: options.memory ?? '384M', mtu: options.mtu });
    this.#options = options;
  }

  static async boot(options: LabOptions): Promise<DriverLab> {
    const { mtu, bytes } = options;
    const lab = new DriverLab(options);
    try {
      mkdirSync(RUN, { recursive: true });
      mkdirSync(SHM, { recursive: true });
      writeFileSync(lab.disk, '');
      lab.grow(bytes);
      if (options.neighbour) {
        writeFileSync(join(SHM, 'neighbour'), '');
        truncateSync(join(SHM, 'neighbour'), bytes);
      }
      options.prepare?.();
      makeNetwork();
      shInNetns(`
        ip link add target0 mtu ${mtu} type veth peer name target0-b mtu ${mtu}
        ip link add target1 mtu 1500 type veth peer name target1-b mtu 1500
        ip link set target0-b master storage up; ip link set target0 up
        ip link set target1-b master management up; ip link set target1 up`);
      await lab.guest.boot();
      lab.startTarget();
      await lab.guest.exec('modprobe aoe');
      await lab.discover();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Pulls or plugs the cable of one of the target's interfaces. */
  setLink(name: 'target0' | 'target1', state: 'up' | 'down'): void {
    shInNetns(`ip link set ${name} ${state}`);
  }

  startTarget(): void {
    const { paths = 1, before = [], exports = [], neighbour = false } = this.#options;
    const beside = neighbour ? [`7.4=${join(SHM, 'neighbour')}`] : [];
    const volumes = [`7.3=${this.disk},serial=DRIVER`, ...beside, ...exports].flatMap((volume) => ['--export', volume]);
    const interfaces = paths === 2 ? 'target0,target1' : 'target0';
    const own = ['--interface', interfaces, '--state', join(RUN, 'state'), '--socket', this.socket, ...volumes];
    const [program = TARGET, ...args] = [...before, TARGET, ...own];
    this.#target = startInNetns(program, args, { log: join(RUN, 'target.log') });
  }

  /** Ends the target as an upgrade does, and starts it again. */
  async restartTarget(): Promise<void> {
    const pid = this.#target?.pid ?? 0;
    process.kill(pid, 'SIGTERM');
    await poll(async () => (isAlive(pid) ? undefined : true), { timeoutMs: 5_000, intervalMs: 10, what: 'the target to end' });
    this.startTarget();
  }

  /** Waits until the guest has the disk. The target announces it; the question is for an announcement that came too early. */
  async discover(): Promise<void> {
    await poll(
      async () => {
        const there = await this.guest.exec(`echo > /dev/etherd/discover; [ -b ${DEVICE} ] && cat /sys/block/etherd!e7.3/state || true`);
        return there.trim() === 'up' ? true : undefined;
      },
      { timeoutMs: 20_000, what: `the guest to find ${DEVICE}` },
    );
  }

  grow(bytes: number): void {
    truncateSync(this.disk, bytes);
  }

  /** MD5 of what is on the disk, seen from the host. */
  async digest(): Promise<string> {
    const hash = createHash('md5');
    await pipeline(createReadStream(this.disk), hash);
    return hash.digest('hex');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killRecorded();
    removeNetwork();
    rmSync(SHM, { recursive: true, force: true });
    rmSync(RUN, { recursive: true, force: true });
  }
}
