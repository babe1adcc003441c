import { KubeError, messageOf, TimeoutError } from '../client/error.ts';
import type { Kube } from '../client/kube.ts';
import { type KubeObject, type Log, type ResourceType, SILENT } from '../client/types.ts';
import type { Backoff } from '../controller/backoff.ts';
import type { Store } from './store.ts';
import { watchForever } from './watcher.ts';

/** The server ends a watch after this time, varied so that not all watches are started again at once. */
const WATCH_SECONDS = 290;
/** The API server sends a bookmark about every 60 s. */
const SILENCE_MS = 90_000;
/**
 * Limits for a page of a list, in milliseconds, used in turn: an API server that has just started may never answer the first request,
 * and a busy one needs long.
 */
const LIST_MS = 8_000;
const LONG_LIST_MS = 30_000;

/** One change of an object that an informer watches. */
export interface Change<T> {
  type: 'applied' | 'deleted';
  /** The object as it is now; when deleted, as it was last. */
  object: T;
  /** The same object (same UID) before the change. Absent when it is new. */
  previous?: T;
}

export interface InformerOptions {
  fieldSelector?: string | undefined;
  labelSelector?: string | undefined;
  namespace?: string | undefined;
  log?: Log | undefined;
  /** The connection counts as dead after this time without data, in milliseconds. Default 90000. */
  silenceMs?: number | undefined;
  /** Pauses after failures. */
  backoff?: Backoff | undefined;
}

/**
 * A local copy of a collection, kept up to date by list and watch. Objects of a namespaced type are named `namespace/name`. They are
 * shared: change a copy, never what `get` returns.
 */
export class Informer<T extends KubeObject> implements Store<T> {
  readonly #kube: Pick<Kube, 'list' | 'watch'>;
  readonly #type: ResourceType;
  readonly #options: InformerOptions;
  readonly #log: Log;
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #sync = Promise.withResolvers<void>();
  /** Aborted to list again. */
  #round = new AbortController();
  /** Resolved by the first list that was started after refresh() was called. */
  #fresh: PromiseWithResolvers<void> | undefined;
  #objects = new Map<string, T>();
  #isSynced = false;

  constructor(kube: Pick<Kube, 'list' | 'watch'> & { readonly log?: Log }, type: ResourceType, options: InformerOptions = {}) {
    this.#kube = kube;
    this.#type = type;
    this.#options = options;
    this.#log = options.log ?? kube.log ?? SILENT;
  }

  /** What is watched, for people. */
  get what(): string {
    return this.#type.plural;
  }

