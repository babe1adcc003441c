import { formatAddress } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import type { Condition } from '../../api/meta.ts';
import {
  type AoEVolume,
  type AoEVolumeStatus,
  DELETION_WAITS,
  isReportOfPlace,
  MOVE_FINALIZER,
  moveReport,
  VOLUME_FINALIZER,
  VolumeCondition,
  type VolumePhase,
} from '../../api/volume.ts';
import type { StatusPart } from '../../kube/mod.ts';
import { addressOf } from '../placement/address-range.ts';
import type { Refused } from '../placement/placement.ts';
import type { Growth } from './growth.ts';
import type { Obstacle } from './obstacle.ts';

type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

/** What the operator has found out about a volume. */
export interface Findings {
  /** Why it is not placed, or cannot have its place. */
  readonly refused?: Refused | undefined;
  /** Why it cannot be served, although it is placed. */
  readonly obstacle?: Obstacle | undefined;
  readonly growth?: Growth | undefined;
}

/** Condition Placed. */
function placed(volume: AoEVolume, refused: Refused | undefined): Verdict {
  if (refused) return { status: 'False', reason: refused.refused, message: refused.message };
  if (!volume.spec.external && !isPlaced(volume)) return { status: 'False', reason: 'NotPlaced', message: 'deleted before it was placed' };
  const address = addressOf(volume.spec);
  const at = address ? formatAddress(address) : 'no address';
  if (volume.spec.external) return { status: 'True', reason: 'External', message: `served at ${at} by a target outside of this project` };
  return { status: 'True', reason: 'Placed', message: `on ${volume.spec.nodeName} at ${at}` };
}

/** Who uses the volume, for the message of a deletion that waits. */
function users({ spec, status }: AoEVolume): string[] {
  const nodes = (spec.initiators.nodes ?? []).map((node) => `attached to ${node}`);
  const holder = status?.holder ? [`locked by ${status.holder.node ?? `"${status.holder.raw}"`}`] : [];
  return [...nodes, ...holder];
}

/** The condition in which the agent says what the deletion waits for. */
function agentsWait(volume: AoEVolume): Condition | undefined {
  const { status } = volume;
  if (!isReportOfPlace(volume)) return undefined;
  const own = (status?.conditions ?? []).filter(({ type }) => type === VolumeCondition.Provisioned || type === VolumeCondition.Exported);
  return own.find(({ message }) => message.startsWith(DELETION_WAITS));
}

/** Condition Ready of a volume that is being deleted. */
function deleting(volume: AoEVolume, obstacle: Obstacle | undefined): Verdict {
  const { finalizers = [] } = volume.metadata;
  const { move } = volume.spec;
  if (move && finalizers.includes(MOVE_FINALIZER) && !finalizers.includes(VOLUME_FINALIZER)) {
    const { message = '' } = moveReport(volume) ?? {};
    const left = `the agent on ${move.nodeName} is to remove what a move left in pool ${move.pool} there`;
    return { status: 'False', reason: 'Deleting', message: `${DELETION_WAITS}${left}${message === '' ? '' : `: ${message}`}` };
  }
  const waits = [...users(volume), ...(obstacle ? [obstacle.message] : [])].join(', ');
  if (users(volume).length > 0) return { status: 'False', reason: 'InUse', message: `${DELETION_WAITS}${waits}` };
  if (obstacle) return { status: 'False', reason: obstacle.obstacle, message: `${DELETION_WAITS}${waits}` };
  const wait = agentsWait(volume);
  if (wait) return { status: 'False', reason: wait.reason, message: wait.message };
  const { nodeName } = volume.spec;
  const message = nodeName ? `the agent on ${nodeName} is removing export and data` : 'waiting for finalizers of others';
  return { status: 'False', reason: 'Deleting', message };
}

/** Condition Ready: the sum of all conditions. */
function ready(volume: AoEVolume, placing: Verdict, obstacle: Obstacle | undefined): Verdict {
  const { metadata, spec, status } = volume;
  if (metadata.deletionTimestamp) return deleting(volume, obstacle);
  if (placing.status !== 'True' || spec.external) return placing;
  if (obstacle) {
    const isKnown = obstacle.obstacle !== 'StorageNodeNotReady';
    return { status: isKnown ? 'False' : 'Unknown', reason: obstacle.obstacle, message: obstacle.message };
  }
  const isReported = isReportOfPlace(volume);
  for (const type of [VolumeCondition.Provisioned, VolumeCondition.Exported]) {
    const condition = isReported && status?.conditions?.find((each) => each.type === type);
    if (!condition) return { status: 'False', reason: 'Waiting', message: `waiting for the agent on ${spec.nodeName}` };
    if (condition.status !== 'True') return { status: condition.status, reason: condition.reason, message: condition.message };
  }
  const conflict = status?.conditions?.find(({ type }) => type === VolumeCondition.AddressConflict);
  if (conflict?.status === 'True') return { status: 'False', reason: 'AddressConflict', message: conflict.message };
  return { status: 'True', reason: 'Exported', message: `exported by ${spec.nodeName}` };
}

