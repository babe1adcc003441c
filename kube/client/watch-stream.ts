import type { IncomingMessage } from 'node:http';
import { KubeError } from './error.ts';
import type { KubeObject } from './types.ts';

/** The `Status` with which the server ends a watch after an error. */
export interface WatchStatus {
  code?: number;
  reason?: string;
  message?: string;
  details?: { causes?: { reason?: string }[] };
}

export type WatchEvent<T> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }
  | { type: 'BOOKMARK'; object: KubeObject }
  | { type: 'ERROR'; object: WatchStatus };

export interface WatchLimits {
  /** Longest time without data, in milliseconds. */
  silenceMs: number;
  /** Longest time of the whole watch, in milliseconds. */
  limitMs: number;
  signal?: AbortSignal | undefined;
}

/**
 * The events of a watch, each a line of JSON. A limit ends the watch as the server does: an unfinished line is dropped, and it is no
 * error.
 * @throws KubeError when the connection breaks or a line is not JSON; the signal's reason
 */
export async function* readWatch<T>(
  response: IncomingMessage,
  { silenceMs, limitMs, signal }: WatchLimits,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  let over = false;
  const stop = (): void => {
    over = true;
    response.destroy();
  };
  const silence = setTimeout(stop, silenceMs);
  const limit = setTimeout(stop, limitMs);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      silence.refresh();
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield parse<T>(line);
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (over) return;
    if (error instanceof KubeError) throw error;
    throw new KubeError(503, 'Unreachable', `watch: the connection broke: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(silence);
    clearTimeout(limit);
    signal?.removeEventListener('abort', stop);
    response.destroy();
  }
  signal?.throwIfAborted();
}

function parse<T>(line: string): WatchEvent<T> {
  try {
    return JSON.parse(line) as WatchEvent<T>;
  } catch (cause) {
    throw new KubeError(502, 'NotJSON', `watch: a line is not JSON: ${line.slice(0, 100)}`, { cause });
  }
}
