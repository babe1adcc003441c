import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { Subscribers } from '../subscribers.ts';
import {
  type TargetAccess,
  type TargetApi,
  TargetError,
  type TargetEvent,
  type TargetFeature,
  type TargetInterface,
  type TargetSilences,
  type TargetVolume,
  type TargetVolumeState,
} from './api.ts';

const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2000;

/** What changed: one volume, the interfaces, or everything, after the connection was made or lost. */
export type TargetChange = { type: 'volume'; uid: string } | { type: 'interfaces' } | { type: 'connection' };

/**
 * The connection to the target process: knows what the target serves, and connects again after it restarted. While it is away
 * nothing is known of it, and calls reject at once.
 */
export class TargetConnection {
  readonly #api: TargetApi;
  readonly #log: Logger;
  readonly #volumes = new Map<string, TargetVolumeState>();
  readonly #interfaces = new Map<string, TargetInterface>();
  readonly #subscribers = new Subscribers<TargetChange>();
  /** UIDs of volumes whose last change was made by this process, and answered. */
  readonly #answered = new Set<string>();
  #features: readonly string[] | undefined;
  #connected = false;
  #problem = 'it has not been reached yet';

  constructor(api: TargetApi, log: Logger) {
    this.#api = api;
    this.#log = log;
  }

  /** Whether everything that the target serves is known. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Why there is no connection, for people. */
  get problem(): string {
    return this.#problem;
  }

  /** Whether the connected target has this feature. */
  supports(feature: TargetFeature): boolean {
    return this.#features?.includes(feature) ?? false;
  }

  /** Whether the target has ever said what it can do: later, while it is away, {@link supports} is about the last one. */
  get known(): boolean {
    return this.#features !== undefined;
  }

  state(uid: string): TargetVolumeState | undefined {
    return this.#volumes.get(uid);
  }

  /**
   * Whether the target has answered the last change of a volume. The answer says that no request is under way that is forbidden now; the state
   * has a change as soon as that is saved. What was asked for by an agent that has ended does not count: nobody knows whether it was answered.
   */
  isAnswered(uid: string): boolean {
    return this.#answered.has(uid);
  }

  /** How many volumes the target serves. */
  get served(): number {
    return this.#volumes.size;
  }

