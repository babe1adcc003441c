import { randomInt } from 'node:crypto';
import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoESnapshot, type MemberStep, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoESnapshotGroup, type GroupMember, type GroupStage, isUnderWay } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Informer, type Kube, KubeError, setCondition } from '../../kube/mod.ts';

const STEPS: Partial<Record<GroupStage, MemberStep>> = { Preparing: 'Prepared', Holding: 'Held', Taking: 'Taken' };

/** Plays what the agents of all nodes do for groups of snapshots. */
export class FakeGroups {
  readonly #kube: Kube;
  readonly groups: Informer<AoESnapshotGroup>;
  readonly snapshots: Informer<AoESnapshot>;
  /** Why a member of this volume fails, by name of the volume. */
  readonly failing = new Map<string, string>();
  /** Agents of these nodes do not report. */
  readonly silent = new Set<string>();
  readonly errors: unknown[] = [];

  constructor(kube: Kube) {
    this.#kube = kube;
    this.groups = new Informer<AoESnapshotGroup>(kube, AOE_SNAPSHOT_GROUPS);
    this.snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
  }

  async run(signal: AbortSignal): Promise<void> {
    const look = (group: AoESnapshotGroup | undefined): void => {
      if (!group || !isUnderWay(group)) return;
      for (const member of group.status?.members ?? [])
        this.#play(group, member).catch((error: unknown) => signal.aborted || this.errors.push(error));
    };
    this.groups.subscribe(({ type, object }) => type === 'applied' && look(object));
    this.snapshots.subscribe(({ object }) => look(this.groups.get(object.spec.group?.name ?? '')));
    await Promise.all([this.groups.run(signal), this.snapshots.run(signal)]);
  }

  async #play(group: AoESnapshotGroup, { name, volumeName, volumeUID, nodeName }: GroupMember): Promise<void> {
    const snapshot = this.snapshots.get(name);
    const before = snapshot?.status?.member;
    const step = STEPS[group.status?.stage ?? 'Failed'];
    if (!step || before?.step === step || before?.step === 'Failed' || this.silent.has(nodeName)) return;
    if (!snapshot || snapshot.spec.group?.uid !== group.metadata.uid || snapshot.metadata.deletionTimestamp) return;
    if ((snapshot.status?.nodeName ?? snapshot.status?.assignedNode) !== nodeName) return;
    const failure = this.failing.get(volumeName);
    const isTaken = step === 'Taken';
    const capacity = (await this.#kube.get<AoEVolume>(AOE_VOLUMES, volumeName))?.status?.capacity;
    const condition = setCondition(undefined, {
      type: SnapshotCondition.Taken,
      status: isTaken ? 'True' : 'False',
      reason: failure ?? (isTaken ? 'Taken' : 'Taking'),
      message: 'fake',
    });
    const status: AoESnapshot['status'] = {
      nodeName,
      pool: 'default',
      volumeUID,
      conditions: [condition],
      member: failure ? { step: 'Failed' } : { step, ...(step === 'Prepared' ? {} : { hold: before?.hold ?? randomInt(1 << 30) }) },
      ...(isTaken ? { capacity, createdAt: group.status?.createdAt } : {}),
    };
    const { resourceVersion } = snapshot.metadata;
    const object = {
      apiVersion: API_VERSION,
      kind: AOE_SNAPSHOTS.kind,
      metadata: { name, ...(resourceVersion ? { resourceVersion } : {}) },
      status,
    };
    const options = { fieldManager: 'aoe-csi-agent', force: true, subresource: 'status' } as const;
    await this.#kube.apply(AOE_SNAPSHOTS, object as never, options).catch((error: unknown) => {
      // It was changed or deleted meanwhile: the watch delivers that.
      if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 409)) throw error;
    });
  }
}
