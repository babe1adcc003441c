import { type Change, KubeError, type KubeObject, type Store } from '../../kube/mod.ts';
import { Subscribers } from '../subscribers.ts';

interface Written {
  kind: string;
  manager: string;
  status: Record<string, unknown>;
}

/** Objects of any kind by name, and what is written to them. Apply replaces the status, which is enough for one writer. */
export class FakeKube {
  readonly objects = new Map<string, KubeObject & Record<string, unknown>>();
  readonly written: Written[] = [];
  readonly events: { reason: string; message: string }[] = [];
  readonly #subscribers = new Subscribers<Change<KubeObject>>();
  #version = 1;

  /** Objects of one kind, as an informer that is never late shows them. */
  store<T>(kind: string): Store<T> & { subscribe(listener: (change: Change<T>) => void): () => void } {
    const all = (): (KubeObject & Record<string, unknown>)[] => [...this.objects.values()].filter((object) => object.kind === kind);
    return {
      get: (name) => structuredClone(all().find(({ metadata }) => metadata.name === name)) as T | undefined,
      list: () => structuredClone(all()) as T[],
      subscribe: (listener) =>
        this.#subscribers.add((change) => {
          if (change.object.kind === kind) listener(change as never);
        }),
    };
  }

  put(object: KubeObject & { kind: string }): void {
    const generation = (object.metadata.generation ?? 0) + 1;
    const metadata = { ...object.metadata, generation, resourceVersion: String(++this.#version) };
    const key = `${object.kind}/${object.metadata.name}`;
    const previous = this.objects.get(key);
    this.objects.set(key, { ...object, metadata });
    this.#subscribers.emit({ type: 'applied', object, ...(previous ? { previous } : {}) });
  }

  readonly get = async (type: { kind: string }, name: string): Promise<never> =>
    structuredClone(this.objects.get(`${type.kind}/${name}`)) as never;

  readonly list = async (type: { kind: string }): Promise<never> =>
    ({ items: this.store(type.kind).list(), resourceVersion: String(this.#version) }) as never;

  readonly apply = async (type: { kind: string }, object: KubeObject, { fieldManager }: { fieldManager: string }): Promise<never> => {
    const key = `${type.kind}/${object.metadata.name}`;
    const present = this.objects.get(key) ?? { kind: type.kind, metadata: object.metadata };
    const { resourceVersion } = object.metadata;
    if (resourceVersion && resourceVersion !== present.metadata.resourceVersion)
      throw new KubeError(409, 'Conflict', `${key} has been modified`);
    const status = 'status' in object ? (object.status as Record<string, unknown>) : undefined;
    if (status) this.written.push({ kind: type.kind, manager: fieldManager, status });
    const metadata = { ...present.metadata, resourceVersion: String(++this.#version) };
    const next = { ...present, ...(status ? { status: structuredClone(status) } : {}), metadata };
    this.objects.set(key, next);
    return structuredClone(next) as never;
  };

  readonly patch = async (type: { kind: string }, name: string, patch: { metadata?: { resourceVersion?: string } }): Promise<never> => {
    const key = `${type.kind}/${name}`;
    const present = this.objects.get(key);
    if (!present) throw new Error(`no ${key}`);
    const { resourceVersion } = patch.metadata ?? {};
    if (resourceVersion && resourceVersion !== present.metadata.resourceVersion) throw new KubeError(409, 'Conflict', 'changed');
    const next = merged(present, patch) as typeof present;
    const changed = 'spec' in patch ? { generation: (present.metadata.generation ?? 0) + 1 } : {};
    next.metadata = { ...next.metadata, ...changed, resourceVersion: String(++this.#version) };
    if (next.metadata.deletionTimestamp && next.metadata.finalizers?.length === 0) this.objects.delete(key);
    else this.objects.set(key, next);
    return structuredClone(next) as never;
  };

  readonly event = (_object: KubeObject, _type: string, reason: string, message: string): void => {
    this.events.push({ reason, message });
  };
}

/** A JSON merge patch (RFC 7396): null removes. */
function merged(value: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const next = { ...(value as Record<string, unknown> | undefined) };
  for (const [key, each] of Object.entries(patch)) {
    if (each === null) delete next[key];
    else next[key] = merged(next[key], each);
  }
  return next;
}