  states(): TargetVolumeState[] {
    return [...this.#volumes.values()];
  }

  interfaces(): TargetInterface[] {
    return [...this.#interfaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Calls the listener at once on each change; it must not throw. */
  subscribe(listener: (change: TargetChange) => void): () => void {
    return this.#subscribers.add(listener);
  }

  /** Watches the target until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let backoff = MIN_BACKOFF_MS;
    while (!signal.aborted) {
      try {
        for await (const event of this.#watch(signal)) {
          this.#take(event);
          if (event.type === 'synced') backoff = MIN_BACKOFF_MS;
        }
        this.#lost('it ended the connection');
      } catch (error) {
        this.#lost(messageOf(error));
      }
      await delay(backoff, undefined, { signal }).catch(() => {});
      backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
    }
    this.#lost('the agent is stopping');
  }

  /** Serves a volume, or changes how it is served. @throws TargetError, as all calls here */
  async export(volume: TargetVolume, signal: AbortSignal): Promise<TargetVolumeState> {
    return this.#keep(await this.#change(volume.uid, () => this.#api.export(volume, signal), volume.path));
  }

  async unexport(uid: string, signal: AbortSignal): Promise<void> {
    await this.#change(uid, () => this.#api.unexport(uid, signal));
    this.#answered.delete(uid);
    this.#volumes.delete(uid);
    this.#emit({ type: 'volume', uid });
  }

  async setAccess(uid: string, access: TargetAccess, signal: AbortSignal): Promise<TargetVolumeState> {
    return this.#keep(await this.#change(uid, () => this.#api.setAccess(uid, access, signal)));
  }

  async replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array, signal: AbortSignal): Promise<TargetVolumeState> {
    return this.#keep(await this.#change(uid, () => this.#api.replaceConfigString(uid, expected, replacement, signal)));
  }

  /** Holds the writes of a volume back, until {@link release} or for `limitMs`. @returns the number of the hold */
  async hold(uid: string, limitMs: number, signal: AbortSignal): Promise<number> {
    return await this.#call(() => this.#api.hold(uid, limitMs, signal));
  }

  /** Ends a hold. @returns whether no write began since */
  async release(uid: string, hold: number, signal: AbortSignal): Promise<boolean> {
    return await this.#call(() => this.#api.release(uid, hold, signal));
  }

  /** For how long hosts were silent. Needs the feature `heard`. */
  async getHeard(signal: AbortSignal): Promise<TargetSilences> {
    return await this.#call(() => this.#api.getHeard(signal));
  }

  async setInterfaces(names: string[], signal: AbortSignal): Promise<void> {
    const interfaces = await this.#call(() => this.#api.setInterfaces(names, signal));
    this.#interfaces.clear();
    for (const entry of interfaces) this.#interfaces.set(entry.name, entry);
    this.#emit({ type: 'interfaces' });
  }

  async *#watch(signal: AbortSignal): AsyncIterable<TargetEvent> {
    // A new watch reports every volume: one that it does not report is gone.
    const reported = new Set<string>();
    let synced = false;
    const { interfaces, features } = await this.#api.getInfo(signal);
    this.#features = features;
    this.#interfaces.clear();
    for (const entry of interfaces) this.#interfaces.set(entry.name, entry);
    for await (const event of this.#api.watch(signal)) {
      if (event.type === 'changed' && !synced) reported.add(event.state.volume.uid);
      if (event.type === 'synced') {
        synced = true;
        for (const uid of this.#volumes.keys()) if (!reported.has(uid)) this.#volumes.delete(uid);
      }
      yield event;
    }
  }

  #take(event: TargetEvent): void {
    switch (event.type) {
      case 'changed':
        this.#keep(event.state);
        return;
      case 'removed':
        this.#volumes.delete(event.uid);
        this.#answered.delete(event.uid);
        this.#emit({ type: 'volume', uid: event.uid });
        return;
      case 'interface':
        this.#interfaces.set(event.interface.name, event.interface);
        this.#emit({ type: 'interfaces' });
        return;
      case 'synced':
        this.#connected = true;
        this.#problem = '';
        this.#log.info({ volumes: this.#volumes.size }, 'target connected');
        this.#emit({ type: 'connection' });
        return;
    }
  }

  #keep(state: TargetVolumeState): TargetVolumeState {
    this.#volumes.set(state.volume.uid, state);
    this.#emit({ type: 'volume', uid: state.volume.uid });
    return state;
  }

  /** A change of a volume that may have to wait for its disk. */
  async #change<R>(uid: string, call: () => Promise<R>, path = this.state(uid)?.volume.path ?? `of volume ${uid}`): Promise<R> {
    try {
      const answer = await this.#call(() => {
        this.#answered.delete(uid);
        return call();
      });
      this.#answered.add(uid);
      return answer;
    } catch (error) {
      if (!(error instanceof TargetError) || error.reason !== 'waits') throw error;
      const message = `the target waits for disk ${path}: the change goes on, and is made once the disk has answered what is under way there`;
      throw new TargetError(error.reason, message, { cause: error });
    }
  }

  async #call<R>(call: () => Promise<R>): Promise<R> {
    if (!this.#connected) throw new TargetError('unavailable', `the target process does not answer: ${this.#problem}`);
    return await call();
  }

  #lost(problem: string): void {
    const was = this.#connected;
    this.#connected = false;
    this.#volumes.clear();
    if (was || this.#problem !== problem) this.#log.warn({ problem }, 'target not connected');
    this.#problem = problem;
    if (was) this.#emit({ type: 'connection' });
  }

  #emit(change: TargetChange): void {
    if (!this.#connected && change.type === 'volume') return;
    this.#subscribers.emit(change);
  }
}
