import { Credentials } from './credentials.ts';
import { isNotFound, KubeError } from './error.ts';
import { type Request, Transport } from './transport.ts';
import { apiVersionOf, type KubeObject, type Log, pathOf, type ResourceType, SILENT } from './types.ts';
import { readWatch, type WatchEvent } from './watch-stream.ts';

const REQUEST_MS = 30_000;
/** Limit until a watch begins to answer, in milliseconds: a second attempt is better than a long wait. */
const WATCH_START_MS = 10_000;
/** Objects per page of a list. client-go takes 500; smaller pages keep memory small. */
const PAGE = 100;
/** A list of metadata alone (https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches). */
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

export interface CallOptions {
  namespace?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Limit for the call in milliseconds. Default 30000 (per page of a list). */
  timeoutMs?: number | undefined;
  /** Uses a connection apart from those of other calls, so that it does not wait for them: for leases. */
  urgent?: boolean | undefined;
}
export interface ListOptions extends CallOptions {
  fieldSelector?: string | undefined;
  labelSelector?: string | undefined;
}
export interface WatchOptions extends ListOptions {
  resourceVersion: string;
  /** The server ends the watch after this time. */
  timeoutSeconds: number;
  /** The connection counts as dead after this time without data, bookmarks included, in milliseconds. */
  silenceMs: number;
}
export interface KubeOptions {
  log?: Log | undefined;
  /** Sent to the API server, which writes it to its audit log. */
  userAgent?: string | undefined;
}

/** The Kubernetes API. All calls reject with KubeError, or with the signal's reason. Objects come without `managedFields`. */
export class Kube {
  readonly #transport: Transport;
  /** For objects that are made of this client and get no log of their own. */
  readonly log: Log;

  constructor(credentials: Credentials, { log = SILENT, userAgent = 'kubernetes-client' }: KubeOptions = {}) {
    this.#transport = new Transport(credentials, userAgent);
    this.log = log;
  }

  /** Uses this kubeconfig; without one the pod's service account; without that KUBECONFIG or ~/.kube/config. */
  static fromCluster(kubeconfig?: string, options?: KubeOptions): Kube {
    return kubeconfig ? Kube.fromKubeconfig(kubeconfig, options) : new Kube(Credentials.fromCluster(), options);
  }

  static fromKubeconfig(path: string, options?: KubeOptions): Kube {
    return new Kube(Credentials.fromKubeconfig(path), options);
  }

  /** A server without authentication, for tests. */
  static fromUrl(server: string, options?: KubeOptions): Kube {
    return new Kube(Credentials.fromUrl(server), options);
  }

