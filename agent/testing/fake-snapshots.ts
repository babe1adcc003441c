import {
  BackendError,
  type BackingSnapshot,
  type BackingVolume,
  type CreateRequest,
  type Instant,
  type SnapshotRequest,
  type Snapshots,
} from '../backends/backend.ts';

/** Snapshots in memory. What is half made is kept apart, as a crash would leave it. */
export class FakeSnapshots implements Snapshots {
  readonly whole = new Map<string, BackingSnapshot>();
  /** Where restored volumes go. */
  readonly volumes: Map<string, BackingVolume>;
  readonly half = new Set<string>();
  readonly retained = new Set<string>();
  /** Why none can be taken. */
  obstacle: string | undefined;
  /** Thrown by the next calls, until it is taken away. */
  failure: Error | undefined;
  /** Runs while a snapshot is made. */
  meanwhile: () => void | Promise<void> = () => {};
  /** The process ends after this step of the next snapshot. */
  crashAfter: 'make' | 'instant' | undefined;

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

  async take({ uid, name }: SnapshotRequest, instant: Instant): Promise<BackingSnapshot> {
    if (this.obstacle !== undefined) throw new BackendError('SnapshotsUnsupported', this.obstacle);
    const at = await instant(async () => {
      this.half.add(uid);
      await this.meanwhile();
      if (this.crashAfter === 'make') throw new Error('crash');
    }).catch((error: unknown) => {
      if (this.crashAfter === undefined) this.half.delete(uid);
      throw error;
    });
    if (this.crashAfter === 'instant') throw new Error('crash');
    const snapshot = { uid, snapshot: name, name: `fake/snap-${uid}`, bytes: 1 << 20, createdAt: at.toISOString() };
    this.half.delete(uid);
    this.whole.set(uid, snapshot);
    return snapshot;
  }

  async restore({ uid, name, bytes }: CreateRequest, snapshotUID: string): Promise<boolean> {
    if (this.failure) throw this.failure;
    if (this.volumes.has(uid)) return true;
    if (!this.whole.has(snapshotUID)) return false;
    this.volumes.set(uid, { uid, volume: name, name: `fake/${uid}`, bytes });
    return true;
  }

  async remove(uid: string): Promise<void> {
    if (this.failure) throw this.failure;
    this.half.delete(uid);
    this.whole.delete(uid);
  }

  async retain(uid: string): Promise<void> {
    if (this.whole.delete(uid)) this.retained.add(uid);
  }
}
