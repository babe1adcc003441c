import type { KubeObject } from '../client/types.ts';
import type { Store } from './store.ts';

interface Entry<T> {
  readonly object: T;
  /** Whether the API server has answered. Until then metadata.resourceVersion is the one that the write is based on. */
  readonly isConfirmed: boolean;
}

/**
 * Read your own writes: the objects of a store, except those that this program has written and the watch has not shown yet.
 * The store wins as soon as its object is as new as the write, or has another UID, or is gone.
 *
 * @example
 * const seen = new OwnWrites(informer);
 * seen.confirm(await kube.patch(type, name, patch));
 * seen.get(name); // the patched object, though the informer still has the old one
 */
export class OwnWrites<T extends KubeObject> implements Store<T> {
  readonly #store: Store<T>;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(store: Store<T>) {
    this.#store = store;
  }

  /** The newest version that is known to exist. */
  get(name: string): T | undefined {
    const stored = this.#store.get(name);
    const entry = this.#valid(name, stored);
    return entry?.isConfirmed ? entry.object : stored;
  }

  list(): T[] {
    return this.#overlaid(({ isConfirmed }) => isConfirmed);
  }

  /** As list(), with writes under way as if they had succeeded: what they reserve must not be given to anybody else. */
  reserved(): T[] {
    return this.#overlaid(() => true);
  }

  /** As reserved(), of these names only, and of all objects with writes that the watch has not shown: without a look at the others. */
  reservedOf(names: Iterable<string>): T[] {
    return [...new Set([...names, ...this.#entries.keys()])].flatMap((name) => {
      const stored = this.#store.get(name);
      return this.#valid(name, stored)?.object ?? stored ?? [];
    });
  }

  /** Writes that the watch has not shown, as reserved() has them, each with what the store still has. */
  pending(): { stored: T; written: T }[] {
    return [...this.#entries.keys()].flatMap((name) => {
      const stored = this.#store.get(name);
      const written = this.#valid(name, stored)?.object;
      return stored && written ? [{ stored, written }] : [];
    });
  }

  /**
   * A write is about to be sent. It counts in {@link reserved} until confirm() or drop(), or until the store shows a version
   * newer than the one that it is based on: then it has arrived, or can only be refused.
   * @param object as it will be, with the metadata.resourceVersion that the write asks for
   */
  reserve(object: T): void {
    this.#entries.set(object.metadata.name, { object, isConfirmed: false });
  }

  /** The object as the API server answered a write. */
  confirm(object: T): void {
    this.#entries.set(object.metadata.name, { object, isConfirmed: true });
  }

  /** Forgets the writes to an object: one was refused, or the object is gone. */
  drop(name: string): void {
    this.#entries.delete(name);
  }

  #overlaid(counts: (entry: Entry<T>) => boolean): T[] {
    const stored = this.#store.list();
    if (this.#entries.size === 0) return stored;
    const names = new Set(stored.map(({ metadata }) => metadata.name));
    for (const name of this.#entries.keys()) if (!names.has(name)) this.#entries.delete(name);
    return stored.map((object) => {
      const entry = this.#valid(object.metadata.name, object);
      return entry && counts(entry) ? entry.object : object;
    });
  }

  #valid(name: string, stored: T | undefined): Entry<T> | undefined {
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    const written = entry.object.metadata;
    const isOlder = (now: bigint, then: bigint): boolean => (entry.isConfirmed ? now < then : now <= then);
    if (stored && stored.metadata.uid === written.uid && isOlder(versionOf(stored), versionOf(entry.object))) return entry;
    this.#entries.delete(name);
    return undefined;
  }
}

/** Resource versions of one type can be compared as numbers (KEP-5504). */
function versionOf({ metadata }: KubeObject): bigint {
  return /^\d+$/.test(metadata.resourceVersion ?? '') ? BigInt(metadata.resourceVersion ?? 0) : 0n;
}
