import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, API_VERSION } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import {
  type AoESnapshotGroup,
  type AoESnapshotGroupStatus,
  GROUP_FINALIZER,
  type GroupMember,
  isUnderWay,
} from '../../api/snapshot-group.ts';
import { applyStatus, isConflict, isNotFound, type Kube, OwnWrites, type Result, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { assignedNodeOf } from '../snapshot/assigned-node.ts';
import type { Verdict } from '../snapshot/status.ts';
import { blockerOf, type Cluster, membersOf } from './begin.ts';
import { type ActiveStage, describeMember, type Failure, nextStage } from './next.ts';
import { readyOf, statusOf } from './status.ts';

const RETRY_MS = 15_000;
/** When an AoESnapshot that is being deleted still has the name of a member. */
const SOON_MS = 500;

export interface GroupReconcilerOptions extends Cluster {
  readonly kube: Pick<Kube, 'apply' | 'patch' | 'get' | 'create' | 'delete'>;
  readonly groups: Store<AoESnapshotGroup>;
  readonly snapshots: Pick<Store<AoESnapshot>, 'get' | 'list'>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Milliseconds, as Date.now() has them. */
  readonly now?: () => number;
}

type Stored = Pick<AoESnapshotGroupStatus, 'stage' | 'stageSince' | 'createdAt' | 'members'>;

/**
 * Leads the agents of a group's members from stage to stage. Each stage is one write to the group, which all agents watch, and which is made
 * only when every agent has reported what the stage before asked for. A group is one attempt: it is committed or it has failed.
 */
export class GroupReconciler {
  readonly #options: GroupReconcilerOptions;
  readonly #groups: OwnWrites<AoESnapshotGroup>;
  readonly #now: () => number;

  constructor(options: GroupReconcilerOptions) {
    this.#options = options;
    this.#groups = new OwnWrites(options.groups);
    this.#now = options.now ?? Date.now;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const group = this.#groups.get(name);
    if (!group) return undefined;
    if (group.metadata.deletionTimestamp) return this.#delete(group, signal);
    switch (group.status?.stage) {
      case undefined:
        return this.#begin(group, signal);
      case 'Preparing':
      case 'Holding':
      case 'Taking':
        return this.#advance(group, group.status.stage, signal);
      case 'Committed':
        await this.#write(group, group.status, readyOf(group, this.#snapshot), signal);
        return undefined;
      case 'Failed':
        return (await this.#removeMembers(group, signal)) ? { requeueAfterMs: RETRY_MS } : undefined;
    }
  }

  readonly #snapshot = (name: string): AoESnapshot | undefined => this.#options.snapshots.get(name);

  /** Names the members, before anything else is done. */
  async #begin(group: AoESnapshotGroup, signal: AbortSignal): Promise<Result | undefined> {
    const { name } = group.metadata;
    const blocker = blockerOf(group, this.#groups.reserved(), this.#options);
    if (blocker) {
      const message = `AoESnapshotGroup ${blocker.metadata.name} has a storage node in common, and goes first`;
      await this.#write(group, {}, { status: 'False', reason: 'Waiting', message }, signal);
      return undefined;
    }
    const members = membersOf(group, this.#options);
    if (!Array.isArray(members)) return this.#fail(group, members, signal);
    const status = { ...group.status, stage: 'Preparing' as const, stageSince: this.#time(), members };
    // Other groups are reconciled meanwhile.
    this.#groups.reserve({ ...group, status }, { isHeld: true });
    try {
      const claimed = await this.#claim(group, signal);
      if (!claimed) return undefined;
      const written = await this.#write(claimed, status, readyOf({ ...claimed, status }, this.#snapshot), signal);
      return written && this.#advance(written, 'Preparing', signal);
    } finally {
      if (this.#groups.get(name)?.status?.stage === undefined) this.#groups.drop(name);
    }
  }

  async #claim(group: AoESnapshotGroup, signal: AbortSignal): Promise<AoESnapshotGroup | undefined> {
    const { name, uid, resourceVersion, finalizers = [] } = group.metadata;
    if (finalizers.includes(GROUP_FINALIZER)) return group;
    const metadata = { uid, resourceVersion, finalizers: [...finalizers, GROUP_FINALIZER] };
    try {
      return await this.#options.kube.patch<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, name, { metadata }, { signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #advance(group: AoESnapshotGroup, stage: ActiveStage, signal: AbortSignal): Promise<Result | undefined> {
    const next = nextStage(group, stage, this.#snapshot, this.#now());
    if (next.kind === 'fail') return this.#fail(group, next.failure, signal);
    if (next.kind === 'wait') {
      const missing = stage === 'Preparing' ? await this.#createMembers(group, signal) : undefined;
      if (missing && missing !== 'soon') return this.#fail(group, missing, signal);
      return { requeueAfterMs: missing ? SOON_MS : next.forMs };
    }
    const stageSince = this.#time();
    const status: AoESnapshotGroupStatus = { ...group.status, stage: next.stage, stageSince, members: next.members };
    if (next.stage === 'Taking') status.createdAt = stageSince;
    const written = await this.#write(group, status, readyOf({ ...group, status }, this.#snapshot), signal);
    if (!written) return undefined;
    if (next.stage === 'Committed')
      this.#options.log.info({ group: group.metadata.name, createdAt: status.createdAt }, 'group snapshot taken');
    // The agents answer, or the time is over.
    return { requeueAfterMs: 0 };
  }

  /** @returns why one cannot be created; 'soon' when the name of one is not free yet */
  async #createMembers(group: AoESnapshotGroup, signal: AbortSignal): Promise<Failure | 'soon' | undefined> {
    const { uid = '' } = group.metadata;
    const results = await Promise.all(
      (group.status?.members ?? []).map(async (member) => {
        const found = this.#snapshot(member.name);
        if (found?.spec.group?.uid === uid) return this.#assign(found, group, signal);
        return this.#createMember(member, group, signal);
      }),
    );
    return results.find((result) => typeof result === 'object') ?? results.find((result) => result === 'soon');
  }

  async #createMember(member: GroupMember, group: AoESnapshotGroup, signal: AbortSignal): Promise<Failure | 'soon' | undefined> {
    const { kube } = this.#options;
    const { name, volumeName, volumeUID } = member;
    const { name: groupName, uid = '' } = group.metadata;
    const spec: AoESnapshot['spec'] = { volumeName, volumeUID, deletionPolicy: 'Delete', group: { name: groupName, uid } };
    const object: AoESnapshot = { apiVersion: API_VERSION, kind: AOE_SNAPSHOTS.kind, metadata: { name }, spec };
    try {
      const created = await kube.create<AoESnapshot>(AOE_SNAPSHOTS, object, { fieldManager: FIELD_MANAGER, signal });
      return await this.#assign(created, group, signal);
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
    const other = await kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal });
    const isOurs = other?.spec.group?.uid === uid;
    if (!other || (other.metadata.deletionTimestamp && !isOurs)) return 'soon';
    if (isOurs) return this.#assign(other, group, signal);
    const message = `${describeMember(member)}: there is an AoESnapshot of that name, which is not of this group: delete it, or give the group another name`;
    return { reason: 'NameTaken', message };
  }

  /**
   * Says at once whose agent may take a new member: the controller of snapshots, which says so too, may have thousands of others to look at first,
   * and the stage ends after seconds. That controller has already looked at a member with a status.
   */
  async #assign(snapshot: AoESnapshot, group: AoESnapshotGroup, signal: AbortSignal): Promise<undefined> {
    if (snapshot.status) return;
    const fields = { assignedNode: assignedNodeOf(snapshot, undefined, group) };
    const part = { manager: FIELD_MANAGER, fields, still: ({ status }: AoESnapshot) => !status, signal };
    await applyStatus(this.#options.kube, AOE_SNAPSHOTS, snapshot, part);
  }

  async #fail(group: AoESnapshotGroup, { reason, message }: Failure, signal: AbortSignal): Promise<Result | undefined> {
    const { name } = group.metadata;
    const verdict: Verdict = { status: 'False', reason, message: `${message}; there is no snapshot of any member` };
    const status: AoESnapshotGroupStatus = { ...group.status, stage: 'Failed', stageSince: this.#time() };
    const written = await this.#write(group, status, verdict, signal);
    if (!written) return undefined;
    this.#options.log.warn({ group: name, reason, detail: message }, 'group snapshot failed');
    return (await this.#removeMembers(written, signal)) ? { requeueAfterMs: RETRY_MS } : undefined;
  }

  /** @returns whether there are any left */
  async #removeMembers({ metadata: { uid }, status }: AoESnapshotGroup, signal: AbortSignal): Promise<boolean> {
    const { kube } = this.#options;
    // Not from the cache, which may not show yet what this program made last.
    const found = await Promise.all((status?.members ?? []).map(({ name }) => kube.get<AoESnapshot>(AOE_SNAPSHOTS, name, { signal })));
    const ours = found.filter((member) => member?.spec.group?.uid === uid);
    await Promise.all(
      ours.map(async (member) => {
        if (!member || member.metadata.deletionTimestamp) return;
        const { name, uid: memberUID } = member.metadata;
        await kube.delete(AOE_SNAPSHOTS, name, { ...(memberUID ? { uid: memberUID } : {}), signal });
      }),
    );
    return ours.length > 0;
  }

  async #delete(group: AoESnapshotGroup, signal: AbortSignal): Promise<Result | undefined> {
    const { name, uid, resourceVersion, finalizers = [] } = group.metadata;
    if (!finalizers.includes(GROUP_FINALIZER)) return undefined;
    // It is over for its agents, and other groups on its nodes need not wait until all members are gone: a node may be away.
    const end: Stored = isUnderWay(group) ? { stage: 'Failed', stageSince: this.#time() } : {};
    const written = await this.#write(group, { ...group.status, ...end }, readyOf(group, this.#snapshot), signal);
    if (await this.#removeMembers(group, signal)) return { requeueAfterMs: RETRY_MS };
    const left = finalizers.filter((finalizer) => finalizer !== GROUP_FINALIZER);
    const metadata = { uid, resourceVersion: written?.metadata.resourceVersion ?? resourceVersion, finalizers: left };
    try {
      await this.#options.kube.patch(AOE_SNAPSHOT_GROUPS, name, { metadata }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    this.#groups.drop(name);
    return undefined;
  }

  /** Writes the status, unless another operator has brought the group to another stage meanwhile. */
  async #write(group: AoESnapshotGroup, status: Stored, verdict: Verdict, signal: AbortSignal): Promise<AoESnapshotGroup | undefined> {
    const stage = group.status?.stage;
    const still = (now: AoESnapshotGroup): boolean =>
      now.status?.stage === stage && now.metadata.deletionTimestamp === group.metadata.deletionTimestamp;
    const part = { manager: FIELD_MANAGER, ...statusOf(group, status, verdict), still, signal };
    const written = await applyStatus(this.#options.kube, AOE_SNAPSHOT_GROUPS, group, part);
    if (written) this.#groups.confirm(written);
    return written;
  }

  #time(): string {
    return new Date(this.#now()).toISOString();
  }
}