  /** Resolves when the first list has come; never, when run() ends before. */
  get synced(): Promise<void> {
    return this.#sync.promise;
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  /** Calls the listener for each change from now on. One that throws is logged; the other listeners are called all the same. */
  subscribe(listener: (change: Change<T>) => void): () => void {
    // A function of its own, so that one listener can subscribe twice.
    const entry = (change: Change<T>): void => listener(change);
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Lists and watches until the signal is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { fieldSelector, labelSelector, namespace, silenceMs = SILENCE_MS, backoff } = this.#options;
    const selection = { fieldSelector, labelSelector, namespace };
    const [kube, type] = [this.#kube, this.#type];
    let isLong = false;
    const source = {
      list: async (stop: AbortSignal) => {
        try {
          return await kube.list<T>(type, { ...selection, signal: stop, timeoutMs: isLong ? LONG_LIST_MS : LIST_MS });
        } catch (error) {
          isLong = error instanceof KubeError && error.reason === 'NoAnswer' && !isLong;
          throw error;
        }
      },
      watch: (resourceVersion: string, stop: AbortSignal) => {
        const timeoutSeconds = Math.round(WATCH_SECONDS * (0.9 + Math.random() * 0.2));
        return kube.watch<T>(type, { ...selection, resourceVersion, timeoutSeconds, silenceMs, signal: stop });
      },
    };
    const sink = {
      replace: (items: T[]) => this.#replace(items),
      applied: (object: T) => this.#applied(object),
      deleted: (object: T) => this.#deleted(object),
    };
    while (!signal.aborted) {
      this.#round = new AbortController();
      const round = AbortSignal.any([signal, this.#round.signal]);
      await watchForever(source, sink, { log: this.#log, what: this.what, ...(backoff ? { backoff } : {}) }, round);
    }
  }

  /**
   * Lists again, since the watch may be silent because its connection is dead. Resolves when the store has every change that was made
   * before the call. Only for an informer that runs.
   * @throws the signal's reason
   */
  async refresh(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#fresh ??= Promise.withResolvers<void>();
    const { promise } = this.#fresh;
    // A list under way may have been started before the call: it is dropped, too.
    this.#round.abort(new Error('listed again'));
    const stopped = Promise.withResolvers<never>();
    const onAbort = (): void => stopped.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([promise, stopped.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Waits until the predicate returns something other than undefined or false, and returns that. The predicate is called now, or when
   * the informer is synced, and after each change of the object. It gets undefined when the object does not exist.
   * @throws TimeoutError after `timeoutMs`; the signal's reason; whatever the predicate throws
   */
  waitFor<R>(
    name: string,
    predicate: (object: T | undefined) => R | undefined | false,
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs: number },
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const waiters = this.#waiters.get(name) ?? new Set<() => void>();
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        waiters.delete(look);
        if (waiters.size === 0 && this.#waiters.get(name) === waiters) this.#waiters.delete(name);
        finish();
      };
      const look = (): void => {
        if (!this.#isSynced) return;
        try {
          const result = predicate(this.#objects.get(name));
          if (result !== undefined && result !== false) settle(() => resolve(result));
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const onAbort = (): void => settle(() => reject(signal?.reason));
      const timer = setTimeout(() => {
        const detail = this.#isSynced ? '' : ` (${this.what} have not been listed yet: is the API server reachable?)`;
        settle(() =>
          reject(new TimeoutError(`${this.#type.kind} ${name}: what was awaited did not happen within ${timeoutMs / 1000} s${detail}`)),
        );
      }, timeoutMs);
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.set(name, waiters.add(look));
      look();
    });
  }

  /** The new store is complete before listeners are called for its changes. */
  #replace(items: T[]): void {
    const before = this.#objects;
    this.#objects = new Map(items.map((item) => [keyOf(item), item]));
    const first = !this.#isSynced;
    this.#isSynced = true;
    for (const [key, previous] of before) {
      if (this.#objects.get(key)?.metadata.uid !== previous.metadata.uid)
        this.#notify(key, { type: 'deleted', object: previous, previous });
    }
    for (const [key, object] of this.#objects) {
      const previous = before.get(key);
      if (!previous || previous.metadata.uid !== object.metadata.uid) this.#notify(key, { type: 'applied', object });
      else if (previous.metadata.resourceVersion !== object.metadata.resourceVersion)
        this.#notify(key, { type: 'applied', object, previous });
    }
    this.#fresh?.resolve();
    this.#fresh = undefined;
    if (!first) return;
    // No change would call those that wait for an object which does not exist.
    for (const key of [...this.#waiters.keys()]) this.#wake(key);
    this.#sync.resolve();
  }

  #applied(object: T): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous && previous.metadata.uid !== object.metadata.uid) {
      this.#objects.delete(key);
      this.#notify(key, { type: 'deleted', object: previous, previous });
    }
    this.#objects.set(key, object);
    const same = previous && previous.metadata.uid === object.metadata.uid;
    this.#notify(key, same ? { type: 'applied', object, previous } : { type: 'applied', object });
  }

  #deleted(object: T): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (!previous) return;
    this.#objects.delete(key);
    this.#notify(key, { type: 'deleted', object, previous });
  }

  #notify(key: string, change: Change<T>): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (error) {
        this.#log.error({ what: this.what, key, error: messageOf(error) }, 'a listener of an informer failed');
      }
    }
    this.#wake(key);
  }

  #wake(key: string): void {
    for (const look of [...(this.#waiters.get(key) ?? [])]) look();
  }
}

/** The name under which an informer keeps an object. */
export function keyOf({ metadata: { namespace, name } }: KubeObject): string {
  return namespace ? `${namespace}/${name}` : name;
}
