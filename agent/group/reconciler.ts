import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoESnapshotGroup, type GroupMember, isUnderWay } from '../../api/snapshot-group.ts';
import type { Informer } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { failedBy, type Outcome, refused } from '../snapshot/outcome.ts';
import { type Place, placeOf } from '../snapshot/place.ts';
import { examine } from '../snapshot/take.ts';
import { Subscribers } from '../subscribers.ts';
import { GroupEndedError, type Member, runSession, type SessionContext } from './session.ts';

export interface GroupReconcilerOptions extends SessionContext {
  /** Name of this node. */
  node: string;
  groups: Pick<Informer<AoESnapshotGroup>, 'get' | 'waitFor'>;
  log: Pick<Logger, 'info' | 'debug'>;
}

/** Does this node's part of the AoESnapshotGroups that have members here. */
export class GroupReconciler {
  readonly #options: GroupReconcilerOptions;
  readonly #running = new Map<string, { stop: AbortController; done: Promise<void> }>();
  readonly #subscribers = new Subscribers<string>();

  constructor(options: GroupReconcilerOptions) {
    this.#options = options;
  }

  /** Calls the listener with the name of a pool in which snapshots were taken. */
  subscribe(listener: (pool: string) => void): void {
    this.#subscribers.add(listener);
  }

  /** Reconciles one group, for kube's Controller: in stage Preparing that lasts until the snapshots of this node are taken or given up. */
  async reconcile(name: string, signal: AbortSignal): Promise<undefined> {
    const { groups, node } = this.#options;
    const group = groups.get(name);
    if (!group || group.metadata.deletionTimestamp || !isUnderWay(group)) return;
    const own = (group.status?.members ?? []).filter(({ nodeName }) => nodeName === node);
    const members = own.flatMap((member) => this.#memberOf(member, group));
    // The watch shows them when they are there, or the group ends.
    if (members.length === 0 || members.length < own.length) return;
    if (group.status?.stage === 'Preparing') await this.#take(group, members, signal);
    else await this.#report(members, signal);
  }

  /** Ends the work on a group, if there is any. Fulfilled when nothing of it goes on. @param uid of the AoESnapshotGroup */
  async end(uid: string): Promise<void> {
    const running = this.#running.get(uid);
    running?.stop.abort(new GroupEndedError('a member is being deleted'));
    await running?.done;
  }

  #memberOf({ name, volumeUID }: GroupMember, group: AoESnapshotGroup): Member[] {
    const { records, volumes, node } = this.#options;
    const snapshot: AoESnapshot | undefined = records.get(name);
    if (!snapshot || snapshot.metadata.deletionTimestamp || snapshot.spec.group?.uid !== group.metadata.uid) return [];
    // Until the operator has assigned it, the API server refuses what this agent says of it.
    if ((snapshot.status?.nodeName ?? snapshot.status?.assignedNode) !== node) return [];
    // A volume that is gone, or on another node now, is said so when the member is examined.
    const place: Place = placeOf(snapshot, volumes, node) ?? {
      pool: volumes.get(snapshot.spec.volumeName)?.spec.pool ?? '',
      volumeUID,
      isRecorded: false,
    };
    return [{ snapshot, place }];
  }

  async #take(group: AoESnapshotGroup, members: readonly Member[], signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    const { name, uid = '' } = group.metadata;
    if (members.some(({ snapshot }) => snapshot.status?.member?.step === 'Failed')) return;
    const stop = new AbortController();
    const session = runSession(this.#options, group, members, AbortSignal.any([signal, stop.signal]));
    const done = session.then(
      () => {},
      () => {},
    );
    this.#running.set(uid, { stop, done });
    try {
      await session;
      log.info({ group: name, members: members.map(({ snapshot }) => snapshot.metadata.name) }, 'members of a group are done');
    } catch (error) {
      if (!(error instanceof GroupEndedError)) throw error;
      log.debug({ group: name, why: error.message }, 'work on a group ended');
    } finally {
      this.#running.delete(uid);
      for (const pool of new Set(members.map(({ place }) => place.pool))) this.#subscribers.emit(pool);
    }
  }

  /**
   * What came of members in a stage in which no work on them may begin: the agent was restarted, or the work has ended. A snapshot is whole only
   * if its volume was held throughout, under the number that it has reported.
   */
  async #report(members: readonly Member[], signal: AbortSignal): Promise<void> {
    const { records } = this.#options;
    for (const { snapshot, place } of members) {
      const { step, hold } = snapshot.status?.member ?? {};
      if (step === 'Taken' || step === 'Failed') continue;
      const outcome = await this.#outcomeOf({ snapshot, place }, signal);
      const next = outcome.taken ? { step: 'Taken' as const, ...(hold === undefined ? {} : { hold }) } : { step: 'Failed' as const };
      await records.report(snapshot, place, outcome, signal, next);
    }
  }

  async #outcomeOf({ snapshot, place }: Member, signal: AbortSignal): Promise<Outcome> {
    try {
      const found = await examine(this.#options, snapshot, place, signal);
      if ('verdict' in found) return found;
    } catch (error) {
      signal.throwIfAborted();
      return failedBy(error);
    }
    return refused('NotHeld', 'the agent was restarted, or gave up, while the volume was held or was to be held');
  }
}
