import {
  type TargetAccess,
  type TargetApi,
  TargetError,
  type TargetEvent,
  type TargetInfo,
  type TargetInterface,
  type TargetSilences,
  type TargetStats,
  type TargetVolume,
  type TargetVolumeState,
} from '../target/api.ts';

/** A target process without I/O. It keeps volumes and config strings when it is stopped and started, as the real one does on its disk. */
export class FakeTarget implements TargetApi {
  readonly volumes = new Map<string, TargetVolumeState>();
  readonly calls: string[] = [];
  /** Sizes of disks in bytes, by path, as they are when a volume is exported; 0 for others. */
  readonly sizes = new Map<string, number>();
  interfaces: TargetInterface[] = [{ name: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000, serving: true, error: '' }];
  stats: TargetStats = { latencyBounds: [], volumes: [], interfaces: [], refused: {} };
  features = ['writes_need_lock', 'exported_size', 'hold', 'for_copies', 'limits', 'reclaim', 'heard'];
  silences: TargetSilences = { listeningMs: 0, silentMs: new Map() };
  /** Holds by the volume's UID. A test ends one by removing it. */
  readonly holds = new Map<string, number>();
  #lastHold = 0;
  up = true;
  /** The next call of this name throws it. */
  readonly failing = new Map<string, TargetError>();
  readonly #watchers = new Set<(event: TargetEvent | undefined) => void>();

  /** Ends every watch, and refuses calls until `start`. */
  stop(): void {
    this.up = false;
    for (const push of this.#watchers) push(undefined);
  }

  start(): void {
    this.up = true;
  }

  setConfigString(uid: string, text: string): void {
    const state = this.volumes.get(uid);
    if (state) this.#keep({ ...state, configString: new TextEncoder().encode(text) });
  }

  trouble(uid: string, error: string): void {
    const state = this.volumes.get(uid);
    if (state) this.#keep({ ...state, error });
  }

  /** An interface has changed. */
  async announce(changed: TargetInterface): Promise<void> {
    this.#emit({ type: 'interface', interface: changed });
    await new Promise((resolve) => setImmediate(resolve));
  }

  configString(uid: string): string {
    return new TextDecoder().decode(this.volumes.get(uid)?.configString);
  }

  async getInfo(): Promise<TargetInfo> {
    this.#enter('getInfo');
    return { version: 'fake', interfaces: this.interfaces, features: this.features };
  }

  async setInterfaces(names: string[]): Promise<TargetInterface[]> {
    this.#enter('setInterfaces');
    this.interfaces = names.map((name, index) => ({ name, mac: `02:00:00:00:00:0${index}`, mtu: 9000, serving: true, error: '' }));
    return this.interfaces;
  }

  async export(asked: TargetVolume): Promise<TargetVolumeState> {
    this.#enter('export');
    const volume = this.#known(asked);
    for (const { volume: other } of this.volumes.values()) {
      if (other.uid !== volume.uid && other.shelf === volume.shelf && other.slot === volume.slot) {
        throw new TargetError('conflict', `e${volume.shelf}.${volume.slot} is the address of ${other.uid}`);
      }
    }
    const { configString = new Uint8Array(), volume: before } = this.volumes.get(volume.uid) ?? {};
    if (before && (before.shelf !== volume.shelf || before.slot !== volume.slot || before.serial !== volume.serial))
      throw new TargetError('conflict', `${volume.uid} is exported at e${before.shelf}.${before.slot} with serial number ${before.serial}`);
    const ofDisk = this.sizes.get(volume.path) ?? 0;
    if (!this.features.includes('exported_size'))
      return this.#keep({ volume: { ...volume, bytes: 0 }, bytes: ofDisk, configString, error: '' });
    const bytes = volume.bytes || (before?.bytes ?? 0);
    if (bytes < (before?.bytes ?? 0))
      throw new TargetError('invalid', `${volume.uid} has ${before?.bytes} bytes, and is never made smaller`);
    return this.#keep({ volume: { ...volume, bytes }, bytes: bytes || ofDisk, configString, error: '' });
  }

  /** Without what this target does not know. */
  #known({ limits: asked, reclaim, ...volume }: TargetVolume): TargetVolume {
    const limits = this.features.includes('limits') ? (asked ?? this.volumes.get(volume.uid)?.volume.limits) : undefined;
    return { ...volume, ...(limits ? { limits } : {}), ...(reclaim && this.features.includes('reclaim') ? { reclaim } : {}) };
  }

  async unexport(uid: string): Promise<void> {
    this.#enter('unexport');
    if (this.volumes.delete(uid)) this.#emit({ type: 'removed', uid });
  }

  async setAccess(uid: string, { macs, writesNeedLock }: TargetAccess): Promise<TargetVolumeState> {
    this.#enter('setAccess');
    const state = this.#find(uid);
    return this.#keep({ ...state, volume: { ...state.volume, macs, writesNeedLock } });
  }

  async replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array): Promise<TargetVolumeState> {
    this.#enter('replaceConfigString');
    const state = this.#find(uid);
    if (Buffer.compare(state.configString, expected) !== 0) throw new TargetError('precondition', 'the string is another');
    return this.#keep({ ...state, configString: replacement });
  }

  async hold(uid: string): Promise<number> {
    this.#enter('hold');
    this.#find(uid);
    if (this.holds.has(uid)) throw new TargetError('failed', `volume ${uid} is held already`);
    this.#lastHold++;
    this.holds.set(uid, this.#lastHold);
    return this.#lastHold;
  }

  async release(uid: string, hold: number): Promise<boolean> {
    this.#enter('release');
    return this.holds.get(uid) === hold && this.holds.delete(uid);
  }

  async getHeard(): Promise<TargetSilences> {
    this.#enter('getHeard');
    return this.silences;
  }

  async getStats(): Promise<TargetStats> {
    this.#enter('getStats');
    return this.stats;
  }

  async *watch(signal: AbortSignal): AsyncIterable<TargetEvent> {
    this.#enter('watch');
    if (signal.aborted) return;
    const queue: (TargetEvent | undefined)[] = [...this.volumes.values()].map((state) => ({ type: 'changed', state }));
    queue.push({ type: 'synced' });
    let wake = (): void => {};
    const push = (event: TargetEvent | undefined): void => {
      queue.push(event);
      wake();
    };
    this.#watchers.add(push);
    signal.addEventListener('abort', () => push(undefined), { once: true });
    try {
      for (;;) {
        while (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        const event = queue.shift();
        if (!event) return;
        yield event;
      }
    } finally {
      this.#watchers.delete(push);
    }
  }

  #enter(call: string): void {
    this.calls.push(call);
    if (!this.up) throw new TargetError('unavailable', 'connection refused');
    const failure = this.failing.get(call);
    this.failing.delete(call);
    if (failure) throw failure;
  }

  #find(uid: string): TargetVolumeState {
    const state = this.volumes.get(uid);
    if (!state) throw new TargetError('not-found', `no volume ${uid}`);
    return state;
  }

  #keep(state: TargetVolumeState): TargetVolumeState {
    this.volumes.set(state.volume.uid, state);
    this.#emit({ type: 'changed', state });
    return state;
  }

  #emit(event: TargetEvent): void {
    for (const push of this.#watchers) push(event);
  }
}
