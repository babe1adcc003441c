import type { Change, KubeObject, Store } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { Subscribers } from '../subscribers.ts';

type Stored = KubeObject & { spec?: unknown; status?: Record<string, unknown> };

/** The fake API server, with stores that announce what the test puts there. */
export class FakeKube extends FakeApi {
  readonly #subscribers = new Subscribers<Change<KubeObject>>();

  /** Objects of one kind, as an informer that is never late shows them. */
  override store<T extends KubeObject>(kind: string): Store<T> & { subscribe(listener: (change: Change<T>) => void): () => void } {
    const subscribe = (listener: (change: Change<T>) => void) =>
      this.#subscribers.add((change) => {
        if (change.object.kind === kind) listener(change as Change<T>);
      });
    return { ...super.store<T>(kind), subscribe };
  }

  override put<T extends KubeObject & { kind: string }>(object: T): T {
    const previous = this.read<T>(object, object.metadata.name);
    const stored = super.put(object);
    this.#subscribers.emit({ type: 'applied', object: stored, ...(previous ? { previous } : {}) });
    return stored;
  }

  /** The AoEVolume of this name as it is stored. */
  volume(name = 'v1'): Stored | undefined {
    return this.read<Stored>({ kind: 'AoEVolume' }, name);
  }
}
