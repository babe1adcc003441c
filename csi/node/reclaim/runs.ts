import { setTimeout as delay } from 'node:timers/promises';
import { type AoEVolume, type AoEVolumeStatus, MAX_RECLAIM_REQUEST, parseReclaimEvery, RECLAIM } from '../../../api/volume.ts';
import { CLOCK, type Clock, messageOf } from '../../../kube/mod.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Filesystems, MountPoint } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';
import { RECLAIMS_ZEROS_ABSENT, Schedule } from './schedule.ts';
import type { FreeSpace, Zeroed, ZeroOptions } from './zero-free-space.ts';

const GiB = 2 ** 30;
/** A run begins nothing more after so many seconds. */
const LIMIT_SECONDS = 2 * 60 * 60;
const FILESYSTEMS: readonly string[] = ['ext4', 'xfs'];
/** No run begins in a file system for so long after one was ended to unmount it, in milliseconds. */
const HOLD_MS = 120_000;
/** For a killed program to end, in milliseconds: longer, it waits for a disk that does not answer. */
const KILL_MS = 3_000;
/** For calls of API server and file system, in milliseconds. */
const CALL_MS = 30_000;
/** Where it is said which pools get something back. */
const WHY = 'docs/storage.md, "What gives space back"';

type Report = NonNullable<AoEVolumeStatus['reclaim']>;
/** What a run answers: a new value of the annotation, or the schedule. */
interface Ask {
  /** Value of the annotation; for the schedule the last one that was answered, so that it is not taken for a new one. */
  readonly request: string;
  readonly scheduled?: true;
}

type Parts = Pick<Deps, 'nodeName' | 'localDisk' | 'filesystems' | 'staged' | 'volumes' | 'log'>;

export interface FreeSpaceRunsOptions {
  readonly zero: (space: FreeSpace, options: ZeroOptions) => Promise<Zeroed>;
  readonly emit: (volume: AoEVolume, type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly clock?: Pick<Clock, 'now' | 'date'>;
}

/**
 * Gives the free space of mounted file systems back to their pools, when somebody asks with annotation {@link RECLAIM} and as often as spec.reclaimEvery
 * says: overwrites it with zeros. One run at a time on a node. A run that is cut short, by a restart or an unmount, begins again, also on another node: at a later check, or
 * by schedule when {@link Schedule} says so. Its file is gone then.
 */
export class FreeSpaceRuns {
  readonly #parts: Parts;
  readonly #options: FreeSpaceRunsOptions;
  readonly #clock: Pick<Clock, 'now' | 'date'>;
  readonly #schedule: Schedule;
  readonly #oneByOne = new Semaphore(1);
  /** Volumes that are being looked at, or wait for their turn. */
  readonly #busy = new Set<string>();
  /** Those of them for which somebody has asked by hand: they come before all scheduled ones. */
  readonly #first = new Set<string>();
  /** The run that is under way. */
  #run:
    | { address: string; volumeUID: string; scheduled: boolean; stop: AbortController; ended: Promise<void>; written: number }
    | undefined;
  /** Until when nothing begins at an address, as the monotonic clock counts. */
  readonly #heldUntil = new Map<string, number>();
  /** What came of a run, by UID of the volume, while the API server does not take it. */
  readonly #unwritten = new Map<string, Report>();

  constructor(parts: Parts, options: FreeSpaceRunsOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#clock = options.clock ?? CLOCK;
    this.#schedule = new Schedule(this.#clock);
  }

