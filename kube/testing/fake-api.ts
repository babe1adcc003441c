import { KubeError } from '../client/error.ts';
import type { Applied, CallOptions } from '../client/kube.ts';
import type { KubeObject, ResourceType } from '../client/types.ts';
import type { Store } from '../informer/store.ts';

/** What happens to calls through a link. `answer held`: it is read only after `release`. */
export type Weather = 'fine' | 'refused' | 'silent' | 'answer lost' | 'answer held';
type Verb = 'get' | 'list' | 'create' | 'patch' | 'apply' | 'delete';
type Kind = Pick<ResourceType, 'kind'>;
interface WriteOptions extends CallOptions {
  fieldManager?: string | undefined;
  subresource?: 'status' | undefined;
}
type Body = KubeObject & { spec?: unknown; status?: Record<string, unknown> };

/** How one call fails: before it has had its effect, or after, so that only its answer is lost. */
export interface Failure {
  readonly error: Error;
  readonly hasEffect?: boolean;
}

/**
 * The one fake API server: objects in memory with resource versions, generations, finalizers and field managers, and with Kube's
 * methods. Of server-side apply it knows the status: fields of each manager, and lists of entries with a `type` or a `name`.
 */
export class FakeApi {
  readonly #objects = new Map<string, Body>();
  /** By object, what each field manager has applied to its status. */
  readonly #managers = new Map<string, Map<string, Record<string, unknown>>>();
  #version = 0;
  /** Failures of the next calls. */
  readonly #failures: { verb: Verb; failure: Failure }[] = [];
  /** Every status that was applied, in order. */
  readonly written: { kind: string; name: string; manager: string; status: Record<string, unknown> }[] = [];
  readonly events: { reason: string; message: string }[] = [];
  /** How many patches came, with or without effect. */
  patches = 0;

  /** The event method of an EventRecorder. */
  readonly event = (_object: KubeObject, _type: string, reason: string, message: string): void => {
    this.events.push({ reason, message });
  };

  /** A client's way to the server. */
  link(): FakeLink {
    return new FakeLink(this);
  }

  /** The next call of a kind fails. */
  failNext(verb: Verb, error: Error, { hasEffect = false }: { hasEffect?: boolean } = {}): void {
    this.#failures.push({ verb, failure: { error, hasEffect } });
  }

