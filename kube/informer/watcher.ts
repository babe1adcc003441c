import { setTimeout as delay } from 'node:timers/promises';
import { KubeError, messageOf } from '../client/error.ts';
import type { KubeObject, Log } from '../client/types.ts';
import type { WatchEvent, WatchStatus } from '../client/watch-stream.ts';
import { Backoff } from '../controller/backoff.ts';

/** A collection of the API server. */
export interface WatchSource<T> {
  list(signal: AbortSignal): Promise<{ items: T[]; resourceVersion: string }>;
  watch(resourceVersion: string, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
}

/** Gets the state of a collection, and its changes. Its methods do not throw. */
export interface WatchSink<T> {
  /** The whole collection, as it is now. */
  replace(items: T[]): void;
  applied(object: T): void;
  deleted(object: T): void;
}

export interface WatcherOptions {
  log: Log;
  /** For the log: what is watched. */
  what: string;
  /** Pauses after failures. */
  backoff?: Backoff;
  /** A watch that lasted this long counts as successful, in milliseconds. */
  goodMs?: number;
}

/** When the version of a list expires sooner than this, there is a pause before the next list; in milliseconds. */
const EXPIRED_MS = 1_000;

/** The resource version has expired: list again. */
class Expired extends Error {}

/**
 * Keeps a sink equal to a collection until the signal is aborted. There are two states: listing, then watching from the list's resource
 * version. A watch that ends or breaks is resumed from the last version seen. When the server cannot resume it (410, or a version from
 * the future after a restore), the collection is listed again.
 */
export async function watchForever<T extends KubeObject>(
  source: WatchSource<T>,
  sink: WatchSink<T>,
  { log, what, backoff = new Backoff(100, 10_000), goodMs = 5_000 }: WatcherOptions,
  signal: AbortSignal,
): Promise<void> {
  let version: string | undefined;
  let failures = 0;
  let listedAt = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    const started = performance.now();
    let failure: unknown;
    let heard = false;
    try {
      if (version === undefined) {
        const { items, resourceVersion } = await source.list(signal);
        signal.throwIfAborted();
        sink.replace(items);
        version = resourceVersion;
        listedAt = performance.now();
        log.debug({ what, count: items.length, resourceVersion }, 'listed');
      }
      for await (const event of source.watch(version, signal)) {
        if (event.type === 'ERROR') throw errorOf(event.object);
        heard = true;
        version = event.object.metadata.resourceVersion ?? version;
        if (event.type === 'DELETED') sink.deleted(event.object);
        else if (event.type !== 'BOOKMARK') sink.applied(event.object);
      }
    } catch (error) {
      if (signal.aborted) return;
      failure = error instanceof KubeError && error.code === 410 ? new Expired(error.message) : error;
      if (mustList(failure)) version = undefined;
    }
    // Events before an expiry do not count as success: they come again with every list.
    const good = (heard && !(failure instanceof Expired)) || performance.now() - started >= goodMs;
    if (good) {
      backoff.reset();
      failures = 0;
    }
    if (failure === undefined && good) continue;
    // An expired version is not a failure: list at once, unless the last list is very recent.
    if (failure instanceof Expired && performance.now() - listedAt > EXPIRED_MS) {
      backoff.reset();
      continue;
    }
    const pauseMs = backoff.next();
    if (failure !== undefined && !(failure instanceof Expired)) {
      // Of an outage the first failure is logged, and then every tenth.
      const level = failures++ % 10 === 0 ? 'warn' : 'debug';
      const message = version === undefined ? 'list failed' : 'watch interrupted';
      log[level]({ what, failures, error: messageOf(failure), retryMs: Math.round(pauseMs) }, message);
    }
    await delay(pauseMs, undefined, { signal }).catch(() => {});
  }
}

function errorOf({ code = 500, reason = '', message = 'ended with an error', details }: WatchStatus): Error {
  if (code === 410 || isFromFuture(details)) return new Expired(message);
  return new KubeError(code, reason, `watch: ${message}`);
}

/** The server's version is older than ours: it was restored from a backup. */
function isFromFuture(details: WatchStatus['details']): boolean {
  return details?.causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge') ?? false;
}

/** Whether a watch cannot be resumed. A client error (4xx) would come again; a list shows whether it is permanent. */
function mustList(error: unknown): boolean {
  if (error instanceof Expired) return true;
  if (!(error instanceof KubeError)) return false;
  return isFromFuture(error.details) || (error.code >= 400 && error.code < 500 && error.code !== 429);
}
