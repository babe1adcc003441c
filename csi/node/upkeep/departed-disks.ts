import { type Log, messageOf } from '../../../kube/mod.ts';
import type { Driver } from '../contracts.ts';
import type { StagedVolumes } from '../record/staged-volumes.ts';

/**
 * When a disk that was removed from the kernel is looked for again: the driver asks the segment after a disk's last close and
 * each 60 s (drivers/block/aoe/aoecmd.c), and for as long as the target still serves this node an answer makes the disk anew.
 */
const LOOKS_MS = [1_000, 10_000, 70_000];
const FLUSH_MS = 10_000;

interface Parts {
  readonly driver: Pick<Driver, 'disk' | 'state' | 'busy' | 'flush'>;
  readonly staged: Pick<StagedVolumes, 'get' | 'successor'>;
  readonly log: Log;
}

/** Disks that this node has given up: removes those that the kernel's discovery brings back. Others are left alone. */
export class DepartedDisks {
  readonly #parts: Parts;
  readonly #timers = new Map<string, NodeJS.Timeout[]>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The volume's disk was removed: look for it again a few times. */
  add(volumeId: string, address: string): void {
    for (const timer of this.#timers.get(address) ?? []) clearTimeout(timer);
    const looks = LOOKS_MS.map((ms) => setTimeout(() => void this.#look(volumeId, address), ms).unref());
    this.#timers.set(address, looks);
  }

  async #look(volumeId: string, address: string): Promise<void> {
    const { driver, staged, log } = this.#parts;
    const signal = AbortSignal.timeout(FLUSH_MS);
    try {
      if (!(await driver.disk(address)) || (await staged.get(volumeId)) || (await staged.successor(volumeId, address))) return;
      if ((await driver.state(address))?.startsWith('up') && (await driver.busy(address, signal))) return;
      await driver.flush(address, signal);
      log.info({ volume: volumeId, address }, 'disk came back after it was unstaged, removed again');
    } catch (error) {
      log.warn({ volume: volumeId, address, error: messageOf(error) }, 'disk came back after it was unstaged, and stays');
    }
  }
}
