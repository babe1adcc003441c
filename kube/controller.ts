import { TerminalError } from './errors.ts';
import type { Informer } from './informer.ts';
import type { KubeObject } from './kube.ts';
import { WorkQueue } from './queue.ts';

/** The part of a pino logger that is used here. */
export interface Log {
  debug(keys: object, message: string): void;
  warn(keys: object, message: string): void;
  error(keys: object, message: string): void;
}

/** Done; or look again after a while. */
export interface Result {
  requeueAfterMs?: number;
}

export interface ControllerOptions {
  readonly name: string;
  readonly log: Log;
  /** Brings one object, given by its name, to the state wished for. May be called at any time, for the same name one after the other. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Result | undefined> | Promise<void>;
  /** How many objects are worked on at once. */
  readonly concurrency?: number;
  /** Limit of one pass, after which its signal is aborted and it counts as failed; 2 minutes when absent. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 120_000;

/** Calls a reconciler for each object that something happened to: as often as needed, never twice at once, with pauses after failures. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queue = new WorkQueue();
  readonly #synced: Promise<void>[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Maps what happens to objects of an informer to keys: of the object as it is, and as it was. */
  watch<T extends KubeObject>(informer: Informer<T>, toKeys: (object: T) => Iterable<string>): this {
    this.#synced.push(informer.synced);
    const enqueue = (object: T) => {
      for (const key of toKeys(object)) this.enqueue(key);
    };
    for (const object of informer.list()) enqueue(object);
    informer.subscribe(({ object, previous }) => {
      if (previous) enqueue(previous);
      enqueue(object);
    });
    return this;
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  /** Works until the signal is aborted; begins when all informers have their first list. Ends when the last pass has. */
  async run(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([Promise.all(this.#synced), aborted]);
    void aborted.then(() => this.#queue.close());
    await Promise.all(Array.from({ length: this.#options.concurrency ?? 1 }, () => this.#work(signal)));
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined || signal.aborted) return;
      await this.#pass(key, signal);
      this.#queue.done(key);
    }
  }

  async #pass(key: string, signal: AbortSignal): Promise<void> {
    const { name, log, reconcile, timeoutMs = TIMEOUT_MS } = this.#options;
    const started = performance.now();
    try {
      const result = await reconcile(key, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
      this.#queue.forget(key);
      if (result?.requeueAfterMs !== undefined) this.#queue.addAfter(key, result.requeueAfterMs);
      log.debug({ controller: name, key, ms: Math.round(performance.now() - started) }, 'reconciled');
    } catch (error) {
      if (signal.aborted) return;
      const keys = { controller: name, key, error: error instanceof Error ? error.message : String(error) };
      if (error instanceof TerminalError) {
        this.#queue.forget(key);
        log.error(keys, 'reconciling failed for good');
      } else log.warn({ ...keys, retryMs: this.#queue.addFailed(key) }, 'reconciling failed');
    }
  }
}
