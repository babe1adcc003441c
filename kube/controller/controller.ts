import { isConflict, KubeError, messageOf } from '../client/error.ts';
import type { KubeObject, Log } from '../client/types.ts';
import type { Change, Informer } from '../informer/informer.ts';
import { AwakeClock } from './awake-clock.ts';
import type { ControllerMetrics, ReconcileResult } from './metrics.ts';
import { WorkQueue } from './queue.ts';

const LIMIT_MS = 600_000;
/** A call of reconcile whose signal was aborted this long ago has hung, in milliseconds. */
const HUNG_MS = 60_000;
const AWAKE = new AwakeClock();

/** What a reconcile asks for: nothing, or to be repeated after a while. */
export interface Result {
  requeueAfterMs?: number | undefined;
}

export interface ControllerOptions {
  /** For the log and the metrics. */
  name: string;
  log: Log;
  /** Makes true what the object of this key asks for. It is given a name, never an event, and may be called at any time. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing fits, too
  reconcile: (key: string, signal: AbortSignal) => Promise<Result | undefined | void>;
  /** Keys that are worked on at once, never one key twice. Default 1. */
  concurrency?: number | undefined;
  /** Limit for one call of reconcile, in milliseconds: its signal is aborted then. Default 600000. */
  timeoutMs?: number | undefined;
  metrics?: ControllerMetrics | undefined;
  /** For {@link Controller.hung}. */
  clock?: { now(): number } | undefined;
}

export interface WatchOptions<T> {
  /** The keys to reconcile after a change. */
  keys: (change: Change<T>) => Iterable<string>;
  /** Whether a change leads to reconciles at all. Default: each does. */
  when?: ((change: Change<T>) => boolean) | undefined;
}

/** Calls reconcile for every key that changes of watched objects lead to, and again after failures, with growing pauses. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  readonly #needed: (() => Promise<void>)[] = [];
  readonly #known: (() => void)[] = [];
  /** Keys that are being worked on, and since when, by the clock of the options. */
  readonly #running = new Map<string, number>();

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { name, metrics } = options;
    this.#queue = new WorkQueue({
      added: () => metrics?.added(name),
      retried: () => metrics?.retried(name),
      taken: (seconds) => metrics?.taken(name, seconds),
    });
  }

  /**
   * Reconciles what changes of an informer's objects lead to. Objects that are known when the controller begins count as new.
   * A key that depends on a field that can change must be made of `object` and of `previous`: see {@link keysOf}.
   */
  watch<T extends KubeObject>(informer: Pick<Informer<T>, 'synced' | 'list' | 'subscribe'>, { keys, when }: WatchOptions<T>): this {
    const note = (change: Change<T>): void => {
      if (when?.(change) === false) return;
      for (const key of keys(change)) this.#queue.add(key);
    };
    informer.subscribe(note);
    this.#known.push(() => {
      for (const object of informer.list()) note({ type: 'applied', object });
    });
    return this.needs(informer);
  }

  /** Begins only when the informer's first list is there: reconcile reads its objects, though their changes lead to nothing. */
  needs(informer: { readonly synced: Promise<void> }): this {
    this.#needed.push(() => informer.synced);
    return this;
  }

  /** Reconciles a key, at once or after a pause in milliseconds; of several pauses for it the one that ends first counts. */
  enqueue(key: string, afterMs = 0): void {
    this.#queue.addAfter(key, afterMs);
  }

  /**
   * Why this controller will get nothing done any more, for people; undefined while it can. It has hung when all its calls of reconcile
   * go on although their time is over. Time in which the process could not work does not count.
   */
  get hung(): string | undefined {
    const { concurrency = 1, name, timeoutMs = LIMIT_MS, clock = AWAKE } = this.#options;
    const limitMs = timeoutMs + HUNG_MS;
    const now = clock.now();
    if (this.#running.size < concurrency || [...this.#running.values()].some((since) => now - since < limitMs)) return undefined;
    return `controller ${name} has hung: for ${limitMs / 1000} s and more no reconcile has ended of ${[...this.#running.keys()].join(', ')}`;
  }

  /** Works until the signal is aborted and the calls under way have ended. Begins when all its informers are synced. */
  async run(signal: AbortSignal): Promise<void> {
    const { concurrency = 1, name, log, metrics } = this.#options;
    const close = (): void => this.#queue.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    try {
      await Promise.race([Promise.all(this.#needed.map((synced) => synced())), aborted(signal)]);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    // Objects that an informer had before it was watched here.
    for (const note of this.#known) note();
    metrics?.started(name, concurrency, () => this.#queue.length);
    log.debug({ controller: name, concurrency }, 'controller started');
    await Promise.all(Array.from({ length: concurrency }, () => this.#work(signal)));
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      const started = performance.now();
      this.#running.set(key, (this.#options.clock ?? AWAKE).now());
      let result: ReconcileResult | undefined;
      try {
        result = await this.#reconcile(key, signal);
      } finally {
        this.#running.delete(key);
        this.#queue.done(key);
      }
      if (result) this.#options.metrics?.reconciled(this.#options.name, result, (performance.now() - started) / 1000);
    }
  }

  /** @returns undefined when the program ends */
  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { reconcile, log, name, timeoutMs = LIMIT_MS } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal.reason);
    const timer = setTimeout(() => stop.abort(new Error(`not done within ${timeoutMs / 1000} s`)), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const result = await reconcile(key, stop.signal);
      this.#queue.forget(key);
      if (result?.requeueAfterMs === undefined) return 'success';
      this.#queue.addAfter(key, result.requeueAfterMs);
      return 'requeue_after';
    } catch (error) {
      if (signal.aborted) return undefined;
      const retryMs = this.#queue.addRateLimited(key);
      // Conflicts are normal: somebody else wrote between our read and our write.
      const level = isConflict(error) ? 'debug' : 'warn';
      log[level](
        {
          controller: name,
          key,
          error: messageOf(error),
          stack: error instanceof KubeError ? undefined : (error as Error)?.stack,
          retryMs,
        },
        'reconcile failed',
      );
      return 'error';
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** Keys for {@link Controller.watch} that are made of one object: those of its old and of its new state. */
export function keysOf<T>(toKeys: (object: T) => Iterable<string>): (change: Change<T>) => string[] {
  return ({ object, previous }) => [...(previous ? toKeys(previous) : []), ...toKeys(object)];
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