  /**
   * Looks at a volume that is staged here and that this node may use: begins its run, or ends it when zeros are not given back any more or
   * its schedule was taken away. Returns when a run that it began has ended. Never rejects.
   */
  async check(volumeId: string, volume: AoEVolume): Promise<void> {
    const { metadata, status } = volume;
    if (this.#run?.volumeUID === metadata.uid) {
      if (!status?.reclaimsZeros) this.#run?.stop.abort(uselessRun(volume, this.#run));
      else if (this.#run?.scheduled && !hasSchedule(volume)) this.#run.stop.abort(new Stopped(UNSCHEDULED));
    }
    // The schedule is asked in any case: it notes since when it is known.
    const ask = this.#askOf(volume);
    if (!ask) return;
    if (!ask.scheduled) this.#first.add(volumeId);
    if (this.#busy.has(volumeId)) return;
    this.#busy.add(volumeId);
    try {
      await this.#oneByOne.run(() => this.#look(volumeId));
    } catch (error) {
      this.#parts.log.info({ volume: volumeId, error: messageOf(error) }, 'the free space of a file system is not given back now');
    } finally {
      this.#busy.delete(volumeId);
      this.#first.delete(volumeId);
    }
  }

  /** Ends the run in a file system, which is about to be unmounted, and begins none there for a while. Never rejects, and takes a few seconds at most. */
  async stop(address: string): Promise<void> {
    const now = this.#clock.now();
    for (const [other, until] of this.#heldUntil) if (until < now) this.#heldUntil.delete(other);
    this.#heldUntil.set(address, now + HOLD_MS);
    const run = this.#run;
    if (run?.address !== address) return;
    run.stop.abort(new Error('the file system is being unmounted'));
    const rest = new AbortController();
    await Promise.race([run.ended, delay(KILL_MS, undefined, { signal: rest.signal }).catch(() => {})]);
    rest.abort();
  }

  /** Bytes that the file of a run has in the file system at an address now. They are free again when the run has ended. */
  written(address: string): number {
    return this.#run?.address === address ? this.#run.written : 0;
  }

  async #look(volumeId: string): Promise<void> {
    const { nodeName, staged, volumes } = this.#parts;
    // As it is now: it may have waited hours for its turn.
    const record = await staged.get(volumeId);
    const volume = record && (await volumes.get(volumeId, AbortSignal.timeout(CALL_MS)));
    const ask = volume && this.#askOf(volume);
    if (!record || !volume || !ask || volume.metadata.uid !== record.volumeUID || !isOf(volume, nodeName)) return;
    // A later check lets it wait for its turn again.
    if (ask.scheduled && this.#first.size > 0) return;
    if ((this.#heldUntil.get(record.address) ?? 0) > this.#clock.now()) return;
    const done = this.#unwritten.get(record.volumeUID);
    const last = volume.status?.reclaim;
    if (done && isOutcomeOf(done, volume) && done.request === ask.request) return await this.#report(volume, done);
    this.#unwritten.delete(record.volumeUID);
    const about = { ...ask, node: nodeName };
    if (ask.scheduled && !hasSchedule(volume)) {
      const { startedAt } = last ?? {};
      return await this.#report(volume, {
        ...about,
        state: 'Failed',
        startedAt,
        finishedAt: this.#now(),
        message: `it was cut short, and ${UNSCHEDULED}`,
      });
    }
    if ((await this.#parts.localDisk(record.address).health()) !== 'up') return;
    const found = await this.#find(volume, record);
    if (found === undefined) return;
    if (typeof found === 'string') {
      const reason = volume.status?.reclaimsZeros ? undefined : RECLAIMS_ZEROS_ABSENT;
      await this.#report(volume, { ...about, state: 'Refused', finishedAt: this.#now(), message: found, ...(reason ? { reason } : {}) });
      this.#schedule.ended(record.volumeUID);
      // A schedule does not say the same again and again.
      if (!ask.scheduled || last?.state !== 'Refused' || last.message !== found)
        this.#options.emit(volume, 'Warning', 'ReclaimRefused', found);
      return;
    }
    const startedAt = this.#now();
    await this.#report(volume, { ...about, state: 'Running', startedAt });
    await this.#give(volumeId, record, { volume, found, report: { ...about, state: 'Running', startedAt } });
  }

  /** The mount whose free space can be given back, or why none can; undefined while the volume is being staged or unstaged. */
  async #find(
    { spec, status }: AoEVolume,
    { address, stagingPath, encrypted, external, access }: StagedVolume,
  ): Promise<MountPoint | string | undefined> {
    if (encrypted || spec.encryption) return 'the volume is encrypted: its zeros are no zeros for the target';
    if (external || spec.external) return 'the volume is on a target outside of this project';
    if (access !== 'Exclusive' || spec.access !== 'Exclusive')
      return `the volume has access ${spec.access}: only an Exclusive one has one user`;
    if (!status?.reclaimsZeros) return `${poolOf(spec)} gets nothing back for zeros, or is nearly full (${WHY})`;
    const disk = this.#parts.localDisk(address);
    const mounts = await disk.liveMounts();
    if (mounts.some(({ kind }) => kind === 'node')) return 'the volume is used as a block device: nobody knows what of it is free';
    const mount = mounts.find(({ target }) => target === stagingPath);
    if (!mount) return undefined;
    if (!FILESYSTEMS.includes(mount.type)) return `the file system is ${mount.type}: it can be done with ${FILESYSTEMS.join(' and ')}`;
    if ([mount.options, mount.superOptions].some((options) => options.includes('ro'))) return 'the file system is mounted read-only';
    return mount;
  }

  async #give(
    volumeId: string,
    { address, volumeUID }: StagedVolume,
    { volume, found, report }: { volume: AoEVolume; found: MountPoint; report: Report },
  ): Promise<void> {
    const { filesystems, localDisk, log } = this.#parts;
    const stop = new AbortController();
    const ended = Promise.withResolvers<void>();
    const ending: Promise<void>[] = [];
    const run = { address, volumeUID, scheduled: report.scheduled === true, stop, ended: ended.promise, written: 0 };
    this.#run = run;
    let outcome: Report;
    let event = 'ReclaimFailed';
    try {
      // A stop that came before this run was known has held the address.
      if ((this.#heldUntil.get(address) ?? 0) > this.#clock.now()) return;
      const disk = await localDisk(address).device();
      const reserve = reserveOf(await filesystems.usage(found.target, AbortSignal.any([stop.signal, AbortSignal.timeout(CALL_MS)])));
      const space = { path: found.target, disk: disk?.path ?? found.source, reserve, limitSeconds: LIMIT_SECONDS };
      const options = {
        signal: stop.signal,
        onKilled: (end: Promise<void>) => void ending.push(end),
        onWritten: (bytes: number) => {
          run.written = bytes;
        },
      };
      const { bytes, end } = await this.#options.zero(space, options);
      outcome = { ...report, state: 'Done', finishedAt: this.#now(), bytes, message: messageFor(bytes, end) };
      event = 'FreeSpaceReclaimed';
    } catch (error) {
      const stopped = stop.signal.reason instanceof Stopped ? stop.signal.reason : undefined;
      if (stopped) event = 'ReclaimStopped';
      // It begins again where the volume is used next.
      else if (stop.signal.aborted) {
        if (report.scheduled) this.#schedule.ended(volumeUID);
        return log.info({ volume: volumeId }, 'a run that gives free space back was cut short by an unmount');
      }
      outcome = {
        ...report,
        state: 'Failed',
        finishedAt: this.#now(),
        message: messageOf(stopped ?? error).slice(0, 1024),
        ...(stopped?.reason ? { reason: stopped.reason } : {}),
      };
    } finally {
      const all = Promise.all(ending).then(() => ended.resolve());
      // Nothing is waited for that hangs: programs of such a disk are refused by DiskPrograms.
      await Promise.race([all, delay(KILL_MS, undefined, { ref: false })]);
      this.#run = undefined;
    }
    this.#options.emit(volume, outcome.state === 'Done' ? 'Normal' : 'Warning', event, outcome.message ?? '');
    this.#schedule.ended(volumeUID);
    this.#unwritten.set(volumeUID, outcome);
    await this.#report(volume, outcome);
  }

  async #report(volume: AoEVolume, reclaim: Report): Promise<void> {
    const { nodeName, volumes } = this.#parts;
    // A merge patch would keep the fields of the last report.
    const all = {
      scheduled: null,
      startedAt: null,
      finishedAt: null,
      bytes: null,
      message: null,
      reason: null,
      ...reclaim,
    } as unknown as Report;
    await volumes.record(volume, { reclaim: all }, AbortSignal.timeout(CALL_MS), (now) => isOf(now, nodeName));
    this.#unwritten.delete(volume.metadata.uid ?? '');
  }

  /** What a run is to be done for now; undefined: for nothing. Also names a run that is not to begin again but whose end must still be reported. */
  #askOf(volume: AoEVolume): Ask | undefined {
    const { metadata, status } = volume;
    const { request: last = '', state, scheduled } = status?.reclaim ?? {};
    const isDue = this.#schedule.isDue(volume);
    const request = metadata.annotations?.[RECLAIM]?.slice(0, MAX_RECLAIM_REQUEST);
    // A node plugin of an earlier version leaves `scheduled` of the last report in that of a run by hand.
    const isByHand = state === 'Running' && (!scheduled || !hasSchedule(volume));
    if (request && (last !== request || isByHand)) return { request };
    const done = this.#unwritten.get(metadata.uid ?? '');
    const isOver = state === 'Running' && scheduled && (!hasSchedule(volume) || (done !== undefined && isOutcomeOf(done, volume)));
    return isDue || isOver ? { request: last, scheduled: true } : undefined;
  }

  #now(): string {
    return this.#clock.date().toISOString();
  }
}

/** Why a run was ended that is not to begin again. */
class Stopped extends Error {
  /** For status.reclaim.reason. */
  readonly reason: string | undefined;

  constructor(message: string, reason?: string) {
    super(message);
    this.reason = reason;
  }
}

const UNSCHEDULED = 'spec.reclaimEvery was taken away';

/** It would only fill the pool. */
function uselessRun({ spec }: AoEVolume, { scheduled }: { scheduled: boolean }): Stopped {
  const then = scheduled ? 'the schedule tries again' : 'ask again when it does';
  return new Stopped(
    `${poolOf(spec)} gets nothing back for zeros any more, or is nearly full (${WHY}), so no more were written; ${then}`,
    RECLAIMS_ZEROS_ABSENT,
  );
}

/** Whether a result is that of the run in the status: that may be about one on another node by now. */
function isOutcomeOf({ startedAt }: Report, { status }: AoEVolume): boolean {
  return status?.reclaim?.state === 'Running' && status.reclaim.startedAt === startedAt;
}

function hasSchedule({ spec }: AoEVolume): boolean {
  return parseReclaimEvery(spec.reclaimEvery ?? '') !== undefined;
}

function poolOf({ pool }: AoEVolume['spec']): string {
  return pool === undefined ? 'its pool' : `pool ${pool}`;
}

function isOf({ spec }: AoEVolume, node: string): boolean {
  return spec.initiators.nodes?.includes(node) === true;
}

/** Bytes that stay free for the programs that use the file system: 5 %, and at least 1 GiB, or 10 % of a small one. */
export function reserveOf({ bytes: { total } }: Awaited<ReturnType<Filesystems['usage']>>): number {
  return Math.ceil(Math.max(total / 20, Math.min(GiB, total / 10)));
}

function messageFor(bytes: number, end: Zeroed['end']): string {
  const why = {
    all: '',
    limit: `; it ended after ${LIMIT_SECONDS / 3600} hours, and the rest was not reached`,
    needed: '; it ended early, because the space was needed',
  }[end];
  return `${bytes} bytes of free space were overwritten with zeros, so that the pool has them back${why}`;
}
