import type { ResourceType } from '../api/resources.ts';
import { TimeoutError } from './errors.ts';
import type { Kube, KubeObject, ListOptions } from './kube.ts';
import { type WatchLimits, watchForEver } from './watcher.ts';

export interface Change<T> {
  readonly type: 'applied' | 'deleted';
  readonly object: T;
  /** What the store had before. */
  readonly previous?: T;
}

export interface InformerOptions extends Omit<ListOptions, 'signal'> {
  /** Told of errors that the informer survives. */
  readonly onError?: (error: unknown) => void;
  readonly limits?: Partial<WatchLimits>;
}

type Listener<T> = (change: Change<T>) => void;

/** A copy of all objects of a type, kept up to date by a watch. Objects of a namespaced type are named `namespace/name`. */
export class Informer<T extends KubeObject> {
  readonly #kube: Pick<Kube, 'list' | 'watch'>;
  readonly #type: ResourceType;
  readonly #options: InformerOptions;
  readonly #listeners = new Set<Listener<T>>();
  readonly #synced = Promise.withResolvers<void>();
  #store = new Map<string, T>();

  constructor(kube: Pick<Kube, 'list' | 'watch'>, type: ResourceType, options: InformerOptions = {}) {
    this.#kube = kube;
    this.#type = type;
    this.#options = options;
  }

  /** Resolves when the first list is in the store. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get(name: string): T | undefined {
    return this.#store.get(name);
  }

  list(): T[] {
    return [...this.#store.values()];
  }

  /** @returns a function that ends the subscription. The listener is called after the store has changed. */
  subscribe(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Watches until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const onError = this.#options.onError ?? (() => {});
    const { fieldSelector, labelSelector, namespace, limits } = this.#options;
    const scope = {
      ...(fieldSelector ? { fieldSelector } : {}),
      ...(labelSelector ? { labelSelector } : {}),
      ...(namespace ? { namespace } : {}),
    };
    for await (const event of watchForEver<T>(this.#kube, this.#type, { ...scope, signal, onError, ...(limits ? { limits } : {}) })) {
      if (event.type === 'reset') this.#reset(event.items);
      else if (event.type === 'applied') this.#apply(event.object);
      else this.#delete(event.object);
    }
  }

  /**
   * Waits until `predicate`, asked at once and at each change of the object, gives something other than undefined or false.
   * @throws TimeoutError after `timeoutMs`; the signal's reason when it is aborted
   */
  waitFor<R>(
    name: string,
    predicate: (object: T | undefined) => R | undefined | false,
    { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs: number },
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(limit);
        unsubscribe();
        signal?.removeEventListener('abort', abort);
        finish();
      };
      const ask = () => {
        try {
          const answer = predicate(this.get(name));
          if (answer !== undefined && answer !== false) settle(() => resolve(answer));
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const abort = () => settle(() => reject(signal?.reason));
      const limit = setTimeout(
        () => settle(() => reject(new TimeoutError(`${this.#type.kind} ${name}: nothing came of it within ${timeoutMs / 1000} s`))),
        timeoutMs,
      );
      const unsubscribe = this.subscribe(({ object }) => {
        if (keyOf(object) === name) ask();
      });
      signal?.addEventListener('abort', abort, { once: true });
      if (signal?.aborted) abort();
      else ask();
    });
  }

  /** Swaps the store at once, and tells what that changed. */
  #reset(items: T[]): void {
    const before = this.#store;
    this.#store = new Map(items.map((item) => [keyOf(item), lean(item)]));
    for (const [name, previous] of before) {
      const now = this.#store.get(name);
      if (now?.metadata.uid !== previous.metadata.uid) this.#tell({ type: 'deleted', object: previous });
    }
    for (const [name, object] of this.#store) {
      const previous = before.get(name);
      if (!previous || previous.metadata.uid !== object.metadata.uid) this.#tell({ type: 'applied', object });
      else if (previous.metadata.resourceVersion !== object.metadata.resourceVersion) this.#tell({ type: 'applied', object, previous });
    }
    this.#synced.resolve();
  }

  #apply(received: T): void {
    const object = lean(received);
    const name = keyOf(object);
    const previous = this.#store.get(name);
    this.#store.set(name, object);
    if (previous && previous.metadata.uid !== object.metadata.uid) this.#tell({ type: 'deleted', object: previous });
    this.#tell({ type: 'applied', object, ...(previous && previous.metadata.uid === object.metadata.uid ? { previous } : {}) });
  }

  #delete(object: T): void {
    const name = keyOf(object);
    const previous = this.#store.get(name);
    this.#store.delete(name);
    this.#tell({ type: 'deleted', object: lean(object), ...(previous ? { previous } : {}) });
  }

  #tell(change: Change<T>): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#options.onError?.(error);
      }
    }
  }
}

/** The name under which an informer keeps an object. */
export function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

/** Without the record of who set which field: nobody reads it here, and it is often half of an object. */
function lean<T extends KubeObject>(object: T): T {
  delete (object.metadata as { managedFields?: unknown }).managedFields;
  return object;
}
