import { KubeError } from '../client/error.ts';
import type { CallOptions } from '../client/kube.ts';
import type { KubeObject, ResourceType } from '../client/types.ts';

/** What a call through a link meets. */
export type Weather = 'fine' | 'refused' | 'silent' | 'answer lost';

/** Objects in memory with resource versions, as an API server keeps them, behind links that can be disturbed one by one. */
export class FakeApi {
  readonly objects = new Map<string, KubeObject>();
  #version = 0;

  /** A client's way to the server. */
  link(): FakeLink {
    return new FakeLink(this);
  }

  read(type: ResourceType, name: string): KubeObject | undefined {
    return structuredClone(this.objects.get(`${type.plural}/${name}`));
  }

  create(type: ResourceType, object: KubeObject): KubeObject {
    const key = `${type.plural}/${object.metadata.name}`;
    if (this.objects.has(key)) throw new KubeError(409, 'AlreadyExists', `${key} exists`);
    return this.#store(key, { ...object, metadata: { ...object.metadata, uid: `uid-${++this.#version}` } });
  }

  patch(type: ResourceType, name: string, patch: Partial<KubeObject>): KubeObject {
    const key = `${type.plural}/${name}`;
    const present = this.objects.get(key);
    if (!present) throw new KubeError(404, 'NotFound', `no ${key}`);
    const { resourceVersion, uid } = patch.metadata ?? { name };
    if (resourceVersion !== undefined && resourceVersion !== present.metadata.resourceVersion)
      throw new KubeError(409, 'Conflict', 'changed');
    if (uid !== undefined && uid !== present.metadata.uid) throw new KubeError(409, 'Conflict', 'another uid');
    return this.#store(key, merge(present, patch) as KubeObject);
  }

  #store(key: string, object: KubeObject): KubeObject {
    const stored = structuredClone(object);
    stored.metadata.resourceVersion = String(++this.#version);
    this.objects.set(key, stored);
    return structuredClone(stored);
  }
}

export class FakeLink {
  readonly #api: FakeApi;
  weather: Weather = 'fine';
  calls = 0;

  constructor(api: FakeApi) {
    this.#api = api;
  }

  get<T extends KubeObject>(type: ResourceType, name: string, options: CallOptions = {}): Promise<T | undefined> {
    return this.#call(options, () => this.#api.read(type, name) as T | undefined);
  }

  create<T extends KubeObject>(type: ResourceType, object: T, options: CallOptions = {}): Promise<T> {
    return this.#call(options, () => this.#api.create(type, object) as T);
  }

  patch<T extends KubeObject>(type: ResourceType, name: string, patch: object, options: CallOptions = {}): Promise<T> {
    return this.#call(options, () => this.#api.patch(type, name, patch as Partial<KubeObject>) as T);
  }

  async #call<R>({ signal }: CallOptions, act: () => R): Promise<R> {
    this.calls++;
    signal?.throwIfAborted();
    if (this.weather === 'refused') throw new KubeError(503, 'Unreachable', 'connection refused');
    if (this.weather === 'silent') return hang(signal);
    const result = act();
    if (this.weather === 'answer lost') return hang(signal);
    await Promise.resolve();
    return result;
  }
}

/** Never ends but by the signal. */
function hang(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
}

/** JSON merge patch (RFC 7396). */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(typeof target === 'object' ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (value !== undefined) result[key] = merge(result[key], value);
  }
  return result;
}