  /** Creates an object, or replaces it whatever its version. One without a UID gets one. */
  put<T extends KubeObject & { kind: string }>(object: T): T {
    const key = keyOf(object, object.metadata.name);
    const metadata = { uid: `uid-${object.metadata.name}`, ...object.metadata, generation: (object.metadata.generation ?? 0) + 1 };
    // What a manager applied stays its own while the object is the same one.
    if (this.#objects.get(key)?.metadata.uid !== metadata.uid) this.#managers.delete(key);
    return this.#store(key, { ...object, metadata }) as T;
  }

  remove(type: Kind, name: string): void {
    this.#objects.delete(keyOf(type, name));
    this.#managers.delete(keyOf(type, name));
  }

  read<T extends KubeObject>(type: Kind, name: string): T | undefined {
    return structuredClone(this.#objects.get(keyOf(type, name))) as T | undefined;
  }

  all<T extends KubeObject>(kind: string): T[] {
    return structuredClone([...this.#objects].filter(([key]) => key.startsWith(`${kind}/`)).map(([, object]) => object)) as unknown as T[];
  }

  /** Objects of one kind, as an informer that is never late has them. */
  store<T extends KubeObject>(kind: string): Store<T> {
    return { get: (name) => this.read<T>({ kind }, name), list: () => this.all<T>(kind) };
  }

  /** Objects of one kind, as an informer has them whose watch shows changes only when the test says so. */
  lateStore<T extends KubeObject>(kind: string): Store<T> & { catchUp(): void } {
    let seen: T[] = [];
    return {
      get: (name) => seen.find(({ metadata }) => metadata.name === name),
      list: () => [...seen],
      catchUp: () => {
        seen = this.all<T>(kind);
      },
    };
  }

  readonly get = async <T extends KubeObject>(type: Kind, name: string): Promise<T | undefined> =>
    this.#call('get', () => this.read<T>(type, name));

  readonly list = async <T extends KubeObject>({ kind }: Kind): Promise<{ items: T[]; resourceVersion: string }> =>
    this.#call('list', () => ({ items: this.all<T>(kind), resourceVersion: String(this.#version) }));

  readonly listMetadata = async ({ kind }: Kind): Promise<KubeObject[]> =>
    this.#call('list', () => this.all(kind).map(({ metadata }) => ({ kind, metadata })));

  readonly create = async <T extends KubeObject>(type: Kind, object: T): Promise<T> =>
    this.#call('create', () => {
      const key = keyOf(type, object.metadata.name);
      if (this.#objects.has(key)) throw new KubeError(409, 'AlreadyExists', `${key} exists`);
      const metadata = { ...object.metadata, uid: `uid-${++this.#version}`, generation: 1 };
      return this.#store(key, { kind: type.kind, ...object, metadata }) as unknown as T;
    });

  readonly patch = async <T extends KubeObject>(
    type: Kind,
    name: string,
    patch: object,
    { subresource }: WriteOptions = {},
  ): Promise<T> => {
    this.patches++;
    return this.#call('patch', () => {
      const key = keyOf(type, name);
      const { metadata, status, ...rest } = patch as Partial<Body>;
      const present = this.#current(key, metadata, { isStatus: subresource === 'status' });
      if (subresource === 'status') {
        // It has the parts of all managers; from now on no manager owns any of them.
        this.#managers.delete(key);
        return this.#store(key, { ...present, status: merge(present.status, status) as Record<string, unknown> }) as unknown as T;
      }
      const next = merge(present, { ...rest, ...(metadata ? { metadata } : {}) }) as Body;
      if ('spec' in rest) next.metadata.generation = (present.metadata.generation ?? 0) + 1;
      if (next.metadata.deletionTimestamp && (next.metadata.finalizers ?? []).length === 0) {
        this.remove(type, name);
        return next as unknown as T;
      }
      return this.#store(key, next) as unknown as T;
    });
  };

  /** Server-side apply. Without a subresource it only creates: nobody here applies more than that. */
  readonly apply = async <T extends KubeObject>(
    type: Kind,
    object: Applied,
    { fieldManager = '', subresource }: WriteOptions = {},
  ): Promise<T> =>
    this.#call('apply', () => {
      const { name } = object.metadata;
      const key = keyOf(type, name);
      if (subresource !== 'status') {
        const present = this.#objects.get(key) ?? { kind: type.kind, metadata: { uid: `uid-${name}`, name } };
        return this.#store(key, { ...present, ...(object.spec ? { spec: object.spec } : {}) }) as unknown as T;
      }
      const present = this.#current(key, object.metadata, { isStatus: true });
      const status = structuredClone(object.status ?? {}) as Record<string, unknown>;
      this.written.push({ kind: type.kind, name, manager: fieldManager, status });
      const managers = this.#managers.get(key) ?? new Map<string, Record<string, unknown>>();
      this.#managers.set(key, managers);
      const rest = without(present.status ?? {}, managers.get(fieldManager) ?? {});
      managers.set(fieldManager, status);
      return this.#store(key, { ...present, status: overlay(rest, status) }) as unknown as T;
    });

  readonly delete = async (type: Kind, name: string, { uid }: { uid?: string | undefined } = {}): Promise<void> =>
    this.#call('delete', () => {
      const present = this.#objects.get(keyOf(type, name));
      if (!present) return;
      if (uid !== undefined && uid !== present.metadata.uid) throw new KubeError(409, 'Conflict', 'another uid');
      if ((present.metadata.finalizers ?? []).length === 0) this.remove(type, name);
      else this.#store(keyOf(type, name), { ...present, metadata: { ...present.metadata, deletionTimestamp: new Date(0).toISOString() } });
    });

  async #call<R>(verb: Verb, act: () => R): Promise<R> {
    const index = this.#failures.findIndex((each) => each.verb === verb);
    const [failed] = index < 0 ? [] : this.#failures.splice(index, 1);
    if (failed && !failed.failure.hasEffect) throw failed.failure.error;
    const result = act();
    if (failed) throw failed.failure.error;
    return result;
  }

  /** The object, if the preconditions of a write hold. As in the API server, the UID is not compared when the status is written. */
  #current(key: string, { resourceVersion, uid }: Partial<KubeObject['metadata']> = {}, { isStatus }: { isStatus: boolean }): Body {
    const present = this.#objects.get(key);
    if (!present) throw new KubeError(404, 'NotFound', `there is no ${key}`);
    if (resourceVersion !== undefined && resourceVersion !== present.metadata.resourceVersion)
      throw new KubeError(409, 'Conflict', `${key} has been modified`);
    if (!isStatus && uid !== undefined && uid !== present.metadata.uid) throw new KubeError(409, 'Conflict', `${key} has another uid`);
    return present;
  }

  #store(key: string, object: Body): Body {
    const stored = structuredClone(object);
    stored.metadata.resourceVersion = String(++this.#version);
    this.#objects.set(key, stored);
    return structuredClone(stored);
  }
}

