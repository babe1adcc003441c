import type { KubeObject } from '../client/types.ts';
import type { Change } from '../informer/informer.ts';

/** An informer that has some objects from the beginning, and gives its listeners the changes that a test makes. */
export class FakeInformer<T extends KubeObject> {
  readonly #present: T[];
  readonly #listeners: ((change: Change<T>) => void)[] = [];

  constructor(...present: T[]) {
    this.#present = present;
  }

  list(): T[] {
    return this.#present;
  }

  subscribe(listener: (change: Change<T>) => void): () => boolean {
    this.#listeners.push(listener);
    return () => true;
  }

  change(type: 'applied' | 'deleted', object: T): void {
    for (const listener of this.#listeners) listener({ type, object });
  }
}
