import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { ResourceType } from '../api/resources.ts';
import { KubeError } from './errors.ts';
import type { Kube, KubeObject, ListOptions } from './kube.ts';

/** What a watcher tells: the whole list, which takes the place of all before, then each change. */
export type WatchEvent<T> = { type: 'reset'; items: T[] } | { type: 'applied'; object: T } | { type: 'deleted'; object: T };

export interface WatchLimits {
  /** For how long the API server is asked to keep a watch open. */
  readonly watchSeconds: number;
  /** A watch on which nothing comes for so long is dead: the API server sends a bookmark each minute. */
  readonly silenceMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
}

const LIMITS: WatchLimits = { watchSeconds: 290, silenceMs: 90_000, minBackoffMs: 100, maxBackoffMs: 15_000 };

interface Line {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject & { code?: number; reason?: string; message?: string };
}

/**
 * Lists and then watches for ever. Goes on from the last version after a broken, silent or ended connection, and lists again
 * when the API server has forgotten that version (410). Errors are told to `onError`, which must not throw; they end nothing.
 */
export async function* watchForEver<T extends KubeObject>(
  kube: Pick<Kube, 'list' | 'watch'>,
  type: ResourceType,
  options: ListOptions & { signal: AbortSignal; onError: (error: unknown) => void; limits?: Partial<WatchLimits> },
): AsyncGenerator<WatchEvent<T>> {
  const { signal, onError } = options;
  const limits = { ...LIMITS, ...options.limits };
  let version: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (version === undefined) {
        const { items, resourceVersion } = await kube.list<T>(type, options);
        version = resourceVersion;
        failures = 0;
        yield { type: 'reset', items };
      }
      const body = await kube.watch(type, version, { ...options, timeoutSeconds: limits.watchSeconds });
      for await (const { type: kind, object } of linesOf(body, limits.silenceMs, signal)) {
        if (kind === 'ERROR') throw new KubeError(object.code ?? 500, object.reason ?? '', object.message ?? 'the watch failed');
        version = object.metadata.resourceVersion ?? version;
        failures = 0;
        if (kind !== 'BOOKMARK') yield { type: kind === 'DELETED' ? 'deleted' : 'applied', object: object as unknown as T };
      }
      failures++;
      // A watch that ends by itself after its time is no failure, but one that ends at once again and again is.
      if (failures === 1) continue;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof KubeError && (error.code === 410 || error.reason === 'Expired')) version = undefined;
      else onError(error);
      failures++;
    }
    const most = Math.min(limits.maxBackoffMs, limits.minBackoffMs * 2 ** Math.min(failures - 1, 16));
    // Jitter, so that a thousand watchers do not come back at one moment.
    await delay(most * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
  }
}

/** The JSON lines of a body, until it ends. @throws Error when it breaks, or nothing comes for `silenceMs` */
async function* linesOf(body: IncomingMessage, silenceMs: number, signal: AbortSignal): AsyncGenerator<Line> {
  const silence = setTimeout(() => body.destroy(new Error(`nothing came on the watch for ${silenceMs / 1000} s`)), silenceMs);
  const abort = () => body.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    let rest = '';
    body.setEncoding('utf8');
    for await (const chunk of body) {
      silence.refresh();
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as Line;
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', abort);
    body.destroy();
  }
}
