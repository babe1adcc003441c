import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { ObjectMeta } from '../api/meta.ts';
import type { ResourceType } from '../api/resources.ts';
import type { Kube, KubeObject } from './kube.ts';

const EVENTS: ResourceType = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
/** The same event about the same object is told again after this long at the earliest. */
const REPEAT_MS = 60_000;
/** Events that wait to be written; more are dropped. */
const MAX_PENDING = 100;
const WRITE_MS = 5_000;

interface Event extends KubeObject {
  eventTime: string;
  reportingController: string;
  reportingInstance: string;
  action: string;
  reason: string;
  note: string;
  type: 'Normal' | 'Warning';
  regarding: { apiVersion?: string; kind?: string; name: string; namespace?: string; uid?: string };
}

/** Tells what happened to an object, for `kubectl describe`. Never throws, and nobody waits for it. */
export class EventRecorder {
  readonly #kube: Pick<Kube, 'create'>;
  readonly #component: string;
  readonly #instance: string;
  readonly #told = new Map<string, number>();
  #pending = 0;

  constructor(kube: Pick<Kube, 'create'>, { component, node }: { component: string; node?: string }) {
    this.#kube = kube;
    this.#component = component;
    this.#instance = `${component}-${node ?? hostname()}`.slice(0, 128);
  }

  event(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { metadata, apiVersion, kind } = object;
    const key = [metadata.uid, reason, message].join('\0');
    const now = performance.now();
    if (now - (this.#told.get(key) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS || this.#pending >= MAX_PENDING) return;
    this.#forgetOld(now);
    this.#told.set(key, now);
    // Events about objects without a namespace are kept in "default".
    const namespace = metadata.namespace ?? 'default';
    const event: Event = {
      metadata: { name: eventName(metadata), namespace },
      eventTime: new Date().toISOString().replace('Z', '000Z'),
      reportingController: `aoe.dev/${this.#component}`,
      reportingInstance: this.#instance,
      action: reason,
      reason,
      note: message.slice(0, 1024),
      type,
      regarding: {
        ...(apiVersion ? { apiVersion } : {}),
        ...(kind ? { kind } : {}),
        name: metadata.name,
        ...(metadata.namespace ? { namespace } : {}),
        ...(metadata.uid ? { uid: metadata.uid } : {}),
      },
    };
    this.#pending++;
    this.#kube
      .create(EVENTS, event, { namespace, signal: AbortSignal.timeout(WRITE_MS) })
      // Told again at the next occasion.
      .catch(() => this.#told.delete(key))
      .finally(() => this.#pending--);
  }

  #forgetOld(now: number): void {
    for (const [key, at] of this.#told) if (now - at >= REPEAT_MS) this.#told.delete(key);
  }
}

function eventName({ name }: ObjectMeta): string {
  return `${name.slice(0, 200)}.${randomUUID().slice(0, 13)}`;
}
