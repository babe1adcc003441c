import type { Adoption, Backend, BackingVolume, CreateRequest, Growth, Measurement, WipeProgress } from '../backends/backend.ts';
import { BackendError, TAIL_BYTES, wholeBytes } from '../backends/backend.ts';
import { FakeSnapshots } from './fake-snapshots.ts';

/** A pool in memory. */
export class FakeBackend implements Backend {
  readonly volumes = new Map<string, BackingVolume>();
  readonly retained = new Set<string>();
  readonly calls: string[] = [];
  /** Thrown by the next calls, until it is taken away. */
  failure: Error | undefined;
  /** Why the pool cannot be measured. */
  unmeasured: string | undefined;
  /** Why the pool takes nothing new. */
  full: string | undefined;
  /** Making and finding data wait for this. */
  gate: Promise<void> | undefined;
  /** Wipes wait for this. */
  wiping: Promise<void> | undefined;
  /** Removals wait for this. */
  removing: Promise<void> | undefined;
  /** New volumes must be wiped. */
  unwiped = false;
  /** Zeros may be given back. */
  reclaims = false;
  size = 100 << 20;
  /** What a new volume takes for its tail, as it is measured. */
  tail = 0;
  growth?: Growth;
  readonly snapshots = new FakeSnapshots(this.volumes);
  /** What can be adopted: sizes in bytes by name. */
  readonly adoptable = new Map<string, number>();
  readonly adoption: Adoption = {
    adopt: async ({ uid, name, from }, ownerOf) => {
      this.#enter(`adopt ${from}`);
      const owner = await ownerOf(from);
      if (owner !== undefined) throw new BackendError('AdoptionOfOther', `${from} belongs to AoEVolume ${owner}`);
      const bytes = this.adoptable.get(from);
      if (bytes === undefined) throw new BackendError('NothingToAdopt', `there is no ${from}`);
      const volume = { uid, volume: name, name: `fake/${uid}`, bytes, adopted: `fake/${from}` };
      this.volumes.set(uid, volume);
      return volume;
    },
  };

  path(uid: string): string {
    return `/dev/fake/${uid}`;
  }

  async measure(): Promise<Measurement> {
    if (this.unmeasured !== undefined)
      return { ready: false, message: this.unmeasured, size: 0, free: 0, granularity: 1, tail: 0, volumes: [] };
    const volumes = [...this.volumes.values()];
    const free = this.size - volumes.reduce((sum, volume) => sum + wholeBytes(volume), 0);
    const state = this.full === undefined ? { ready: true } : { ready: false, full: true as const, message: this.full };
    return { ...state, size: this.size, free, granularity: 1 << 20, tail: this.tail, volumes };
  }

  async find(uid: string): Promise<BackingVolume | undefined> {
    if (this.unmeasured !== undefined) throw new BackendError('PoolNotReady', this.unmeasured);
    return this.volumes.get(uid);
  }

  async open(uid: string): Promise<BackingVolume | undefined> {
    this.#enter('open');
    await this.gate;
    return this.volumes.get(uid);
  }

  async namesakes({ uid, name }: Pick<CreateRequest, 'uid' | 'name'>): Promise<BackingVolume[]> {
    if (this.volumes.has(uid)) return [];
    return [...this.volumes.values()].filter(({ volume }) => volume === name);
  }

  async create({ uid, name, bytes, copy, tail }: CreateRequest): Promise<BackingVolume> {
    this.#enter('create');
    await this.gate;
    const marks = {
      ...(tail ? { tail: TAIL_BYTES } : {}),
      ...(this.unwiped ? { unwiped: true as const } : {}),
      ...(copy === undefined ? {} : { copy }),
    };
    const volume = this.volumes.get(uid) ?? { uid, volume: name, name: `fake/${uid}`, bytes, ...marks };
    this.volumes.set(uid, volume);
    return volume;
  }

  async wipe(uid: string, signal: AbortSignal, onProgress?: (progress: WipeProgress) => void): Promise<BackingVolume> {
    this.#enter('wipe');
    onProgress?.({ zeroed: 0, bytes: this.volumes.get(uid)?.bytes ?? 0 });
    await this.#untilWiped(signal);
    const { unwiped: _, ...volume } = this.volumes.get(uid) as BackingVolume;
    this.volumes.set(uid, volume);
    return volume;
  }

  /** From now on volumes can grow. */
  allowGrowth(): void {
    this.growth = {
      grow: async (uid, bytes, signal) => {
        this.#enter('grow');
        await this.#untilWiped(signal);
        const volume = { ...(this.volumes.get(uid) as BackingVolume), bytes };
        this.volumes.set(uid, volume);
        return volume;
      },
    };
  }

  async noteMoves(uid: string, moves: number): Promise<void> {
    this.#enter(`noteMoves ${moves}`);
    this.volumes.set(uid, { ...(this.volumes.get(uid) as BackingVolume), moves });
  }

  async exportTail(uid: string): Promise<BackingVolume> {
    this.#enter('exportTail');
    const { tail = 0, ...volume } = this.volumes.get(uid) as BackingVolume;
    const whole = { ...volume, bytes: volume.bytes + tail };
    this.volumes.set(uid, whole);
    return whole;
  }

  async finishCopy(uid: string): Promise<void> {
    this.#enter('finishCopy');
    const { copy: _, ...volume } = this.volumes.get(uid) as BackingVolume;
    this.volumes.set(uid, volume);
  }

  async remove(uid: string, _signal?: AbortSignal): Promise<void> {
    this.#enter('remove');
    await this.removing;
    this.volumes.delete(uid);
  }

  async retain(uid: string): Promise<void> {
    this.#enter('retain');
    if (this.volumes.delete(uid)) this.retained.add(uid);
  }

  /** As long as the test wants, unless it is stopped. */
  async #untilWiped(signal: AbortSignal): Promise<void> {
    const stopped = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true });
    await Promise.race([this.wiping, stopped.promise]);
  }

  #enter(call: string): void {
    this.calls.push(call);
    if (this.failure) throw this.failure;
  }
}