/** One client's connection to a {@link FakeApi}, which can be disturbed. */
export class FakeLink {
  readonly #api: FakeApi;
  weather: Weather = 'fine';
  calls = 0;
  #held = Promise.withResolvers<void>();

  constructor(api: FakeApi) {
    this.#api = api;
  }

  /** The answers that were held are read now. */
  release(): void {
    this.#held.resolve();
    this.#held = Promise.withResolvers();
  }

  get<T extends KubeObject>(type: ResourceType, name: string, options: CallOptions = {}): Promise<T | undefined> {
    return this.#call(options, () => this.#api.get<T>(type, name));
  }

  create<T extends KubeObject>(type: ResourceType, object: T, options: CallOptions = {}): Promise<T> {
    return this.#call(options, () => this.#api.create(type, object));
  }

  patch<T extends KubeObject>(type: ResourceType, name: string, patch: object, options: CallOptions = {}): Promise<T> {
    return this.#call(options, () => this.#api.patch<T>(type, name, patch));
  }

  async #call<R>({ signal }: CallOptions, act: () => Promise<R>): Promise<R> {
    this.calls++;
    signal?.throwIfAborted();
    if (this.weather === 'refused') throw new KubeError(503, 'Unreachable', 'connection refused');
    if (this.weather === 'silent') return hang(signal);
    const result = await act();
    if (this.weather === 'answer lost') return hang(signal);
    if (this.weather === 'answer held') await Promise.race([this.#held.promise, hang(signal)]);
    return result;
  }
}

/** Ends only with the signal. */
function hang(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
}

function keyOf({ kind }: Kind, name: string): string {
  return `${kind}/${name}`;
}

/** JSON merge patch (RFC 7396): null removes. */
export function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(typeof target === 'object' ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (value !== undefined) result[key] = merge(result[key], value);
  }
  return result;
}

/** The key of an entry of a list that is merged by key; undefined when the list is not. */
function entryKey(entry: unknown): unknown {
  if (typeof entry !== 'object' || entry === null) return undefined;
  return 'type' in entry ? entry.type : 'name' in entry ? entry.name : undefined;
}

function isKeyed(list: unknown): list is object[] {
  return Array.isArray(list) && list.length > 0 && list.every((entry) => entryKey(entry) !== undefined);
}

/** A status without what a manager applied to it earlier. */
function without(status: Record<string, unknown>, part: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(status).flatMap(([field, value]) => {
      if (!(field in part)) return [[field, value]];
      const own = part[field];
      if (!isKeyed(value) || !isKeyed(own)) return [];
      const left = value.filter((entry) => !own.some((each) => entryKey(each) === entryKey(entry)));
      return left.length > 0 ? [[field, left]] : [];
    }),
  );
}

/** A status with what a manager applies to it. */
function overlay(status: Record<string, unknown>, part: Record<string, unknown>): Record<string, unknown> {
  const result = { ...status };
  for (const [field, value] of Object.entries(part)) {
    if (value === undefined) continue;
    const present = result[field];
    const others =
      isKeyed(present) && isKeyed(value) ? present.filter((entry) => !value.some((own) => entryKey(own) === entryKey(entry))) : [];
    result[field] = others.length > 0 ? [...others, ...(value as object[])] : value;
  }
  return result;
}
