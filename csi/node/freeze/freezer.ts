import { open, readdir, readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../../kube/mod.ts';
import { type Exec, stderrOf } from '../../../run/exec.ts';
import type { Mounter, MountPoint } from '../contracts.ts';
import { deviceOf } from '../disk/syscalls.ts';

const PROGRAM = 'fsfreeze';
const THAW_MS = 10_000;
/** linux/fs.h: _IOWR('X', 120, int) */
const FITHAW = 0xc0045878;

/** The file system was not frozen. */
export class FreezeError extends Error {
  /** Somebody else has frozen it: it must not be thawed. */
  readonly isOfOther: boolean;

  constructor(message: string, { isOfOther = false, cause }: { isOfOther?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.name = 'FreezeError';
    this.isOfOther = isOfOther;
  }
}

/** `notMounted`: no mount of the device is there by which it could be thawed. `gone`: there is no such device, so nothing of it is frozen. */
export type ThawResult = 'thawed' | 'notFrozen' | 'notMounted' | 'gone';

/** What freezes and thaws, by the device of the file system: `major:minor`. */
export interface Freezer {
  /**
   * Returns when all that the kernel has cached of the file system is on the disk, and no write goes on.
   * @throws FreezeError; the file system may be frozen all the same, or become so as long as {@link isFreezing}, unless `isOfOther`
   */
  freeze(device: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<void>;
  /** @throws Error when it may still be frozen, in 20 s at most */
  thaw(device: string): Promise<ThawResult>;
  /**
   * Whether a freeze that was begun may still take effect on a device. What an earlier process of this plugin, or a person, has begun counts for each
   * device: nobody knows of which it is.
   */
  isFreezing(device: string): Promise<boolean>;
  /** The boot of this node. */
  bootId(): Promise<string>;
}

/**
 * fsfreeze(8): the ioctls FIFREEZE and FITHAW (linux/fs.h). They wait for the disk, so they are made by a program that can be left behind:
 * a thread that waits in the kernel would keep this process from ending.
 */
export class SystemFreezer implements Freezer {
  readonly #exec: Exec;
  readonly #mounter: Pick<Mounter, 'list'>;
  readonly #proc: string;
  readonly #thawMs: number;
  /** How many programs freeze a device, or were killed and have not ended. */
  readonly #freezing = new Map<string, number>();
  /** By device, the program that was to thaw it, was killed, and has not ended: it waits for the disk, and so would each other. */
  readonly #hungThaws = new Map<string, Promise<void>>();

  constructor(exec: Exec, mounter: Pick<Mounter, 'list'>, { proc = '/proc', thawMs = THAW_MS }: { proc?: string; thawMs?: number } = {}) {
    this.#exec = exec;
    this.#mounter = mounter;
    this.#proc = proc;
    this.#thawMs = thawMs;
  }

  async freeze(device: string, { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }): Promise<void> {
    const path = (await this.#mountOf(device))?.target;
    if (path === undefined) throw new FreezeError(`the file system on device ${device} is not mounted`);
    // The program gets what was opened here, and not a path: if the file system were unmounted meanwhile, it would freeze the one below.
    // It leads nowhere once this process has ended: a program that was started, and is not fsfreeze yet, freezes nothing then.
    await using directory = await open(path, 'r');
    const opened = `/proc/${process.pid}/fd/${directory.fd}`;
    if (deviceOf(opened) !== device) throw new FreezeError(`another file system than that of device ${device} is mounted at ${path}`);
    this.#count(device, 1);
    let left: Promise<void> | undefined;
    const onKilled = (ended: Promise<void>): void => {
      left = ended;
    };
    try {
      await this.#exec(PROGRAM, ['--freeze', opened], { timeoutMs, signal, onKilled });
    } catch (error) {
      const isOfOther = /busy/i.test(stderrOf(error));
      const why = isOfOther ? 'somebody else has frozen it' : messageOf(signal.aborted ? signal.reason : error);
      throw new FreezeError(`the file system at ${path} was not frozen: ${why}`, { isOfOther, cause: error });
    } finally {
      const end = (): void => this.#count(device, -1);
      if (left) void left.then(end, end);
      else end();
    }
  }

  async thaw(device: string): Promise<ThawResult> {
    if (await this.#mountOf(device)) await this.#noHungThaw(device);
    const path = (await this.#mountOf(device))?.target;
    if (path === undefined) return (await exists(`/sys/dev/block/${device}`)) ? 'notMounted' : 'gone';
    const onKilled = (ended: Promise<void>): void => {
      const forget = (): void => void this.#hungThaws.delete(device);
      this.#hungThaws.set(device, ended.then(forget, forget));
    };
    try {
      await this.#exec(PROGRAM, ['--unfreeze', path], { timeoutMs: this.#thawMs, onKilled });
      return 'thawed';
    } catch (error) {
      // EINVAL (fs/super.c, thaw_super)
      if (/invalid argument/i.test(stderrOf(error))) return 'notFrozen';
      throw error;
    }
  }

  async isFreezing(device: string): Promise<boolean> {
    if (this.#freezing.has(device)) return true;
    const processes = (await readdir(this.#proc)).filter((name) => /^\d+$/.test(name));
    for (const pid of processes) {
      // Not its command line: to read that can wait for a process that hangs.
      if ((await this.#read(pid, 'comm')).trim() === PROGRAM && (await this.#mayFreeze(pid))) return true;
    }
    return false;
  }

  async bootId(): Promise<string> {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  }

  /** Whether a fsfreeze that this process has not started may freeze something. Those that it has started are counted. */
  async #mayFreeze(pid: string): Promise<boolean> {
    // proc(5): "pid (comm) state ppid …"
    const [, parent] = /\) \S ([0-9]+) /.exec(await this.#read(pid, 'stat')) ?? [];
    if (Number(parent) === process.pid) return false;
    // The system call that it waits in: number, descriptor, request.
    const [, , request] = (await this.#read(pid, 'syscall')).split(' ');
    return Number(request) !== FITHAW;
  }

  async #read(pid: string, file: string): Promise<string> {
    return await readFile(`${this.#proc}/${pid}/${file}`, 'utf8').catch(() => '');
  }

  #count(device: string, more: 1 | -1): void {
    const count = (this.#freezing.get(device) ?? 0) + more;
    if (count > 0) this.#freezing.set(device, count);
    else this.#freezing.delete(device);
  }

  /** @throws Error when an earlier program that thaws the device does not end in time */
  async #noHungThaw(device: string): Promise<void> {
    const hung = this.#hungThaws.get(device);
    if (!hung) return;
    const rest = new AbortController();
    const late = delay(this.#thawMs, 'late', { signal: rest.signal, ref: false }).catch(() => {});
    const isLate = (await Promise.race([hung, late])) === 'late';
    rest.abort();
    if (isLate) throw new Error(`an earlier fsfreeze that thaws device ${device} was killed and has not ended: it waits for the disk`);
  }

  /** A mount of the file system itself, and not of a device node of the same number. */
  async #mountOf(device: string): Promise<MountPoint | undefined> {
    const mounts = (await this.#mounter.list()).filter((mount) => mount.device === device);
    // A part of it that is mounted may be a file.
    return mounts.find(({ root }) => root === '/') ?? mounts[0];
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
