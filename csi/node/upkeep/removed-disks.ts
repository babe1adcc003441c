import { type Log, messageOf } from '../../../kube/mod.ts';
import { DiskInUseError, type LocalDisk } from '../disk/local-disk.ts';
import type { StagedVolumes } from '../record/staged-volumes.ts';

/**
 * When a disk that was removed from the kernel is checked: the driver asks the segment after a disk's last close and every 60 s
 * (drivers/block/aoe/aoecmd.c), and as long as the target still admits this node, an answer makes the disk again.
 */
const CHECKS_MS = [1_000, 10_000, 70_000];
/** Until the next attempt while the driver cannot remove disks. */
const BUSY_MS = 60_000;
const REMOVE_MS = 30_000;

interface Parts {
  readonly localDisk: (address: string) => Pick<LocalDisk, 'health' | 'remove'>;
  readonly staged: Pick<StagedVolumes, 'get' | 'successor'>;
  readonly log: Log;
}

/** Removes disks of unstaged volumes again when the kernel's discovery brings them back. All other disks stay. */
export class RemovedDisks {
  readonly #parts: Parts;
  readonly #timers = new Map<string, NodeJS.Timeout[]>();
  /** Checks that are under way, by address. */
  readonly #checks = new Map<string, Promise<void>>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The volume's disk was removed: checks a few times whether it has come back. */
  add(volumeId: string, address: string): void {
    this.#clear(address);
    this.#timers.set(
      address,
      CHECKS_MS.map((ms) => this.#after(ms, volumeId, address)),
    );
  }

  /** A volume at the address is about to be staged: when it returns, no disk of the address is removed here any more. */
  async cancel(address: string): Promise<void> {
    this.#clear(address);
    while (this.#checks.has(address)) {
      await this.#checks.get(address);
      // The check may have planned another one.
      this.#clear(address);
    }
  }

  #clear(address: string): void {
    for (const timer of this.#timers.get(address) ?? []) clearTimeout(timer);
    this.#timers.delete(address);
  }

  #after(ms: number, volumeId: string, address: string): NodeJS.Timeout {
    return setTimeout(() => {
      const check = (this.#checks.get(address) ?? Promise.resolve()).then(() => this.#check(volumeId, address));
      this.#checks.set(address, check);
      void check.finally(() => this.#checks.get(address) === check && this.#checks.delete(address));
    }, ms).unref();
  }

  #later(volumeId: string, address: string): void {
    this.#timers.get(address)?.push(this.#after(BUSY_MS, volumeId, address));
  }

  async #check(volumeId: string, address: string): Promise<void> {
    const { localDisk, staged, log } = this.#parts;
    const disk = localDisk(address);
    try {
      if ((await disk.health()) === 'absent' || (await staged.get(volumeId)) || (await staged.successor(volumeId, address))) return;
      if (!(await disk.remove(AbortSignal.timeout(REMOVE_MS)))) return this.#later(volumeId, address);
      log.info({ volume: volumeId, address }, 'the disk of an unstaged volume came back, and was removed again');
    } catch (error) {
      // Somebody uses it since: it is theirs.
      if (error instanceof DiskInUseError) return;
      log.warn({ volume: volumeId, address, error: messageOf(error) }, 'the disk of an unstaged volume came back, and cannot be removed');
    }
  }
}
