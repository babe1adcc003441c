import type { KubeObject } from '../client/types.ts';
import { type Informer, keyOf } from './informer.ts';

/**
 * The objects of an informer by something that they have or name, as client-go's indexers: to find them takes no scan of all. It is
 * up to date when the listeners are called that subscribed after it.
 *
 * @example
 * const byNode = new Index(volumes, ({ spec }) => (spec.nodeName ? [spec.nodeName] : []));
 * byNode.get('storage-1'); // the names of its volumes
 */
export class Index<T extends KubeObject> {
  readonly #toKeys: (object: T) => Iterable<string>;
  readonly #names = new Map<string, Set<string>>();
  readonly #keys = new Map<string, ReadonlySet<string>>();

  constructor(informer: Pick<Informer<T>, 'list' | 'subscribe'>, toKeys: (object: T) => Iterable<string>) {
    this.#toKeys = toKeys;
    informer.subscribe(({ type, object }) => this.#set(keyOf(object), type === 'deleted' ? undefined : object));
    for (const object of informer.list()) this.#set(keyOf(object), object);
  }

  /** Names of the objects that have this key, in no order. */
  get(key: string): string[] {
    return [...this.each(key)];
  }

  /** As get(), without a copy: to be read before anything else can run. */
  each(key: string): Iterable<string> {
    return this.#names.get(key) ?? [];
  }

  #set(name: string, object: T | undefined): void {
    for (const key of this.#keys.get(name) ?? []) {
      const names = this.#names.get(key);
      names?.delete(name);
      if (names?.size === 0) this.#names.delete(key);
    }
    this.#keys.delete(name);
    if (!object) return;
    const keys = new Set(this.#toKeys(object));
    if (keys.size > 0) this.#keys.set(name, keys);
    for (const key of keys) this.#names.set(key, (this.#names.get(key) ?? new Set<string>()).add(name));
  }
}
