import type { Logger } from '../../run/log.ts';
import { loop } from '../../run/loop.ts';
import type { TargetApi, TargetStats } from '../target/api.ts';
import type { CopierApi, CopierLimitApi, CopyPhase } from './api.ts';

/** Between two looks at what the target was asked for. */
const LOOK_MS = 1_000;
/** Between two looks for copies when there are none. A new one has the limit for so long at least. */
const IDLE_MS = 2_000;
/** Volumes are in use for so long after a request of a host. */
const IN_USE_MS = 3_000;
const ACTIVE: readonly CopyPhase[] = ['queued', 'copying', 'verifying'];

export interface CopyLimitOptions {
  copier: Pick<CopierApi, 'list'> & CopierLimitApi;
  target: Pick<TargetApi, 'getStats'>;
  /** Bytes that all copies of this node together read per second, at most, while hosts use volumes of it. 0: no limit. */
  bytesPerSecond: number;
  log: Pick<Logger, 'debug'>;
  now?: () => number;
}

/**
 * Makes copies give way to hosts: it limits all copies of this node together for as long as its target gets requests. While nobody reads or
 * writes, copies are as fast as they can be.
 */
export class CopyLimit {
  readonly #options: CopyLimitOptions;
  #requests: number | undefined;
  #usedAt = 0;

  constructor(options: CopyLimitOptions) {
    this.#options = options;
  }

  /** Until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { bytesPerSecond, log } = this.#options;
    if (bytesPerSecond === 0) return;
    // A copier that does not answer makes no copies, and a target that does not answer serves nobody. Both are told of elsewhere.
    const failed = (error: unknown) => log.debug({ error }, 'the limit of copies could not be set');
    await loop((stop) => this.look(stop), { everyMs: LOOK_MS, signal, failed });
  }

  /** One look. @returns milliseconds until the next one; undefined: soon */
  async look(signal: AbortSignal): Promise<number | undefined> {
    const { copier, target, bytesPerSecond, now = performance.now.bind(performance) } = this.#options;
    const copies = await copier.list(signal);
    if (!copies.some(({ phase }) => ACTIVE.includes(phase))) {
      this.#requests = undefined;
      // For the next copy, which begins before the next look. A copier that was started again does not know the limit either.
      await copier.setLimit(bytesPerSecond, signal);
      return IDLE_MS;
    }
    const requests = count(await target.getStats(signal));
    // Not known before: they count as in use. Fewer: a volume is no longer served, or the target was started again.
    if (requests !== this.#requests) this.#usedAt = now();
    this.#requests = requests;
    await copier.setLimit(now() - this.#usedAt < IN_USE_MS ? bytesPerSecond : 0, signal);
    return undefined;
  }
}

/** Requests of all hosts for data. */
function count({ volumes }: TargetStats): number {
  const requests = volumes.flatMap(({ initiators }) => initiators.flatMap((initiator) => Object.values(initiator.requests)));
  return requests.flatMap(({ latency }) => latency).reduce((sum, each) => sum + each, 0);
}
