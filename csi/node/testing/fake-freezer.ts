import { FreezeError, type Freezer, type ThawResult } from '../freeze/freezer.ts';
import type { FreezeRecords, FrozenVolume } from '../freeze/records.ts';

/** A kernel with file systems, by device, and the disk of the node: both outlive a plugin. */
export class FakeKernel {
  boot = 'boot-1';
  /** Frozen devices. */
  readonly frozen = new Set<string>();
  readonly mounted = new Set<string>(['7:1']);
  readonly records = new Map<string, FrozenVolume>();
  /** Freezes that were begun, and have not taken effect yet. */
  readonly freezing = new Map<() => void, string>();

  /** A freeze that was begun takes effect, or comes to nothing. */
  complete(works = true): void {
    for (const [tell, device] of this.freezing) {
      if (works) this.frozen.add(device);
      this.freezing.delete(tell);
      tell();
    }
  }
}

/** A plugin's way to kernel and disk. */
export class FakeFreezer implements Freezer, FreezeRecords {
  readonly #kernel: FakeKernel;
  /** Called before each step and after it; may throw, or wait for ever. */
  step: (name: string) => Promise<void> = async () => {};
  /** The freeze waits until {@link FakeKernel.complete}. */
  isSlow = false;

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
  }

  async freeze(device: string, { signal }: { timeoutMs: number; signal: AbortSignal }): Promise<void> {
    await this.step('freeze');
    signal.throwIfAborted();
    if (!this.#kernel.mounted.has(device)) throw new FreezeError('not mounted');
    if (this.#kernel.frozen.has(device)) throw new FreezeError('somebody else has frozen it', { isOfOther: true });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#kernel.freezing.set(resolve, device);
    if (!this.isSlow) this.#kernel.complete();
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    await this.step('frozen');
    // The program is killed, and has done its work all the same.
    if (signal.aborted) throw new FreezeError('given up');
  }

  async thaw(device: string): Promise<ThawResult> {
    await this.step('thaw');
    if (!this.#kernel.mounted.has(device)) return 'notMounted';
    const result = this.#kernel.frozen.delete(device) ? 'thawed' : 'notFrozen';
    await this.step('thawed');
    return result;
  }

  async isFreezing(device: string): Promise<boolean> {
    await this.step('isFreezing');
    return [...this.#kernel.freezing.values()].includes(device);
  }

  async bootId(): Promise<string> {
    await this.step('bootId');
    return this.#kernel.boot;
  }

  async put(frozen: FrozenVolume): Promise<void> {
    await this.step('put');
    this.#kernel.records.set(frozen.volumeId, frozen);
    await this.step('recorded');
  }

  async delete(volumeId: string): Promise<void> {
    await this.step('delete');
    this.#kernel.records.delete(volumeId);
    await this.step('deleted');
  }

  async list(): Promise<FrozenVolume[]> {
    await this.step('list');
    return [...this.#kernel.records.values()];
  }
}
