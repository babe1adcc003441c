import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isConflict, isNotFound, KubeError, messageOf } from './client/error.ts';
import type { Kube } from './client/kube.ts';
import { EVENTS, type KubeObject, type Log, SILENT } from './client/types.ts';
import { microTime } from './leader/lease.ts';

const CALL_MS = 10_000;
/** Pauses before an event that a server did not take is written again, in milliseconds: the client itself does not repeat a create. */
const PAUSES_MS = [1_000, 4_000];
/** Different events that are remembered, to count repetitions. */
const MAX_KNOWN = 1000;
/** Events that may wait to be written; further ones are dropped. */
const MAX_WAITING = 200;
/** With more than these waiting, no pause is made for one event: in an outage, the others would wait behind it and be dropped. */
const MAX_PATIENT = 20;
/** The first repetition of an event is written at once, further ones at this interval, in milliseconds. */
const SERIES_MS = 60_000;
/** An event that was not repeated for this long counts as a new one, in milliseconds. */
const FORGET_MS = 600_000;
/** Limits of the API server's validation, in bytes. */
const MAX_NOTE = 1024;
const MAX_INSTANCE = 128;
/** The name of an event has at most 253 characters, of which a dot and a random part of 16 are ours. */
const MAX_PREFIX = 236;

interface Known {
  namespace: string;
  name: string;
  count: number;
  lastAt: number;
  writtenAt: number;
  created: boolean;
}

export interface EventRecorderOptions {
  /** Who reports: a qualified name, such as `example.com/my-controller`. */
  controller: string;
  /** The node that it runs on, when there is one of it per node. */
  node?: string | undefined;
  log?: Log | undefined;
  /** Pauses before each further attempt to write an event while the API server is away or busy, in milliseconds. */
  pausesMs?: readonly number[];
}

/** Writes events (events.k8s.io/v1) that `kubectl describe` shows. Equal events become a series. It never throws: nothing depends on an event. */
export class EventRecorder {
  readonly #kube: Pick<Kube, 'create' | 'patch'>;
  readonly #controller: string;
  readonly #instance: string;
  readonly #log: Log;
  readonly #pausesMs: readonly number[];
  readonly #known = new Map<string, Known>();
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(
    kube: Pick<Kube, 'create' | 'patch'> & { readonly log?: Log },
    { controller, node, log = kube.log ?? SILENT, pausesMs = PAUSES_MS }: EventRecorderOptions,
  ) {
    this.#kube = kube;
    const component = controller.slice(controller.lastIndexOf('/') + 1);
    this.#controller = controller;
    this.#instance = (node ? `${component}-${node}` : component).slice(0, MAX_INSTANCE);
    this.#log = log;
    this.#pausesMs = pausesMs;
  }

  /** @param reason a word in CamelCase, @param message a sentence for people */
  event(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const note = cut(message);
    const key = JSON.stringify([object.kind, object.metadata.namespace, object.metadata.name, object.metadata.uid, type, reason, note]);
    const now = Date.now();
    const known = this.#known.get(key);
    if (known && now - known.lastAt < FORGET_MS) {
      this.#remember(key, { ...known, count: known.count + 1, lastAt: now });
      // A clock that was set back says nothing about how long ago that was.
      if (Math.abs(now - known.writtenAt) >= SERIES_MS || known.count === 1) this.#enqueue(() => this.#repeat(key));
      return;
    }
    const { name, namespace = 'default' } = object.metadata;
    const entry = {
      namespace,
      name: `${prefixOf(name)}.${randomBytes(8).toString('hex')}`,
      count: 1,
      lastAt: now,
      writtenAt: now,
      created: false,
    };
    this.#remember(key, entry);
    // When it was dropped, its next repetition is a new event.
    if (!this.#enqueue(() => this.#create(key, entry, object, { type, reason, note }))) this.#known.delete(key);
  }

  /** Resolves when all events so far are written, or have failed. */
  async flush(): Promise<void> {
    await this.#tail;
  }

  #remember(key: string, entry: Known): void {
    // A Map keeps the order of insertion: the first entry is the oldest.
    this.#known.delete(key);
    this.#known.set(key, entry);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }

  /** @returns whether it will be written, or at least tried: false when too many wait */
  #enqueue(write: () => Promise<void>): boolean {
    if (this.#waiting >= MAX_WAITING) {
      this.#log.debug({ controller: this.#controller }, 'event dropped: too many at once');
      return false;
    }
    this.#waiting++;
    this.#tail = this.#tail.then(write).then(
      () => {
        this.#waiting--;
      },
      (error: unknown) => {
        this.#waiting--;
        this.#log.warn({ controller: this.#controller, error: messageOf(error) }, 'event not written');
      },
    );
    return true;
  }

  async #create(
    key: string,
    { namespace, name, lastAt }: Known,
    object: KubeObject,
    event: { type: string; reason: string; note: string },
  ): Promise<void> {
    const { apiVersion, kind, metadata } = object;
    const regarding = {
      apiVersion,
      kind,
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
    };
    const body = {
      metadata: { name, namespace },
      eventTime: microTime(new Date(lastAt)),
      reportingController: this.#controller,
      reportingInstance: this.#instance,
      action: event.reason,
      regarding,
      ...event,
    };
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#kube.create(EVENTS, body, { namespace, timeoutMs: CALL_MS });
        break;
      } catch (error) {
        // The name is ours alone: an attempt whose answer was lost has made it.
        if (attempt > 0 && isConflict(error)) break;
        const pauseMs = this.#pausesMs[attempt];
        if (pauseMs === undefined || this.#waiting > MAX_PATIENT || !isPassing(error)) {
          this.#known.delete(key);
          throw error;
        }
        await delay(pauseMs, undefined, { ref: false });
      }
    }
    const known = this.#known.get(key);
    if (known) known.created = true;
  }

  async #repeat(key: string): Promise<void> {
    const known = this.#known.get(key);
    if (!known?.created) return;
    known.writtenAt = Date.now();
    const series = { count: known.count, lastObservedTime: microTime(new Date(known.lastAt)) };
    try {
      await this.#kube.patch(EVENTS, known.name, { series }, { namespace: known.namespace, timeoutMs: CALL_MS });
    } catch (error) {
      // The API server has deleted it after its time: the next repetition is a new event.
      if (isNotFound(error)) this.#known.delete(key);
      else throw error;
    }
  }
}

/** Whether the server was away, did not answer in time, or had too much to do. */
function isPassing(error: unknown): boolean {
  return error instanceof KubeError && (error.code >= 500 || error.code === 429);
}

/** The start of a name, so long that the name of an event can begin with it: no part of that may end with a dot or a hyphen. */
function prefixOf(name: string): string {
  return name.slice(0, MAX_PREFIX).replace(/[.-]+$/, '');
}

/** The text, cut to the length that an event may have. */
function cut(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= MAX_NOTE) return text;
  // A character of which only a part is left is removed.
  return `${bytes
    .subarray(0, MAX_NOTE - 6)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}…`;
}
