import type { KubeObject } from '../client/types.ts';
import { type Informer, keyOf } from './informer.ts';

/** What one object adds to the sum of a key. */
export interface Part {
  readonly key: string;
  readonly size: number;
}

interface Sum {
  /** How many objects have each size. */
  readonly sizes: Map<number, number>;
  /** The total that was asked for last, kept up to date. */
  total: { grain: number; each: number; value: number } | undefined;
}

/**
 * Sums of a size over the objects of an informer, by key. To read one takes no scan of the objects. It is up to date when the
 * listeners are called that subscribed after it.
 *
 * @example
 * const reserved = new Sums(volumes, ({ spec }) => ({ key: spec.nodeName, size: spec.bytes }));
 * reserved.total('storage-1', MiB); // what its volumes take in units of a MiB
 */
export class Sums<T extends KubeObject> {
  readonly #toPart: (object: T) => Part | undefined;
  readonly #parts = new Map<string, Part>();
  readonly #sums = new Map<string, Sum>();

  constructor(informer: Pick<Informer<T>, 'list' | 'subscribe'>, toPart: (object: T) => Part | undefined) {
    this.#toPart = toPart;
    informer.subscribe(({ type, object }) => this.#set(keyOf(object), type === 'deleted' ? undefined : object));
    for (const object of informer.list()) this.#set(keyOf(object), object);
  }

  /** The sum of a key, with each size rounded up to a multiple of `grain`, plus `each`. */
  total(key: string, grain: number, each = 0): number {
    const sum = this.#sums.get(key);
    if (!sum) return 0;
    if (sum.total?.grain !== grain || sum.total.each !== each) {
      let value = 0;
      for (const [size, count] of sum.sizes) value += count * (roundUp(size, grain) + each);
      sum.total = { grain, each, value };
    }
    return sum.total.value;
  }

  #set(name: string, object: T | undefined): void {
    const before = this.#parts.get(name);
    const part = object && this.#toPart(object);
    if (before?.key === part?.key && before?.size === part?.size) return;
    if (before) this.#add(before, -1);
    if (part) {
      this.#parts.set(name, part);
      this.#add(part, 1);
    } else this.#parts.delete(name);
  }

  #add({ key, size }: Part, count: 1 | -1): void {
    const sum = this.#sums.get(key) ?? { sizes: new Map<number, number>(), total: undefined };
    const left = (sum.sizes.get(size) ?? 0) + count;
    if (left === 0) sum.sizes.delete(size);
    else sum.sizes.set(size, left);
    if (sum.total) sum.total.value += count * (roundUp(size, sum.total.grain) + sum.total.each);
    if (sum.sizes.size === 0) this.#sums.delete(key);
    else this.#sums.set(key, sum);
  }
}

function roundUp(size: number, grain: number): number {
  return Math.ceil(size / grain) * grain;
}
