import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup, GroupStage } from '../../api/snapshot-group.ts';
import { type Informer, TimeoutError } from '../../kube/mod.ts';
import { BackendError, type PreparedSnapshot, type Serial, type Snapshots } from '../backends/backend.ts';
import { type HeldVolume, holdProblem, holdVolume, NoInstantError } from '../snapshot/instant.ts';
import { failedBy, type Outcome, refused, taken } from '../snapshot/outcome.ts';
import type { Place } from '../snapshot/place.ts';
import type { SnapshotRecords } from '../snapshot/records.ts';
import { examine, type TakeContext } from '../snapshot/take.ts';

/** How long the agents of other members may take to get ready, in milliseconds. Nothing is held yet, but this node's pools wait. */
const PREPARED_LIMIT_MS = 40_000;
/** How long volumes are held for other agents and for the operator, in milliseconds: less than the target's own limit. */
const HELD_LIMIT_MS = 8_000;
const ENDED_LIMIT_MS = 10 * 60_000;

export const TAKING = refused('Taking', 'the snapshot is being taken').verdict;

export interface SessionContext extends TakeContext {
  records: SnapshotRecords;
  groups: Pick<Informer<AoESnapshotGroup>, 'waitFor'>;
}

/** A member on this node. */
export interface Member {
  snapshot: AoESnapshot;
  place: Place;
}

interface Part extends Member {
  snapshots: Snapshots;
  prepared?: PreparedSnapshot;
  held?: HeldVolume;
  isWhole?: boolean;
}

/** The group has failed or is being deleted: there is nothing to report. */
export class GroupEndedError extends Error {}

class MemberError extends Error {
  readonly part: Member;

  constructor(part: Member, cause: unknown) {
    super('a member failed', { cause });
    this.part = part;
  }
}

/**
 * Takes the snapshots of a group's members on this node together with those on other nodes: gets ready, holds the volumes when the operator
 * has heard that all agents are ready, and takes the snapshots when it has heard that all volumes are held. What it makes is whole only if
 * each volume was held throughout. It is for a group in stage Preparing, and runs once: after a restart of the agent in a later stage there is
 * no hold any more that could be relied on.
 * @throws GroupEndedError, KubeError, the signal's reason; failures of members are reported, and not thrown
 */
export async function runSession(
  context: SessionContext,
  { metadata: { name, uid } }: AoESnapshotGroup,
  members: readonly Member[],
  signal: AbortSignal,
): Promise<void> {
  const { records, groups } = context;
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const ended = groups
    .waitFor(name, (now) => now?.metadata.uid !== uid || now?.metadata.deletionTimestamp !== undefined || now?.status?.stage === 'Failed', {
      signal: both,
      timeoutMs: ENDED_LIMIT_MS,
    })
    .then(
      () => stop.abort(new GroupEndedError(`AoESnapshotGroup ${name} has ended`)),
      () => {},
    );
  const stage = async (before: GroupStage, wanted: GroupStage, timeoutMs: number): Promise<AoESnapshotGroup> => {
    try {
      return await groups.waitFor(name, (now) => (now?.status?.stage === wanted ? now : undefined), { signal: both, timeoutMs });
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      throw new NoInstantError('NotHeld', `the group was ${before} for more than ${timeoutMs / 1000} s: is the operator running?`);
    }
  };
  const parts: Part[] = [];
  try {
    for (const member of members) parts.push(await partOf(context, member, both));
    await Promise.all(parts.map((part) => claim(records, part, both)));
    const serials = [...new Set(parts.map(({ snapshots }) => snapshots.serial))];
    await inTurns(serials, () => together(context, parts, { serials, stage, stop, signal: both }), both);
  } catch (error) {
    if (stop.signal.reason instanceof GroupEndedError) throw stop.signal.reason;
    signal.throwIfAborted();
    await reportFailure(records, parts.length > 0 ? parts : members, error, signal);
  } finally {
    stop.abort(new Error('over'));
    await ended;
  }
}

/** Whether and where a member can be taken. @throws MemberError */
async function partOf(context: SessionContext, member: Member, signal: AbortSignal): Promise<Part> {
  const { snapshot, place } = member;
  return ofMember(member, async () => {
    const problem = holdProblem(context.target, place.volumeUID);
    if (problem) throw problem;
    const examined = await examine(context, snapshot, place, signal);
    if (!('verdict' in examined)) return { ...member, snapshots: examined };
    const { reason, message, status } = examined.verdict;
    throw new RefusedError(
      status === 'True' ? refused('NotHeld', 'there is a snapshot of another instant: delete the group') : refused(reason, message),
    );
  });
}

class RefusedError extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super(outcome.verdict.message);
    this.outcome = outcome;
  }
}

async function claim(records: SnapshotRecords, part: Part, signal: AbortSignal): Promise<void> {
  const claimed = await records.claim(part.snapshot, part.place, signal);
  if (!claimed) throw new GroupEndedError(`AoESnapshot ${part.snapshot.metadata.name} is gone`);
  part.snapshot = claimed;
}

/** Runs a task while it has the turn of each, so that nothing else is to be waited for once volumes are held. */
function inTurns<R>(serials: readonly Serial[], task: () => Promise<R>, signal: AbortSignal): Promise<R> {
  const [first, ...others] = serials;
  return first ? first.turn(() => inTurns(others, task, signal), signal) : task();
}

