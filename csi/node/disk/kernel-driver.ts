import { constants, readFileSync } from 'node:fs';
import { access, type FileHandle, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { ioctl, lastError, parseIdentity } from '../../../aoe/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import type { Exec } from '../../../run/exec.ts';
import type { Disk, DiskState, Driver } from '../contracts.ts';
import { failureText } from '../failure-text.ts';
import { joinNext } from '../join-next.ts';
import { Discovery } from './discovery.ts';
import { type ModuleParameters, setModuleParameters } from './module-parameters.ts';
import { findOpeners, lookAtProcesses } from './openers.ts';

/** Major number of the driver's character and block devices (drivers/block/aoe/aoe.h, AOE_MAJOR). */
const AOE_MAJOR = 152;
/** What the names of the driver's disks begin with in sysfs. */
const PREFIX = 'etherd!';
const HDIO_GET_IDENTITY = 0x030d;
const SECTOR = 512;
const MODPROBE_MS = 20_000;
const OPEN_MS = 20_000;
const FLUSH_MS = 20_000;
const LOOK_MS = 60_000;
/** How long the driver's work queue may be busy before a flush is not even begun. The kernel reads the partition table of a new disk there. */
const QUEUE_MS = 2_000;
const DROP_MS = 10_000;
/** Interval at which the queue is looked at: each look reads the names of all processes. */
const QUEUE_POLL_MS = 200;
const REVALIDATE_MS = 10_000;
/** The answer to a revalidation comes within milliseconds, or was lost. */
const REVALIDATE_AGAIN_MS = 2_000;
/** sysfs does not announce that a disk is gone: it is polled at this interval. */
const POLL_MS = 50;

export interface KernelDriverPaths {
  readonly devices: string;
  readonly sysfs: string;
  readonly proc: string;
}

const HOST: KernelDriverPaths = { devices: '/dev/etherd', sysfs: '/sys', proc: '/proc' };

/** The kernel's driver cannot remove disks now: it waits for other disks that do not answer. */
export class DriverBusyError extends RpcError {
  constructor(address: string, waiting: readonly string[]) {
    super(
      Code.UNAVAILABLE,
      `disk ${address} cannot be removed from the kernel now: its aoe driver waits for data of ${waiting.join(', ')}; are their storage nodes in trouble?`,
    );
    this.name = 'DriverBusyError';
  }
}

/** Linux' own aoe driver, through /dev/etherd and sysfs. What may hang with a disk runs in a program of its own, which can be given up. */
export class KernelDriver implements Driver {
  readonly #exec: Exec;
  readonly #paths: KernelDriverPaths;
  readonly #parameters: ModuleParameters;
  readonly #discovery: Discovery;
  /** A look at all files of all processes takes a fraction of a second of CPU time: it serves all who ask meanwhile. */
  readonly #look = joinNext(() => lookAtProcesses({ exec: this.#exec, ...this.#paths }, AbortSignal.timeout(LOOK_MS)));
  readonly #check: (address: string) => void;
  /** What {@link #incarnation} gave for the disks that were opened before, by address. */
  readonly #opened = new Map<string, string>();

  /**
   * @param parameters kept at these values; others stay as the node's /etc/modprobe.d, or the kernel, has them
   * @param check throws while a disk may not be touched ({@link DiskPrograms.check})
   */
  constructor(exec: Exec, paths = HOST, parameters: ModuleParameters = {}, check: (address: string) => void = () => {}) {
    this.#exec = exec;
    this.#check = check;
    this.#paths = paths;
    this.#parameters = parameters;
    this.#discovery = new Discovery(paths.devices, () => this.#control('discover', '1'));
  }

  async prepare(interfaceNames: readonly string[], signal: AbortSignal): Promise<void> {
    if (!(await exists('/sys/module/aoe'))) {
      try {
        await this.#exec('modprobe', ['aoe'], { timeoutMs: MODPROBE_MS, signal });
      } catch (error) {
        throw new RpcError(
          Code.UNAVAILABLE,
          `the kernel's aoe driver cannot be loaded on this node (modprobe aoe: ${failureText(error)}); install the module`,
        );
      }
    }
    await setModuleParameters(this.#parameters, `${this.#paths.sysfs}/module/aoe/parameters`);
    const wanted = interfaceNames.join(' ');
    const present = await readFile('/sys/module/aoe/parameters/aoe_iflist', 'utf8').catch(() => '');
    if (present.trim() !== wanted) await this.#control('interfaces', wanted);
  }

  async attach(
    address: string,
    { timeoutMs, bytes, signal }: { timeoutMs: number; bytes?: number | undefined; signal: AbortSignal },
  ): Promise<Disk | undefined> {
    this.#check(address);
    let revalidated = false;
    const check = async (): Promise<Disk | undefined> => {
      const state = await this.state(address);
      const disk = state === 'up' ? await this.disk(address) : undefined;
      if (disk && disk.bytes > 0 && (bytes === undefined || disk.bytes === bytes)) return disk;
      // Discovery does not change a disk that somebody has open: one that is down, or has another size, needs a revalidation.
      if (!revalidated && (state === 'closewait' || disk)) {
        revalidated = true;
        await this.#writeInProgram('revalidate', address, REVALIDATE_MS, signal).catch(() => {});
      }
      return undefined;
    };
    return this.#discovery.waitFor(address, check, { timeoutMs, signal });
  }

  async grow(
    address: string,
    { timeoutMs, bytes, signal }: { timeoutMs: number; bytes: number; signal: AbortSignal },
  ): Promise<Disk | undefined> {
    const end = performance.now() + timeoutMs;
    for (let askAt = 0; ; ) {
      const disk = await this.disk(address);
      if (disk && disk.bytes >= bytes) return disk;
      const now = performance.now();
      if (now >= end) return undefined;
      if (now >= askAt) {
        // An announcement changes no disk that is open (drivers/block/aoe/aoecmd.c, aoecmd_cfg_rsp); this does (aoechr.c, revalidate).
        await this.#writeInProgram('revalidate', address, REVALIDATE_MS, signal).catch(() => signal.throwIfAborted());
        askAt = performance.now() + REVALIDATE_AGAIN_MS;
      }
      await delay(POLL_MS, undefined, { signal });
    }
  }

  /** The module's parameter aoe_deadsecs: seconds without an answer after which it gives a disk up, 0 for never; undefined without the module. */
  async deadSeconds(): Promise<number | undefined> {
    const text = await readFile(`${this.#paths.sysfs}/module/aoe/parameters/aoe_deadsecs`, 'utf8').catch(() => undefined);
    return text === undefined ? undefined : Number(text);
  }

  async state(address: string): Promise<DiskState> {
    const text = await readFile(join(this.#sysfs(address), 'state'), 'utf8').catch(() => undefined);
    return text === undefined ? 'absent' : parseDiskState(text);
  }

  async disk(address: string): Promise<Disk | undefined> {
    const path = join(this.#paths.devices, address);
    const sysfs = this.#sysfs(address);
    try {
      const [device, sectors] = await Promise.all([readFile(join(sysfs, 'dev'), 'utf8'), readFile(join(sysfs, 'size'), 'utf8')]);
      const node = await stat(path);
      const { major, minor } = deviceNumber(node.rdev);
      // A program that writes to a missing device creates a regular file of that name: the name alone proves nothing.
      if (!node.isBlockDevice() || major !== AOE_MAJOR || device.trim() !== `${major}:${minor}`) return undefined;
      return { path, device: device.trim(), bytes: Number(sectors) * SECTOR };
    } catch {
      return undefined;
    }
  }

  async disks(): Promise<string[]> {
    const names = await readdir(join(this.#paths.sysfs, 'block')).catch(() => []);
    return names.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
  }

  async madeAt(address: string): Promise<number | undefined> {
    // Older kernels do not tell it for devtmpfs (mm/shmem.c, shmem_getattr). Node.js gives 0 then.
    const { birthtimeMs = 0 } = (await stat(join(this.#paths.devices, address)).catch(() => undefined)) ?? {};
    return birthtimeMs > 0 ? birthtimeMs : undefined;
  }

  async dropCache(address: string, signal: AbortSignal): Promise<void> {
    await this.#exec('blockdev', ['--flushbufs', join(this.#paths.devices, address)], { timeoutMs: DROP_MS, signal });
  }

  serial(address: string, signal: AbortSignal): Promise<string> {
    return this.#withOpen(address, constants.O_RDONLY | constants.O_NONBLOCK, signal, ({ fd }) => {
      const data = Buffer.alloc(SECTOR);
      if (ioctl(fd, HDIO_GET_IDENTITY, data) !== 0) {
        throw new RpcError(Code.UNAVAILABLE, `the kernel does not give the identity of disk ${address}: ${lastError()}`);
      }
      return parseIdentity(data, 'natural')?.serial ?? '';
    });
  }

  async isClaimed(address: string, signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#withOpen(address, constants.O_RDONLY | constants.O_EXCL, signal, () => false);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EBUSY') return true;
      throw error;
    }
  }

  async stack(address: string): Promise<string[]> {
    const { devices } = await this.#stack(address);
    return [...devices];
  }

  async openers(address: string, signal: AbortSignal): Promise<string[]> {
    const { devices, above } = await this.#stack(address);
    const nodes = await Promise.all(above.map((name) => this.#nodesOf(name)));
    const wanted = { paths: [join(this.#paths.devices, address), ...nodes.flat()], devices };
    const open = await this.#look();
    signal.throwIfAborted();
    const openers = await findOpeners({ exec: this.#exec, ...this.#paths }, open, wanted, signal);
    return [...openers, ...above.map((name) => `/dev/${name} (a device that is stacked on the disk)`)];
  }

  async flush(address: string, signal: AbortSignal): Promise<void> {
    this.#opened.delete(address);
    const before = await this.#incarnation(address);
    if (before === undefined) return;
    await this.#waitForQueue(address, signal);
    try {
      // The NUL keeps e1.1 from matching e1.10: the driver compares as many characters as it is given.
      await this.#writeInProgram('flush', `${address}\0`, FLUSH_MS, signal);
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `disk ${address} cannot be removed from the kernel: ${failureText(error)}`, { cause: error });
    }
    const end = performance.now() + FLUSH_MS;
    while ((await this.#incarnation(address)) === before) {
      // A discovery may bring the disk back at once; the kernel counts that as another disk.
      if (performance.now() >= end)
        throw new RpcError(Code.INTERNAL, `disk ${address} is still in the kernel ${FLUSH_MS / 1000} s after it was flushed`);
      await delay(POLL_MS, undefined, { signal });
    }
  }

  /**
   * A flush waits for the driver's work queue first (drivers/block/aoe/aoedev.c, flush()). There the kernel reads the partition tables of
   * new disks (aoeblk_gdalloc), for as long as a target does not give the data. A flush that waits cannot be stopped, and would remove
   * the disk whenever the queue goes on, from under whoever has it open by then.
   * @throws DriverBusyError when the queue stays busy
   */
  async #waitForQueue(address: string, signal: AbortSignal): Promise<void> {
    for (const end = performance.now() + QUEUE_MS; ; ) {
      const waiting = await this.#disksWithRequests();
      if (waiting.length === 0 || !(await this.#isQueueBusy(signal))) return;
      if (performance.now() >= end) throw new DriverBusyError(address, waiting);
      await delay(QUEUE_POLL_MS, undefined, { signal });
    }
  }

  /** The disks that have requests under way. */
  async #disksWithRequests(): Promise<string[]> {
    const disks = await this.disks();
    const inFlight = await Promise.all(disks.map((address) => readFile(join(this.#sysfs(address), 'inflight'), 'utf8').catch(() => '')));
    return disks.filter((_address, index) => /[1-9]/.test(inFlight[index] ?? ''));
  }

  /** Whether a kernel thread works on the queue: its name is then `kworker/…+aoe_wq` (kernel/workqueue.c, wq_worker_comm). */
  async #isQueueBusy(signal: AbortSignal): Promise<boolean> {
    for (const pid of (await readdir(this.#paths.proc)).filter((name) => /^\d+$/.test(name))) {
      // Read at once, since that asks no file system; but other work of this process gets its turn.
      await nextTurn(undefined, { signal });
      const name = nameOf(join(this.#paths.proc, pid));
      if (name.startsWith('kworker/') && name.includes('+aoe_wq')) return true;
    }
    return false;
  }

  /**
   * Opens the disk and uses the file at once. The first open of a disk reads its partition table (block/bdev.c, blkdev_get_whole), and
   * hangs as long as its target does. That open happens in a program of its own, since Node.js has four threads for all file operations.
   * Later ones read nothing.
   */
  async #withOpen<T>(address: string, flags: number, signal: AbortSignal, use: (file: FileHandle) => T): Promise<T> {
    // A flush that hangs removes the disk from under whoever has it open when it goes on.
    this.#check(address);
    const path = join(this.#paths.devices, address);
    const incarnation = await this.#incarnation(address);
    if (incarnation === undefined || this.#opened.get(address) !== incarnation) {
      try {
        await this.#exec('dd', [`if=${path}`, 'count=0', 'status=none'], { timeoutMs: OPEN_MS, signal });
      } catch (error) {
        throw new RpcError(Code.UNAVAILABLE, `disk ${address} cannot be opened: ${failureText(error)}`, { cause: error });
      }
      if (incarnation !== undefined) this.#opened.set(address, incarnation);
    }
    await using file = await open(path, flags);
    return use(file);
  }

  /** Paths of a device that is stacked on a disk: the kernel's own, and that of device-mapper. */
  async #nodesOf(name: string): Promise<string[]> {
    const mapped = await readFile(join(this.#paths.sysfs, 'block', name, 'dm/name'), 'utf8').catch(() => undefined);
    return [join('/dev', name), ...(mapped === undefined ? [] : [join('/dev/mapper', mapped.trim())])];
  }

  async #stack(address: string): Promise<{ devices: Set<string>; above: string[] }> {
    const above: string[] = [];
    const block = join(this.#paths.sysfs, 'block');
    const name = `${PREFIX}${address}`;
    const partitions = (await readdir(join(block, name)).catch(() => [])).filter((each) => each.startsWith(name));
    const directories = [join(block, name), ...partitions.map((each) => join(block, name, each))];
    const devices = new Set<string>();
    for (const directory of directories) {
      const device = await readFile(join(directory, 'dev'), 'utf8').catch(() => undefined);
      if (device !== undefined) devices.add(device.trim());
      for (const holder of await readdir(join(directory, 'holders')).catch(() => [])) {
        if (above.includes(holder)) continue;
        above.push(holder);
        directories.push(join(block, holder));
      }
    }
    return { devices, above };
  }

  /** What tells this disk from a later one of the same name; undefined when there is none. */
  async #incarnation(address: string): Promise<string | undefined> {
    const directory = await stat(this.#sysfs(address)).catch(() => undefined);
    if (!directory) return undefined;
    // Linux before 5.15 has no diskseq. There the inode of the directory serves: sysfs gives each new directory another one.
    return readFile(join(this.#sysfs(address), 'diskseq'), 'utf8').catch(() => `inode ${directory.ino}`);
  }

  #sysfs(address: string): string {
    return join(this.#paths.sysfs, 'block', `${PREFIX}${address}`);
  }

  /** Writes to a control file whose write can take long, or hang. */
  async #writeInProgram(name: 'flush' | 'revalidate', text: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const args = [`of=${join(this.#paths.devices, name)}`, 'bs=64', 'conv=nocreat,notrunc', 'status=none'];
    await this.#exec('dd', args, { input: text, timeoutMs, signal });
  }

  /** Writes to a control file that answers at once. It never creates the file: a regular file there would hide that the driver is missing. */
  async #control(name: 'interfaces' | 'discover', text: string): Promise<void> {
    const path = join(this.#paths.devices, name);
    try {
      await writeFile(path, text, { flag: constants.O_WRONLY });
    } catch (error) {
      throw new RpcError(
        Code.UNAVAILABLE,
        `the kernel's aoe driver cannot be reached through ${path} (is it loaded, and is /dev the host's?): ${failureText(error)}`,
        { cause: error },
      );
    }
  }
}

/** The text of /sys/block/etherd!eX.Y/state: `up`, `down` or `down,closewait`, or one of the first two with `,kickme`. */
export function parseDiskState(text: string): Exclude<DiskState, 'absent'> {
  const words = text.trim().split(',');
  if (words.includes('up')) return 'up';
  return words.includes('closewait') ? 'closewait' : 'down';
}

/** The name of a process; empty when it has ended. */
function nameOf(process: string): string {
  try {
    return readFileSync(join(process, 'comm'), 'utf8');
  } catch {
    return '';
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
