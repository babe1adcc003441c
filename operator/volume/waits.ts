import type { AoEVolume } from '../../api/volume.ts';
import { VolumeCondition } from '../../api/volume.ts';
import type { Change } from '../../kube/mod.ts';
import { PROGRESS } from './status.ts';

const readyOf = ({ status }: AoEVolume) => status?.conditions?.find(({ type }) => type === VolumeCondition.Ready);

/** Whether a volume waits for something. One whose reason says that work is under way does not. */
function isWaiting(volume: AoEVolume): boolean {
  return (volume.status?.phase ?? 'Pending') === 'Pending' && !PROGRESS.has(readyOf(volume)?.reason ?? '');
}

/** For how long volumes have been waiting. */
export class Waits {
  /** By UID, in ms since 1970: when a volume that waits now was seen to begin. */
  readonly #began = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Notes when a wait begins: the condition Ready keeps its time while its reason changes, as after hours of copying. */
  note({ type, object, previous }: Change<AoEVolume>): void {
    const { uid = '' } = object.metadata;
    if (type === 'deleted' || !isWaiting(object)) this.#began.delete(uid);
    else if (previous && !isWaiting(previous)) this.#began.set(uid, this.#now());
  }

  /** By the reason that volumes have now: for how many seconds the one that has waited longest has been waiting, for whatever. */
  longest(volumes: readonly AoEVolume[]): Map<string, number> {
    const longest = new Map<string, number>();
    for (const volume of volumes.filter(isWaiting)) {
      const { reason = '', lastTransitionTime } = readyOf(volume) ?? {};
      // What began before this program did is known by the times that objects have.
      const began = this.#began.get(volume.metadata.uid ?? '') ?? Date.parse(lastTransitionTime ?? volume.metadata.creationTimestamp ?? '');
      const seconds = Math.max(0, (this.#now() - began) / 1000) || 0;
      longest.set(reason, Math.max(seconds, longest.get(reason) ?? 0));
    }
    return longest;
  }
}
