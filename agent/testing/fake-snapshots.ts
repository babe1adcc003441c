import { Semaphore } from '../../run/semaphore.ts';
import {
  BackendError,
  type BackingSnapshot,
  type BackingVolume,
  type CreateRequest,
  type Instant,
  type PreparedSnapshot,
  type Serial,
  type SnapshotRequest,
  type Snapshots,
} from '../backends/backend.ts';
import { takeSnapshot } from '../backends/take-snapshot.ts';

/** Snapshots in memory. What is half made is kept apart, as a crash would leave it. */
export class FakeSnapshots implements Snapshots {
  readonly whole = new Map<string, BackingSnapshot>();
  /** Where restored volumes go. */
  readonly volumes: Map<string, BackingVolume>;
  readonly half = new Set<string>();
  readonly retained = new Set<string>();
  /** Snapshots that can be read for copies. */
  readonly exposed = new Set<string>();
  /** Why none can be taken. */
  obstacle: string | undefined;
  /** New snapshots are to be made whole by copying them, which nobody does. */
  areUnfinished = false;
  /** UIDs of those whose removal was begun. */
  readonly removals: string[] = [];
  /** Removals wait for this. */
  removing: Promise<void> | undefined;
  /** Thrown by the next calls, until it is taken away. */
  failure: Error | undefined;
  /** Runs while a snapshot is made. */
  meanwhile: (volumeUID: string, uid: string) => void | Promise<void> = () => {};
  /** The process ends after this step of the next snapshot. */
  crashAfter: 'make' | 'instant' | undefined;
  readonly #turns = new Semaphore(1);
  readonly serial: Serial = { turn: (task, signal) => this.#turns.run(task, signal) };

  constructor(volumes = new Map<string, BackingVolume>()) {
    this.volumes = volumes;
  }

  async problem(): Promise<string | undefined> {
    return this.obstacle;
  }

  async list(): Promise<BackingSnapshot[]> {
    return [...this.whole.values()];
  }

  async find(uid: string): Promise<BackingSnapshot | undefined> {
    if (this.failure) throw this.failure;
    return this.whole.get(uid);
  }

  take(request: SnapshotRequest, instant: Instant, signal = new AbortController().signal): Promise<BackingSnapshot> {
    return takeSnapshot(this, request, instant, signal);
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<PreparedSnapshot[]> {
    if (this.obstacle !== undefined) throw new BackendError('SnapshotsUnsupported', this.obstacle);
    return requests.map(({ uid, name, volumeUID }) => {
      const found = this.whole.get(uid);
      return {
        ...(found ? { found } : {}),
        make: async () => {
          this.half.add(uid);
          await this.meanwhile(volumeUID, uid);
          if (this.crashAfter === 'make') throw new Error('crash');
        },
        finish: async (at) => {
          if (this.crashAfter === 'instant') throw new Error('crash');
          const marks = this.areUnfinished ? { unfinished: true as const } : {};
          const snapshot = { uid, snapshot: name, name: `fake/snap-${uid}`, bytes: 1 << 20, createdAt: at.toISOString(), ...marks };
          this.half.delete(uid);
          this.whole.set(uid, snapshot);
          return snapshot;
        },
        discard: async () => {
          if (this.crashAfter === undefined) this.half.delete(uid);
        },
      };
    });
  }

  async restore({ uid, name, bytes }: CreateRequest, snapshotUID: string): Promise<boolean> {
    if (this.failure) throw this.failure;
    if (this.volumes.has(uid)) return true;
    if (!this.whole.has(snapshotUID)) return false;
    this.volumes.set(uid, { uid, volume: name, name: `fake/${uid}`, bytes });
    return true;
  }

  async expose(uid: string): Promise<{ path: string; bytes: number } | undefined> {
    if (this.failure) throw this.failure;
    const found = this.whole.get(uid);
    if (found) this.exposed.add(uid);
    return found && { path: `/dev/fake/snap-${uid}`, bytes: found.bytes };
  }

  async conceal(uid: string): Promise<void> {
    this.exposed.delete(uid);
  }

  async remove(uid: string): Promise<void> {
    this.removals.push(uid);
    await this.removing;
    if (this.failure) throw this.failure;
    this.half.delete(uid);
    this.whole.delete(uid);
  }

  async retain(uid: string): Promise<void> {
    if (this.whole.delete(uid)) this.retained.add(uid);
  }
}