/** Condition Locked of an external target, from what the node plugin reported last. */
function externalLock({ spec, status }: AoEVolume): Verdict {
  const { holder } = status ?? {};
  if (holder) {
    const by = holder.node ? `node ${holder.node} since ${holder.since}` : `"${holder.raw}"`;
    return { status: 'True', reason: 'Held', message: `held by ${by}` };
  }
  if (spec.access !== 'Exclusive')
    return { status: 'False', reason: spec.access, message: `volumes with access ${spec.access} have no lock` };
  const message = 'no node of this cluster has the lock; other hosts may have it: ask the target (aoecfg)';
  return { status: 'Unknown', reason: 'External', message };
}

/** Reasons that end by themselves, or when a node or a pool appears: the volume waits, nothing has failed. */
const WAITING = new Set([
  ...['AnsweredBySource', 'Copying', 'Moving', 'NoEligibleNode', 'NodesNotReady', 'SourceInUse', 'SourceNotReady', 'Waiting', 'Wiping'],
]);

function phaseOf(volume: AoEVolume, verdict: Verdict): VolumePhase {
  if (volume.metadata.deletionTimestamp) return 'Deleting';
  if (verdict.status === 'True') return 'Ready';
  return verdict.status === 'False' && !WAITING.has(verdict.reason) ? 'Failed' : 'Pending';
}

/** The operator's part of a volume's status. */
export function statusOf(volume: AoEVolume, { refused, obstacle, growth }: Findings): Required<Pick<StatusPart, 'conditions' | 'fields'>> {
  const { metadata, spec } = volume;
  const placing = placed(volume, refused);
  const verdict = ready(volume, placing, obstacle);
  const verdicts: [string, Verdict][] = [
    [VolumeCondition.Placed, placing],
    [VolumeCondition.Ready, verdict],
  ];
  if (growth?.verdict) verdicts.push([VolumeCondition.Grown, growth.verdict]);
  if (spec.external) {
    const message = 'the target does not enforce the lock: only hosts that respect it stay away';
    verdicts.push(
      [VolumeCondition.EnforcedByTarget, { status: 'False', reason: 'External', message }],
      [VolumeCondition.Locked, externalLock(volume)],
    );
  }
  const address = placing.status === 'True' ? addressOf(spec) : undefined;
  const fields: Pick<AoEVolumeStatus, 'observedGeneration' | 'phase' | 'address' | 'serial' | 'reserved'> = {
    observedGeneration: metadata.generation,
    phase: phaseOf(volume, verdict),
    address: address && formatAddress(address),
    reserved: growth?.reserved,
    // Of our own targets the agent reports it, of external ones without a serial in the spec the node plugin does.
    ...(spec.external?.serial ? { serial: spec.external.serial } : {}),
  };
  const observedGeneration = metadata.generation;
  return { conditions: verdicts.map(([type, each]) => ({ type, ...each, observedGeneration })), fields };
}

/**
 * Whether nobody waits for a new status: the volume is not ready and was not before, or is being deleted, or only the generation
 * differs. Meanwhile the next condition of the agent, or the next change of the spec, may come, or the volume may be gone.
 */
export function canWait({ metadata, status }: AoEVolume, next: Pick<StatusPart, 'conditions'>): boolean {
  if (metadata.deletionTimestamp) return true;
  const before = new Map(status?.conditions?.map((each) => [each.type, each]));
  const changed = (next.conditions ?? []).filter((each) => {
    const old = before.get(each.type);
    return old?.status !== each.status || old.reason !== each.reason || old.message !== each.message;
  });
  if (changed.length === 0) return status?.observedGeneration !== metadata.generation;
  const { status: ready } = next.conditions?.find(({ type }) => type === VolumeCondition.Ready) ?? {};
  return ready !== 'True' && before.get(VolumeCondition.Ready)?.status !== 'True';
}
