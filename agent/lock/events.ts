import type { LockText } from '../../aoe/mod.ts';
import type { AoEVolume, Holder } from '../../api/volume.ts';
import type { EventRecorder } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { describeHolder } from './holder.ts';

/** Reports by Events on the AoEVolume who held its lock, and how it changed hands. docs/locks.md explains the events. */
export class LockEvents {
  readonly #events: Pick<EventRecorder, 'event'>;
  readonly #log: Logger;

  constructor(events: Pick<EventRecorder, 'event'>, log: Logger) {
    this.#events = events;
    this.#log = log;
  }

  /**
   * The lock has changed since the status was last written.
   * @param cleared whether this reconcile cleared it, which has an Event of its own
   */
  changed(volume: AoEVolume, before: Holder | undefined, now: Holder | undefined, { cleared }: { cleared: boolean }): void {
    if (before?.raw === now?.raw || (!now && cleared)) return;
    if (!now) {
      if (before) this.#report(volume, 'Normal', 'LockReleased', `the lock is free; it was held by ${describeHolder(before)}`);
    } else if (!before) this.#report(volume, 'Normal', 'LockTaken', `the lock is held by ${describeHolder(now)}`);
    else if (now.node && now.node === before.node && now.nodeUID === before.nodeUID)
      this.#report(
        volume,
        'Normal',
        'LockTaken',
        `node ${now.node} took its lock again at ${now.since}; it had held it since ${before.since}`,
      );
    else
      this.#report(volume, 'Normal', 'LockTaken', `the lock is held by ${describeHolder(now)}; before that, by ${describeHolder(before)}`);
  }

  /** The node that holds the lock is cut off: from now on the target refuses its I/O. */
  fenced(volume: AoEVolume, { node, since }: LockText): void {
    const now = (volume.spec.initiators?.nodes ?? []).join(', ');
    const then = now ? `: spec.initiators names ${now} now` : ': spec.initiators no longer names it';
    this.#report(volume, 'Warning', 'Fenced', `node ${node}, which has held the lock since ${since}, is cut off by the target${then}`);
  }

  /** The lock of a node that was cut off is cleared. */
  cleared(volume: AoEVolume, { node, since }: LockText): void {
    this.#report(volume, 'Warning', 'LockCleared', `the lock of node ${node}, held since ${since}, was cleared: the node is cut off`);
  }

  broken(volume: AoEVolume, message: string): void {
    this.#report(volume, 'Normal', 'LockBroken', message);
  }

  notBroken(volume: AoEVolume, message: string): void {
    this.#report(volume, 'Warning', 'LockNotBroken', message);
  }

  #report(volume: AoEVolume, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const keys = { volume: volume.metadata.name, event: reason, detail: message };
    if (type === 'Normal') this.#log.info(keys, 'lock');
    else this.#log.warn(keys, 'lock');
    this.#events.event(volume, type, reason, message);
  }
}
