import type { LockText } from '../../aoe/mod.ts';
import type { AoEVolume, Holder } from '../../api/volume.ts';
import type { EventRecorder } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { describeHolder } from './holder.ts';

/** Tells by Events on the AoEVolume who had its lock and how it changed hands. The names of the events are documented. */
export class LockEvents {
  readonly #events: Pick<EventRecorder, 'event'>;
  readonly #log: Logger;
  /** Volumes, as one pass sees them, whose lock was taken away: what is written next is no news. */
  readonly #taken = new WeakSet<AoEVolume>();

  constructor(events: Pick<EventRecorder, 'event'>, log: Logger) {
    this.#events = events;
    this.#log = log;
  }

  /** The lock as it was last written to the status, and as it is now. */
  changed(volume: AoEVolume, before: Holder | undefined, now: Holder | undefined): void {
    if (before?.raw === now?.raw || (!now && this.#taken.has(volume))) return;
    if (!now) {
      if (before) this.#tell(volume, 'Normal', 'LockReleased', `the lock is free; before, it was held by ${describeHolder(before)}`);
    } else if (!before) this.#tell(volume, 'Normal', 'LockTaken', `the lock is held by ${describeHolder(now)}`);
    else if (now.node && now.node === before.node && now.nodeUID === before.nodeUID)
      this.#tell(volume, 'Normal', 'LockTaken', `node ${now.node} took its lock again at ${now.since}; it had it since ${before.since}`);
    else this.#tell(volume, 'Normal', 'LockTaken', `the lock is held by ${describeHolder(now)}; before, by ${describeHolder(before)}`);
  }

  /** A node that had the lock has lost the right to the volume: from now on the target refuses its I/O. */
  fenced(volume: AoEVolume, { node, since }: LockText): void {
    const now = (volume.spec.initiators?.nodes ?? []).join(', ');
    const then = now ? `: spec.initiators names ${now} now` : ': spec.initiators does not name it any more';
    this.#tell(volume, 'Warning', 'Fenced', `node ${node}, which has the lock since ${since}, is shut out by the target${then}`);
  }

  /** The lock that a fenced node left was taken away. */
  cleared(volume: AoEVolume, { node, since }: LockText): void {
    this.#taken.add(volume);
    this.#tell(volume, 'Warning', 'LockCleared', `the lock of node ${node}, held since ${since}, was taken away: the node is shut out`);
  }

  broken(volume: AoEVolume, message: string): void {
    this.#taken.add(volume);
    this.#tell(volume, 'Normal', 'LockBroken', message);
  }

  notBroken(volume: AoEVolume, message: string): void {
    this.#tell(volume, 'Warning', 'LockNotBroken', message);
  }

  #tell(volume: AoEVolume, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const keys = { volume: volume.metadata.name, event: reason, detail: message };
    if (type === 'Normal') this.#log.info(keys, 'lock');
    else this.#log.warn(keys, 'lock');
    this.#events.event(volume, type, reason, message);
  }
}
