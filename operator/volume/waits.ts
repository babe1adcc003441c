import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import type { Change } from '../../kube/mod.ts';

const readyOf = ({ status }: AoEVolume) => status?.conditions?.find(({ type }) => type === VolumeCondition.Ready);

/**
 * What has to stay the same for a volume to be waiting; undefined when it does not wait. A copy waits while it does not get ahead. How far a wipe is
 * nobody tells, so it does not count.
 */
function waitOf(volume: AoEVolume): string | undefined {
  const { phase = 'Pending', copy, move } = volume.status ?? {};
  const { reason } = readyOf(volume) ?? {};
  if (phase !== 'Pending' || reason === 'Wiping') return undefined;
  return isCopied(volume) ? [copy?.phase, copy?.bytesDone, move?.phase, move?.bytesDone].join(' ') : 'something';
}

function isCopied(volume: AoEVolume): boolean {
  return ['Copying', 'Moving'].includes(readyOf(volume)?.reason ?? '');
}

/** For how long volumes have been waiting. */
export class Waits {
  /** By UID: for what a volume waits, and when it was seen to begin, in ms since 1970. */
  readonly #waits = new Map<string, { wait: string; at: number }>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Notes when a wait begins: the condition Ready has another time than that, as after hours of copying, or when its node is away for a moment. */
  note({ type, object, previous }: Change<AoEVolume>): void {
    const { uid = '' } = object.metadata;
    const wait = type === 'deleted' ? undefined : waitOf(object);
    const known = this.#waits.get(uid);
    if (wait === undefined) this.#waits.delete(uid);
    else if (known?.wait !== wait) {
      const isNews = known !== undefined || previous !== undefined;
      this.#waits.set(uid, { wait, at: isNews ? this.#now() : this.#since(object) });
    }
  }

  /** By the reason that volumes have now: for how many seconds the one that has waited longest has been waiting, for whatever. */
  longest(volumes: readonly AoEVolume[]): Map<string, number> {
    const longest = new Map<string, number>();
    for (const volume of volumes) {
      if (waitOf(volume) === undefined) continue;
      const { reason = '' } = readyOf(volume) ?? {};
      const began = this.#waits.get(volume.metadata.uid ?? '')?.at ?? this.#since(volume);
      const seconds = Math.max(0, (this.#now() - began) / 1000) || 0;
      longest.set(reason, Math.max(seconds, longest.get(reason) ?? 0));
    }
    return longest;
  }

  /** Since when a volume waits whose beginning was not seen, by the times that it has. How far a copy was then is not known. */
  #since(volume: AoEVolume): number {
    if (isCopied(volume)) return this.#now();
    return Date.parse(readyOf(volume)?.lastTransitionTime ?? volume.metadata.creationTimestamp ?? '');
  }
}
