import type { KubeObject } from '../client/types.ts';
import { type Call, type Handler, json, line, refuse, silence } from './fake-server.ts';

interface Event {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
}

/** One collection as an API server keeps it: versions, a short memory of what happened, lists in small pages, and watches. */
export class FakeCollection {
  readonly #objects = new Map<string, KubeObject>();
  readonly #history: Event[] = [];
  readonly #watches = new Set<Call>();
  /** Changes up to this version are forgotten. */
  #forgotten = 0;
  #version = 0;
  #uids = 0;

  readonly handler: Handler = (call) => (call.query.has('watch') ? this.#watch(call) : this.#list(call));

  put(name: string): void {
    const before = this.#objects.get(name);
    const resourceVersion = String(++this.#version);
    const object: KubeObject = { metadata: { name, uid: before?.metadata.uid ?? `u${++this.#uids}`, resourceVersion } };
    this.#objects.set(name, object);
    this.#happen({ version: this.#version, type: before ? 'MODIFIED' : 'ADDED', object });
  }

  remove(name: string): void {
    const before = this.#objects.get(name);
    if (!before) return;
    this.#objects.delete(name);
    const object = { metadata: { ...before.metadata, resourceVersion: String(++this.#version) } };
    this.#happen({ version: this.#version, type: 'DELETED', object });
  }

  /** Forgets all changes: older versions can be neither watched nor continued in pages. */
  forget(): void {
    this.#forgotten = this.#version;
    this.#history.length = 0;
  }

  bookmark(): void {
    for (const call of this.#watches) line(call, 'BOOKMARK', { metadata: { resourceVersion: String(this.#version) } });
  }

  /** Ends all watches: as a server does, or by breaking the connections. */
  end(how: 'well' | 'broken'): void {
    for (const call of this.#watches) {
      if (how === 'well') call.response.end();
      else call.socket.destroy();
    }
    this.#watches.clear();
  }

  get contents(): string[] {
    return [...this.#objects.values()].map(spell).sort();
  }

  #happen(event: Event): void {
    this.#history.push(event);
    for (const call of this.#watches) line(call, event.type, event.object);
  }

  #list(call: Call): void {
    const [version = this.#version, start = 0] = call.query.get('continue')?.split(',').map(Number) ?? [];
    // All pages show one version: this fake has them only while nothing has changed since.
    if (version < this.#forgotten || version !== this.#version) {
      refuse(call, 410, 'Expired');
      return;
    }
    const size = call.query.has('limit') ? 2 : Number.POSITIVE_INFINITY;
    const all = [...this.#objects.values()];
    const more = start + size < all.length ? { continue: `${version},${start + size}` } : {};
    json(call, { metadata: { resourceVersion: String(version), ...more }, items: all.slice(start, start + size) });
  }

  #watch(call: Call): void {
    const from = Number(call.query.get('resourceVersion'));
    if (from < this.#forgotten) {
      line(call, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });
      return;
    }
    silence(call);
    for (const { version, type, object } of this.#history) if (version > from) line(call, type, object);
    this.#watches.add(call);
    call.response.on('close', () => this.#watches.delete(call));
  }
}

export function spell({ metadata: { name, uid, resourceVersion } }: KubeObject): string {
  return `${name} ${uid} ${resourceVersion}`;
}
