import { constants, watch } from 'node:fs';
import { access, open, readFile, stat, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ioctl, lastError, parseIdentity } from '../../../aoe/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import type { Exec } from '../../../run/exec.ts';
import type { Semaphore } from '../../../run/semaphore.ts';
import type { Disk, Driver } from '../contracts.ts';
import { detail } from './mounts.ts';

const ETHERD = '/dev/etherd';
/** Major number of the driver's character and block devices (drivers/block/aoe/aoe.h, AOE_MAJOR). */
const AOE_MAJOR = 152;
const HDIO_GET_IDENTITY = 0x030d;
const SECTOR = 512;
const MODPROBE_MS = 20_000;
const FLUSH_MS = 20_000;
const REVALIDATE_MS = 10_000;
/** The segment is asked again this often while a disk is awaited. */
const DISCOVER_MS = 1_000;
/** sysfs does not announce changes of a disk's state or size: it is read this often while a disk is awaited. */
const LOOK_MS = 50;

/** Linux' own aoe driver, through /dev/etherd and sysfs. */
export class KernelDriver implements Driver {
  readonly #exec: Exec;
  readonly #diskThreads: Semaphore;

  constructor(exec: Exec, diskThreads: Semaphore) {
    this.#exec = exec;
    this.#diskThreads = diskThreads;
  }

  async prepare(interfaceNames: readonly string[], signal: AbortSignal): Promise<void> {
    if (!(await exists('/sys/module/aoe'))) {
      try {
        await this.#exec('modprobe', ['aoe'], { timeoutMs: MODPROBE_MS, signal });
      } catch (error) {
        throw new RpcError(
          Code.UNAVAILABLE,
          `the kernel's aoe driver cannot be loaded on this node (modprobe aoe: ${detail(error)}); install the module`,
        );
      }
    }
    const wanted = interfaceNames.join(' ');
    const present = await readFile('/sys/module/aoe/parameters/aoe_iflist', 'utf8').catch(() => '');
    if (present.trim() !== wanted) await control('interfaces', wanted);
  }

  async attach(
    address: string,
    { timeoutMs, bytes, signal }: { timeoutMs: number; bytes?: number | undefined; signal: AbortSignal },
  ): Promise<Disk | undefined> {
    const deadline = performance.now() + timeoutMs;
    // New device nodes are announced; state and size of known disks are not.
    const events = new AbortController();
    let wake: () => void = () => {};
    const watcher = watch(ETHERD, { signal: events.signal }, () => wake());
    watcher.on('error', () => {});
    try {
      let asked = Number.NEGATIVE_INFINITY;
      let revalidated = false;
      while (true) {
        signal.throwIfAborted();
        if (performance.now() - asked >= DISCOVER_MS) {
          asked = performance.now();
          await control('discover', '1');
        }
        const state = await this.state(address);
        const disk = state?.startsWith('up') ? await this.disk(address) : undefined;
        if (disk && disk.bytes > 0 && (bytes === undefined || disk.bytes === bytes)) return disk;
        // Discovery leaves a disk alone that someone has open: one that is down, or of another size, must be told to look.
        if (!revalidated && state !== undefined && (state.includes('closewait') || disk)) {
          revalidated = true;
          await this.#toProgram('revalidate', address, REVALIDATE_MS, signal).catch(() => {});
        }
        const left = deadline - performance.now();
        if (left <= 0) return undefined;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(LOOK_MS, left));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } finally {
      events.abort();
    }
  }

  async state(address: string): Promise<string | undefined> {
    return readFile(`${sysfs(address)}/state`, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    );
  }

  async disk(address: string): Promise<Disk | undefined> {
    const path = `${ETHERD}/${address}`;
    try {
      const [device, sectors] = await Promise.all([readFile(`${sysfs(address)}/dev`, 'utf8'), readFile(`${sysfs(address)}/size`, 'utf8')]);
      const node = await stat(path);
      const { major, minor } = deviceNumber(node.rdev);
      // What is written to a missing device makes a regular file of its name: never trust the name alone.
      if (!node.isBlockDevice() || major !== AOE_MAJOR || device.trim() !== `${major}:${minor}`) return undefined;
      return { path, device: device.trim(), bytes: Number(sectors) * SECTOR };
    } catch {
      return undefined;
    }
  }

  serial(address: string, signal: AbortSignal): Promise<string> {
    return this.#diskThreads.runOrAbandon(async () => {
      await using file = await open(`${ETHERD}/${address}`, constants.O_RDONLY | constants.O_NONBLOCK);
      const data = Buffer.alloc(SECTOR);
      if (ioctl(file.fd, HDIO_GET_IDENTITY, data) !== 0) {
        throw new RpcError(Code.UNAVAILABLE, `the kernel does not tell the identity of disk ${address}: ${lastError()}`);
      }
      return parseIdentity(data, 'natural')?.serial ?? '';
    }, signal);
  }

  busy(address: string, signal: AbortSignal): Promise<boolean> {
    return this.#diskThreads.runOrAbandon(async () => {
      try {
        // An exclusive open fails while a file system, of any mount namespace, has the disk.
        await using _file = await open(`${ETHERD}/${address}`, constants.O_RDONLY | constants.O_EXCL);
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EBUSY';
      }
    }, signal);
  }

  async flush(address: string, signal: AbortSignal): Promise<void> {
    const before = await sequence(address);
    if (before === undefined) return;
    try {
      // The NUL keeps e1.1 from hitting e1.10: the driver compares as many characters as it is given.
      await this.#toProgram('flush', `${address}\0`, FLUSH_MS, signal);
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `disk ${address} cannot be removed from the kernel: ${detail(error)}`, { cause: error });
    }
    for (let waited = 0; (await sequence(address)) === before; waited += LOOK_MS) {
      // Somebody's discovery may bring the disk back at once; that is another disk to the kernel, with another sequence number.
      if (waited >= FLUSH_MS)
        throw new RpcError(Code.INTERNAL, `disk ${address} is still in the kernel ${FLUSH_MS / 1000} s after it was flushed`);
      await delay(LOOK_MS, undefined, { signal });
    }
  }

  /** Writes to a control file from a program of its own: these writes can take long, and this process must not hang with them. */
  async #toProgram(name: 'flush' | 'revalidate', text: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    await this.#exec('dd', [`of=${ETHERD}/${name}`, 'bs=64', 'conv=nocreat,notrunc', 'status=none'], { input: text, timeoutMs, signal });
  }
}

function sysfs(address: string): string {
  return `/sys/block/etherd!${address}`;
}

/** The kernel's sequence number of the disk: two disks of one name differ in it. Undefined when there is none. */
async function sequence(address: string): Promise<string | undefined> {
  if (!(await exists(sysfs(address)))) return undefined;
  return readFile(`${sysfs(address)}/diskseq`, 'utf8').catch(() => '');
}

/** Writes to a control file that answers at once. Never creates it: a file of that name would hide that the driver is missing. */
async function control(name: 'interfaces' | 'discover', text: string): Promise<void> {
  try {
    await writeFile(`${ETHERD}/${name}`, text, { flag: constants.O_WRONLY });
  } catch (error) {
    throw new RpcError(
      Code.UNAVAILABLE,
      `the kernel's aoe driver cannot be told to use ${ETHERD}/${name} (is it loaded, and /dev the host's?): ${detail(error)}`,
      {
        cause: error,
      },
    );
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
