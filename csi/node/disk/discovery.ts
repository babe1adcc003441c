import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Time between two discoveries of this node: each target answers each of them with all disks that this node may use. */
const DISCOVER_MS = 1_000;
/** A new disk is announced by an event in the directory, and is complete in sysfs a moment later: it is polled for HOT_MS. */
const POLL_MS = 50;
const HOT_MS = 1_000;
/** No event announces a change of a disk's state or size. */
const SLOW_POLL_MS = 500;

interface Waiter {
  hotUntil: number;
  wake: () => void;
}

/**
 * Waits for disks to appear. Discoveries, and the watch of the directory, are shared by all who wait, so that the work for a disk does not
 * grow with their number.
 */
export class Discovery {
  readonly #directory: string;
  readonly #discover: () => Promise<void>;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #watcher: FSWatcher | undefined;
  #discoverAt = Number.NEGATIVE_INFINITY;

  /**
   * @param directory where the nodes of the disks appear, such as /dev/etherd
   * @param discover asks all targets for their disks
   */
  constructor(directory: string, discover: () => Promise<void>) {
    this.#directory = directory;
    this.#discover = discover;
  }

  /**
   * Calls `check` until it gives a disk: when the node of that name changes, and now and then. Nothing is asked of the targets when the
   * first call gives it.
   * @returns undefined when that does not happen within `timeoutMs`
   * @throws what `check` or the discovery throws, or the signal's reason
   */
  async waitFor<T>(
    name: string,
    check: () => Promise<T | undefined>,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<T | undefined> {
    const deadline = performance.now() + timeoutMs;
    signal.throwIfAborted();
    const present = await check();
    if (present !== undefined) return present;
    const waiter: Waiter = { hotUntil: 0, wake: () => {} };
    this.#add(name, waiter);
    try {
      while (true) {
        await this.#discoverWhenDue();
        const found = await check();
        if (found !== undefined) return found;
        const now = performance.now();
        if (now >= deadline) return undefined;
        const pause = this.#watcher && now >= waiter.hotUntil ? SLOW_POLL_MS : POLL_MS;
        const until = Math.min(now + pause, deadline, Math.max(this.#discoverAt, now));
        await sleep(waiter, until - now, signal);
      }
    } finally {
      this.#remove(name, waiter);
    }
  }

  async #discoverWhenDue(): Promise<void> {
    const now = performance.now();
    if (now < this.#discoverAt) return;
    this.#discoverAt = now + DISCOVER_MS;
    try {
      await this.#discover();
    } catch (error) {
      // The others who wait try it themselves, and so end with the cause and not with a time-out.
      this.#discoverAt = Number.NEGATIVE_INFINITY;
      throw error;
    }
  }

  #add(name: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(name) ?? new Set();
    this.#waiters.set(name, waiters.add(waiter));
    if (this.#watcher) return;
    try {
      // It throws at once when no inotify instance is left (EMFILE), and emits later errors. Then all disks are polled.
      this.#watcher = watch(this.#directory, (_event, changed) => this.#wake(changed)).on('error', () => this.#unwatch());
    } catch {
      this.#watcher = undefined;
    }
  }

  #wake(name: string | null): void {
    for (const waiter of this.#waiters.get(name ?? '') ?? []) {
      waiter.hotUntil = performance.now() + HOT_MS;
      waiter.wake();
    }
  }

  #remove(name: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(name);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#waiters.delete(name);
    if (this.#waiters.size === 0) this.#unwatch();
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}

/** Ends early when the waiter is woken, or when the signal is aborted: then it throws the signal's reason. */
async function sleep(waiter: Waiter, ms: number, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  waiter.wake = () => stop.abort();
  await delay(ms, undefined, { signal: AbortSignal.any([stop.signal, signal]) }).catch(() => {});
  signal.throwIfAborted();
}
