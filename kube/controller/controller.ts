import { KubeError, messageOf, TerminalError } from '../client/error.ts';
import type { KubeObject, Log } from '../client/types.ts';
import type { Informer } from '../informer/informer.ts';
import { WorkQueue } from './queue.ts';

const LIMIT_MS = 600_000;

/** Done; or look again after a while. */
export interface Result {
  requeueAfterMs?: number | undefined;
}
export type Outcome = 'done' | 'requeued' | 'failed' | 'terminal';

export interface ControllerOptions {
  /** For the log. */
  name: string;
  log: Log;
  /** Makes what the key stands for true. It is told a name, never an event; it may be called at any time. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing fits, too
  reconcile: (key: string, signal: AbortSignal) => Promise<Result | undefined | void>;
  /** Keys worked on at once; never twice the same. Default 1. */
  concurrency?: number | undefined;
  /** Limit for one call of reconcile, in milliseconds: its signal is aborted then. Default 600000. */
  timeoutMs?: number | undefined;
  /** Told each outcome, for metrics. */
  observe?: ((key: string, outcome: Outcome, seconds: number) => void) | undefined;
}

/** Calls reconcile for every key that informers name, and again after failures, with growing pauses. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue = new WorkQueue();
  readonly #sources: { synced: () => Promise<void>; keys: () => Iterable<string> }[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Keys that wait for a worker, for metrics. */
  get backlog(): number {
    return this.#queue.length;
  }

  /** Reconciles the keys of each object that appears, changes (its old and its new self are mapped) or goes. */
  watch<T extends KubeObject>(informer: Informer<T>, toKeys: (object: T) => Iterable<string>): this {
    const add = (object: T): void => {
      for (const key of toKeys(object)) this.#queue.add(key);
    };
    informer.subscribe(({ object, previous }) => {
      if (previous) add(previous);
      add(object);
    });
    this.#sources.push({
      synced: () => informer.synced,
      keys: () => informer.list().flatMap((object) => [...toKeys(object)]),
    });
    return this;
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  /** Works until the signal is aborted and the calls under way have ended. Begins when all its informers are synced. */
  async run(signal: AbortSignal): Promise<void> {
    const { concurrency = 1, name, log } = this.#options;
    const close = (): void => this.#queue.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    try {
      await Promise.race([Promise.all(this.#sources.map(({ synced }) => synced())), aborted(signal)]);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    // What an informer knew before it was watched here.
    for (const { keys } of this.#sources) for (const key of keys()) this.#queue.add(key);
    log.debug({ controller: name, concurrency }, 'controller works');
    await Promise.all(Array.from({ length: concurrency }, () => this.#work(signal)));
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      const started = performance.now();
      let outcome: Outcome | undefined;
      try {
        outcome = await this.#reconcile(key, signal);
      } finally {
        this.#queue.done(key);
      }
      if (outcome) this.#options.observe?.(key, outcome, (performance.now() - started) / 1000);
    }
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<Outcome | undefined> {
    const { reconcile, log, name, timeoutMs = LIMIT_MS } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal.reason);
    const timer = setTimeout(() => stop.abort(new Error(`not done within ${timeoutMs / 1000} s`)), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const result = await reconcile(key, stop.signal);
      this.#queue.forget(key);
      if (result?.requeueAfterMs === undefined) return 'done';
      this.#queue.addAfter(key, result.requeueAfterMs);
      return 'requeued';
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof TerminalError) {
        this.#queue.forget(key);
        log.error({ controller: name, key, error: messageOf(error) }, 'cannot be reconciled until something changes');
        return 'terminal';
      }
      const retryMs = this.#queue.addRateLimited(key);
      // A conflict is part of the game: somebody else wrote between our read and our write.
      const level = error instanceof KubeError && error.code === 409 ? 'debug' : 'warn';
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
      return 'failed';
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