  /** Undefined when the object does not exist. */
  async get<T extends KubeObject>(type: ResourceType, name: string, { namespace, ...limits }: CallOptions = {}): Promise<T | undefined> {
    try {
      return lean<T>(await this.#call(limits, { method: 'GET', path: pathOf(type, { namespace, name }) }));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** All objects, read in pages. A list that expires between two pages is started again. */
  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<{ items: T[]; resourceVersion: string }> {
    return this.#listAll(type, options, undefined);
  }

  /** The metadata of all objects: a small part of what a list of the whole objects costs. */
  async listMetadata(type: ResourceType, options: ListOptions = {}): Promise<KubeObject[]> {
    const { items } = await this.#listAll(type, options, METADATA_LIST);
    return items.map((item) => ({ ...item, apiVersion: apiVersionOf(type), kind: type.kind }));
  }

  async #listAll<T extends KubeObject>(
    type: ResourceType,
    options: ListOptions,
    accept: string | undefined,
  ): Promise<{ items: T[]; resourceVersion: string }> {
    for (let attempt = 1; ; attempt++) {
      try {
        // The last attempt reads everything at once: only a list in pages can expire.
        return await this.#listOnce<T>(type, options, { limit: attempt < 3 ? PAGE : undefined, accept });
      } catch (error) {
        if (!(error instanceof KubeError) || error.code !== 410 || attempt === 3) throw error;
      }
    }
  }

  async #listOnce<T extends KubeObject>(
    type: ResourceType,
    { namespace, fieldSelector, labelSelector, ...limits }: ListOptions,
    { limit, accept }: { limit: number | undefined; accept: string | undefined },
  ): Promise<{ items: T[]; resourceVersion: string }> {
    const items: T[] = [];
    const path = pathOf(type, { namespace });
    const apiVersion = apiVersionOf(type);
    for (let next: string | undefined; ; ) {
      const query = { fieldSelector, labelSelector, limit, continue: next };
      const page = (await this.#call(limits, { method: 'GET', path, query, accept })) as ListPage<T>;
      // The server leaves the type out of the items of a list of built-in resources.
      for (const item of page.items ?? []) items.push(lean<T>({ apiVersion, kind: type.kind, ...item }));
      next = page.metadata.continue || undefined;
      if (next === undefined) return { items, resourceVersion: page.metadata.resourceVersion };
    }
  }

  /** Changes since a resource version, until the server or a limit ends the watch, which is no error. */
  async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { namespace, fieldSelector, labelSelector, resourceVersion, timeoutSeconds, silenceMs, signal } = options;
    const query = { watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds, fieldSelector, labelSelector };
    const timeoutMs = Math.min(WATCH_START_MS, silenceMs);
    const response = await this.#transport.stream({ method: 'GET', path: pathOf(type, { namespace }), query, timeoutMs, signal });
    // Longer than the server's own limit: a server that works ends the watch itself, with a last bookmark.
    const limitMs = (timeoutSeconds + 15) * 1000;
    for await (const event of readWatch<T>(response, { silenceMs, limitMs, signal })) {
      if (event.type !== 'ERROR') lean(event.object);
      yield event;
    }
  }

  async create<T extends KubeObject>(
    type: ResourceType,
    object: T,
    options: CallOptions & { fieldManager?: string | undefined } = {},
  ): Promise<T> {
    const { namespace = object.metadata.namespace, fieldManager, ...limits } = options;
    const body = typed(type, object);
    return lean<T>(
      await this.#call(limits, {
        method: 'POST',
        path: pathOf(type, { namespace }),
        query: { fieldManager },
        body,
      }),
    );
  }

  /**
   * Server-side apply: creates the object when there is none (not with a subresource: 404). With `metadata.resourceVersion` in
   * it, it fails with 409 when the object has changed since. `metadata.uid` is not compared when the status is written.
   */
  async apply<T extends KubeObject>(
    type: ResourceType,
    object: Applied,
    options: CallOptions & { fieldManager: string; force?: boolean | undefined; subresource?: 'status' | undefined },
  ): Promise<T> {
    const { namespace = object.metadata.namespace, fieldManager, force, subresource, ...limits } = options;
    const path = pathOf(type, { namespace, name: object.metadata.name, subresource });
    const contentType = 'application/apply-patch+yaml';
    const body = typed(type, object);
    return lean<T>(await this.#call(limits, { method: 'PATCH', path, query: { fieldManager, force }, body, contentType }));
  }

  /** JSON merge patch. With `metadata.resourceVersion` in it, it fails with 409 when the object has changed since. */
  async patch<T extends KubeObject>(
    type: ResourceType,
    name: string,
    mergePatch: object,
    options: CallOptions & { subresource?: 'status' | undefined; fieldManager?: string | undefined } = {},
  ): Promise<T> {
    const { namespace, subresource, fieldManager, ...limits } = options;
    const path = pathOf(type, { namespace, name, subresource });
    const contentType = 'application/merge-patch+json';
    return lean<T>(await this.#call(limits, { method: 'PATCH', path, query: { fieldManager }, body: mergePatch, contentType }));
  }

  /**
   * Deletes the object, or marks it for deletion when it has finalizers. An object that is gone is no error; another UID is (409).
   * `gracePeriodSeconds: 0` removes a pod at once, whatever still runs on its node.
   */
  async delete(
    type: ResourceType,
    name: string,
    options: CallOptions & { uid?: string | undefined; gracePeriodSeconds?: number | undefined } = {},
  ): Promise<void> {
    const { namespace, uid, gracePeriodSeconds, ...limits } = options;
    const conditions = {
      ...(uid === undefined ? {} : { preconditions: { uid } }),
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    };
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...conditions };
    try {
      await this.#call(limits, { method: 'DELETE', path: pathOf(type, { namespace, name }), body });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #call({ signal, timeoutMs = REQUEST_MS, urgent }: Limits, request: Omit<Request, keyof Limits>): Promise<unknown> {
    return this.#transport.request({ ...request, timeoutMs, urgent, signal });
  }

  /** Closes all connections; requests under way fail. */
  close(): void {
    this.#transport.close();
  }
}

/** The fields of an object that the field manager is to own. */
export interface Applied {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    finalizers?: string[];
  };
  spec?: object;
  status?: object;
}

type Limits = Omit<CallOptions, 'namespace'>;

interface ListPage<T> {
  metadata: { resourceVersion: string; continue?: string };
  items?: T[];
}

function typed(type: ResourceType, object: object): object {
  return { apiVersion: apiVersionOf(type), kind: type.kind, ...object };
}

/** Removes managedFields: they are most of an object's size, and not used here. */
function lean<T extends KubeObject>(object: unknown): T {
  const metadata = (object as { metadata?: { managedFields?: unknown } }).metadata;
  if (metadata) delete metadata.managedFields;
  return object as T;
}
