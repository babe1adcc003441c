import { createHash } from 'node:crypto';
import { type AoEVolume, parseReclaimEvery } from '../../../api/volume.ts';
import type { Clock } from '../../../kube/mod.ts';

const HOUR = 60 * 60 * 1000;
/** A run may begin so much later than it is due: this part of the time between two runs, and at most so many milliseconds. */
const SPREAD = { part: 1 / 10, mostMs: 6 * HOUR };
/** The same, once the process sees a volume that is later already: nodes that live for a few hours only would never come to it. */
const OVERDUE_SPREAD_MS = HOUR / 2;
/** When a run that was cut short is tried again, counted from its start: a pod that fails again and again mounts the volume each time. */
const CUT_SHORT_MS = 6 * HOUR;
/** When one is tried again that was refused or ended because status.reclaimsZeros was absent, once that is true. */
const RECLAIMS_ZEROS_ABSENT_MS = HOUR;
/** Value of status.reclaim.reason of such a run. */
export const RECLAIMS_ZEROS_ABSENT = 'ReclaimsZerosAbsent';
/** Volumes that are remembered. Each check of a node asks for all that are mounted there, which are far fewer. */
const MOST_KNOWN = 4096;

/** What a volume's next run by schedule follows from. Times of day are in milliseconds since 1970. */
export interface Facts {
  /** What the schedule says, in milliseconds. */
  readonly everyMs: number;
  /** Time from the last run to the next one, in milliseconds: `everyMs`, or less when the last one has come to nothing. */
  readonly waitMs: number;
  /** When the last run ended, else when the volume was created, as the clocks of other machines may have said it; undefined when that is not known. */
  readonly lastAt: number | undefined;
  /** The time of day here. */
  readonly now: number;
  /** For how long this process has known that the volume is to have such runs, in milliseconds. */
  readonly knownMs: number;
  /** Whether the volume had the schedule already when this process first saw it. */
  readonly isInherited: boolean;
  /** How long ago this process ended a run of the volume, in milliseconds; undefined when it has ended none. */
  readonly endedMs: number | undefined;
  /** Of the volume: it is always late by the same part, from 0 to 1, of what {@link SPREAD} allows. */
  readonly part: number;
}

/**
 * In how many milliseconds a run is due; 0 or less: now.
 *
 * A run is due when `waitMs` have passed since the last one, by the time of day of this node. Volumes that are all due already, because somebody has just
 * set their schedule or their node was off, do not begin at once: the spread counts from when this process first saw that.
 *
 * A last time that is more than `everyMs` in the future is wrong: it counts as none. The next report replaces it. Whatever the time of day does, one
 * process leaves `waitMs` of its own time between two runs.
 */
export function dueInMs({ everyMs, waitMs, lastAt, now, knownMs, isInherited, endedMs, part }: Facts): number {
  const byTimeOfDay = lastAt === undefined || lastAt > now + everyMs ? Number.NEGATIVE_INFINITY : lastAt + waitMs - now;
  const byOwnTime = endedMs === undefined ? Number.NEGATIVE_INFINITY : waitMs - endedMs;
  const inMs = Math.max(byTimeOfDay, byOwnTime);
  const spreadMs = Math.min(everyMs * SPREAD.part, SPREAD.mostMs);
  const isOverdue = isInherited && inMs + spreadMs < 0;
  return Math.max(inMs, -knownMs) + part * (isOverdue ? Math.min(spreadMs, OVERDUE_SPREAD_MS) : spreadMs);
}

/** How much later than it is due a volume's runs begin: always the same part, from 0 to 1, of what is allowed. */
export function partOf(uid: string): number {
  return createHash('sha256').update(uid).digest().readUInt32BE() / 2 ** 32;
}

/** When the volumes that are mounted here are to have their next runs, by spec.reclaimEvery. Nothing of it must outlive the process. */
export class Schedule {
  readonly #clock: Pick<Clock, 'now' | 'date'>;
  /** By UID of the volume, as the monotonic clock counts. */
  readonly #known = new Map<string, { everyMs: number | undefined; since: number; isInherited: boolean; endedAt?: number }>();

  constructor(clock: Pick<Clock, 'now' | 'date'>) {
    this.#clock = clock;
  }

  /** Whether a run is due. To be asked at each check of a volume. */
  isDue({ metadata, spec, status }: AoEVolume): boolean {
    const { uid = '', creationTimestamp } = metadata;
    const everyMs = parseReclaimEvery(spec.reclaimEvery ?? '');
    const now = this.#clock.now();
    let known = this.#known.get(uid);
    if (!known || known.everyMs !== everyMs) {
      known = { ...known, everyMs, since: now, isInherited: known === undefined };
      this.#known.set(uid, known);
      for (const oldest of this.#known.keys()) if (this.#known.size > MOST_KNOWN) this.#known.delete(oldest);
    }
    if (everyMs === undefined) return false;
    const { since, isInherited, endedAt } = known;
    const { finishedAt, startedAt } = status?.reclaim ?? {};
    const last = [finishedAt, startedAt, creationTimestamp].map((text) => Date.parse(text ?? '')).find((time) => !Number.isNaN(time));
    const facts = { everyMs, waitMs: waitOf(status, everyMs), lastAt: last, now: this.#clock.date().getTime(), part: partOf(uid) };
    return dueInMs({ ...facts, knownMs: now - since, isInherited, endedMs: endedAt === undefined ? undefined : now - endedAt }) <= 0;
  }

  /** Notes that a run of a volume has ended, or was refused. */
  ended(uid: string): void {
    const known = this.#known.get(uid);
    if (known) known.endedAt = this.#clock.now();
  }
}

/** Time from the last run to the next one, in milliseconds. */
function waitOf(status: AoEVolume['status'], everyMs: number): number {
  const { state, scheduled, reason } = status?.reclaim ?? {};
  if (!scheduled) return everyMs;
  if (state === 'Running') return Math.min(everyMs, CUT_SHORT_MS);
  const isOver = (state === 'Refused' || state === 'Failed') && reason === RECLAIMS_ZEROS_ABSENT && status?.reclaimsZeros === true;
  return isOver ? Math.min(everyMs, RECLAIMS_ZEROS_ABSENT_MS) : everyMs;
}