interface Together {
  serials: readonly Serial[];
  stage: (before: GroupStage, wanted: GroupStage, timeoutMs: number) => Promise<AoESnapshotGroup>;
  stop: AbortController;
  signal: AbortSignal;
}

/** Prepares, holds, takes and releases, in the turns of all pools concerned. */
async function together({ target, records }: SessionContext, parts: Part[], { serials, stage, stop, signal }: Together): Promise<void> {
  let heldTooLong: NodeJS.Timeout | undefined;
  const report = (part: Part, step: 'Prepared' | 'Held') =>
    tell(records, part, { verdict: TAKING }, signal, { step, ...(part.held ? { hold: part.held.number } : {}) });
  try {
    await prepareAll(parts, signal);
    await Promise.all(parts.map((part) => report(part, 'Prepared')));
    await stage('Preparing', 'Holding', PREPARED_LIMIT_MS);
    // Whatever is waited for, an API server that does not answer for example.
    const reason = new NoInstantError('NotHeld', `not all volumes of the group were held within ${HELD_LIMIT_MS / 1000} s`);
    heldTooLong = setTimeout(() => stop.abort(reason), HELD_LIMIT_MS);
    await settled(
      parts.map(async (part) => {
        part.held = await ofMember(part, () => holdVolume(target, part.place.volumeUID, signal));
        await report(part, 'Held');
      }),
    );
    const { status } = await stage('Holding', 'Taking', HELD_LIMIT_MS);
    clearTimeout(heldTooLong);
    for (const part of parts) checkHold(part, status?.members);
    await settled(
      serials.map((serial) =>
        makeAll(
          parts.filter(({ snapshots }) => snapshots.serial === serial),
          stop,
          signal,
        ),
      ),
    );
    const createdAt = new Date(status?.createdAt ?? '');
    for (const part of parts) {
      const { prepared, held } = part;
      if (!prepared || !held) continue;
      const whole = await ofMember(part, () => prepared.finish(createdAt));
      part.isWhole = true;
      await tell(records, part, taken(whole), signal, { step: 'Taken', hold: held.number });
    }
  } finally {
    clearTimeout(heldTooLong);
    await Promise.allSettled(parts.map(async ({ held }) => await held?.release()));
    for (const { prepared, isWhole } of parts) if (!isWhole) await prepared?.discard().catch(() => {});
  }
}

/** Those of one pool are prepared together, so that there is room for all of them. */
async function prepareAll(parts: readonly Part[], signal: AbortSignal): Promise<void> {
  for (const [snapshots, ofPool] of Map.groupBy(parts, (part) => part.snapshots)) {
    const requests = ofPool.map(({ snapshot: { metadata }, place }) => {
      return { uid: metadata.uid ?? '', name: metadata.name, volumeUID: place.volumeUID };
    });
    const [first] = ofPool;
    if (!first) continue;
    const prepared = await ofMember(first, () => snapshots.prepare(requests, signal));
    for (const [index, part] of ofPool.entries()) {
      const own = prepared[index];
      if (own) part.prepared = own;
    }
  }
}

/** The hold that the operator has relied on must be this one. */
function checkHold(part: Part, members: readonly { name: string; hold?: number | undefined }[] = []): void {
  const { name } = part.snapshot.metadata;
  const relied = members.find((member) => member.name === name)?.hold;
  if (relied === part.held?.number) return;
  throw new MemberError(part, new NoInstantError('NotHeld', `the volume is held under number ${part.held?.number}, and not ${relied}`));
}

/** Makes the snapshots of one volume group one after the other. Each volume goes on as soon as its own is made. */
async function makeAll(parts: readonly Part[], stop: AbortController, signal: AbortSignal): Promise<void> {
  for (const part of parts) {
    signal.throwIfAborted();
    try {
      await ofMember(part, async () => {
        await part.prepared?.make();
        await part.held?.release();
      });
    } catch (error) {
      // Nobody needs those that are not made yet.
      stop.abort(error);
      throw error;
    }
  }
}

/** Waits for all before it throws: what is still under way must not come after the cleaning up. */
async function settled(works: Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(works);
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (failures.length > 0) throw failures.find((error) => error instanceof MemberError) ?? failures[0];
}

async function ofMember<R>(part: Member, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NoInstantError || error instanceof BackendError || error instanceof RefusedError)
      throw new MemberError(part, error);
    throw error;
  }
}

async function tell(
  records: SnapshotRecords,
  part: Member,
  outcome: Outcome,
  signal: AbortSignal,
  member: NonNullable<AoESnapshot['status']>['member'],
): Promise<void> {
  const written = await records.report(part.snapshot, part.place, outcome, signal, member);
  if (!written) throw new GroupEndedError(`AoESnapshot ${part.snapshot.metadata.name} is gone`);
  part.snapshot = written;
}

/** Reports the member that failed; all of them when it was none of their own. */
async function reportFailure(records: SnapshotRecords, parts: readonly Member[], error: unknown, signal: AbortSignal): Promise<void> {
  const failed = error instanceof MemberError ? [error.part] : parts;
  const cause = error instanceof MemberError ? error.cause : error;
  const outcome = cause instanceof RefusedError ? cause.outcome : failedBy(cause);
  for (const part of failed) await tell(records, part, outcome, signal, { step: 'Failed' });
}
