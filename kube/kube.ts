import type { IncomingMessage } from 'node:http';
import type { ObjectMeta } from '../api/meta.ts';
import type { ResourceType } from '../api/resources.ts';
import { isNotFound } from './errors.ts';
import { type Call, Transport } from './transport.ts';

/** Any object of the API server. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export interface Scope {
  namespace?: string;
  signal?: AbortSignal;
}

export interface ListOptions extends Scope {
  fieldSelector?: string;
  labelSelector?: string;
}

export interface WriteOptions extends Scope {
  subresource?: 'status';
  fieldManager?: string;
}

interface Page<T> {
  metadata: { resourceVersion: string; continue?: string };
  items?: T[];
}

type Query = Record<string, string | number | boolean | undefined>;

/** Objects of a list that are asked for at once. */
const PAGE = 500;

/** A typed client of one API server. Every call ends: with its answer, a KubeError, or an error of the connection. */
export class Kube {
  readonly #transport: Pick<Transport, 'json' | 'open'>;

  constructor(transport: Pick<Transport, 'json' | 'open'>) {
    this.#transport = transport;
  }

  /** With the service account of the pod, or what KUBECONFIG names. */
  static fromCluster(): Kube {
    return new Kube(Transport.fromCluster());
  }

  static fromKubeconfig(path: string): Kube {
    return new Kube(Transport.fromKubeconfig(path));
  }

  /** @returns undefined when there is no such object */
  async get<T extends KubeObject>(type: ResourceType, name: string, options: Scope = {}): Promise<T | undefined> {
    try {
      return await this.#transport.json<T>({ method: 'GET', path: urlOf(type, options, name), signal: options.signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** All objects that match, asked for in pages. @throws KubeError 410 when the list grew too old between two pages */
  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<{ items: T[]; resourceVersion: string }> {
    const { fieldSelector, labelSelector, signal } = options;
    const items: T[] = [];
    let token: string | undefined;
    for (;;) {
      const path = urlOf(type, options, undefined, { fieldSelector, labelSelector, limit: PAGE, continue: token });
      const page = await this.#transport.json<Page<T>>({ method: 'GET', path, signal });
      items.push(...(page.items ?? []));
      token = page.metadata.continue;
      if (!token) return { items, resourceVersion: page.metadata.resourceVersion };
    }
  }

  create<T extends KubeObject>(type: ResourceType, object: T, options: WriteOptions = {}): Promise<T> {
    const path = urlOf(type, options, undefined, { fieldManager: options.fieldManager });
    return this.#transport.json<T>({ method: 'POST', path, body: withType(type, object), signal: options.signal });
  }

  /**
   * Server-side apply: the fields given become ours, those that were ours and are not given are removed.
   * @throws KubeError 409 when another manager has one of them and `force` is not set
   */
  apply<T extends KubeObject>(
    type: ResourceType,
    object: T,
    options: WriteOptions & { fieldManager: string; force?: boolean },
  ): Promise<T> {
    const { fieldManager, force, subresource } = options;
    const path = urlOf(type, options, object.metadata.name, { fieldManager, force }, subresource);
    return this.#transport.json<T>({
      method: 'PATCH',
      path,
      body: withType(type, object),
      contentType: 'application/apply-patch+yaml',
      signal: options.signal,
    });
  }

  /** JSON merge patch. With metadata.resourceVersion or uid in it, it is refused with 409 when the object is another one by now. */
  patch<T extends KubeObject>(type: ResourceType, name: string, patch: object, options: WriteOptions = {}): Promise<T> {
    const path = urlOf(type, options, name, { fieldManager: options.fieldManager }, options.subresource);
    return this.#transport.json<T>({
      method: 'PATCH',
      path,
      body: patch,
      contentType: 'application/merge-patch+json',
      signal: options.signal,
    });
  }

  /** Asks for deletion; an object with finalizers stays until these are gone. No object, or with `uid` another one: nothing happens. */
  async delete(type: ResourceType, name: string, options: Scope & { uid?: string } = {}): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...(options.uid ? { preconditions: { uid: options.uid } } : {}) };
    try {
      await this.#transport.json({ method: 'DELETE', path: urlOf(type, options, name), body, signal: options.signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Opens a watch from a resource version; the answer's body has a JSON line per event. */
  watch(type: ResourceType, resourceVersion: string, options: ListOptions & { timeoutSeconds: number }): Promise<IncomingMessage> {
    const { fieldSelector, labelSelector, timeoutSeconds, signal } = options;
    const query = { watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds, fieldSelector, labelSelector };
    const call: Call = { method: 'GET', path: urlOf(type, options, undefined, query), signal };
    return this.#transport.open(call);
  }
}

function withType<T extends KubeObject>(type: ResourceType, object: T): T {
  return { ...object, apiVersion: type.group === '' ? type.version : `${type.group}/${type.version}`, kind: type.kind };
}

function urlOf(type: ResourceType, scope: Scope, name?: string, query: Query = {}, subresource?: string): string {
  const base = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const namespace = scope.namespace ? `/namespaces/${encodeURIComponent(scope.namespace)}` : '';
  const rest = [name === undefined ? '' : `/${encodeURIComponent(name)}`, subresource ? `/${subresource}` : ''].join('');
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.set(key, String(value));
  return `${base}${namespace}/${type.plural}${rest}${parameters.size > 0 ? `?${parameters}` : ''}`;
}
