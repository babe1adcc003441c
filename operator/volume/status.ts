import { isDeepStrictEqual } from 'node:util';
import { formatAddress } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import type { Condition } from '../../api/meta.ts';
import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, VolumeCondition, type VolumePhase } from '../../api/volume.ts';
import { setCondition } from '../../kube/mod.ts';
import { addressOf } from '../placement/address-range.ts';
import type { Refused } from '../placement/place.ts';

export const FIELD_MANAGER = 'aoe-csi-operator';

interface Verdict {
  status: Condition['status'];
  reason: string;
  message: string;
}

/** What keeps a volume that is placed from being served. */
const AFTER_PLACING = new Set<Refused['refused']>(['StorageNodeGone', 'StorageNodeNotReady']);

/** What is said of the placing: done, or why not. */
function placed(volume: AoEVolume, refused: Refused | undefined): Verdict {
  if (refused && !AFTER_PLACING.has(refused.refused)) return { status: 'False', reason: refused.refused, message: refused.message };
  if (!volume.spec.external && !isPlaced(volume)) return { status: 'False', reason: 'NotPlaced', message: 'deleted before it was placed' };
  const address = addressOf(volume.spec);
  const at = address ? formatAddress(address) : 'no address';
  if (volume.spec.external) return { status: 'True', reason: 'External', message: `served by someone else at ${at}` };
  return { status: 'True', reason: 'Placed', message: `on ${volume.spec.nodeName} at ${at}` };
}

/** Who uses the volume, for the message of a deletion that waits. */
function users({ spec, status }: AoEVolume): string[] {
  const nodes = (spec.initiators.nodes ?? []).map((node) => `attached to ${node}`);
  const holder = status?.holder ? [`locked by ${status.holder.node ?? `"${status.holder.raw}"`}`] : [];
  return [...nodes, ...holder];
}

/** The sum of all conditions. */
function ready(volume: AoEVolume, placing: Verdict, refused: Refused | undefined): Verdict {
  const { metadata, spec, status } = volume;
  if (metadata.deletionTimestamp) {
    const inUse = users(volume);
    if (inUse.length > 0) return { status: 'False', reason: 'InUse', message: `deletion waits: ${inUse.join(', ')}` };
    return { status: 'False', reason: 'Deleting', message: `${spec.nodeName ?? 'nobody'} is removing export and data` };
  }
  if (placing.status !== 'True' || spec.external) return placing;
  if (refused?.refused === 'StorageNodeNotReady') return { status: 'Unknown', reason: refused.refused, message: refused.message };
  if (refused) return { status: 'False', reason: refused.refused, message: refused.message };
  for (const type of [VolumeCondition.Provisioned, VolumeCondition.Exported]) {
    const condition = status?.conditions?.find((each) => each.type === type);
    if (!condition) return { status: 'False', reason: 'Waiting', message: `waiting for the agent on ${spec.nodeName}` };
    if (condition.status !== 'True') return { status: condition.status, reason: condition.reason, message: condition.message };
  }
  const conflict = status?.conditions?.find(({ type }) => type === VolumeCondition.AddressConflict);
  if (conflict?.status === 'True') return { status: 'False', reason: 'AddressConflict', message: conflict.message };
  return { status: 'True', reason: 'Exported', message: `exported by ${spec.nodeName}` };
}

/** Condition Locked of a target that someone else serves, from what the node plugin said last. */
function externalLock({ spec, status }: AoEVolume): Verdict {
  const { holder } = status ?? {};
  if (holder)
    return {
      status: 'True',
      reason: 'Held',
      message: `held by ${holder.node ? `node ${holder.node} since ${holder.since}` : `"${holder.raw}"`}`,
    };
  if (spec.access !== 'Exclusive') return { status: 'False', reason: spec.access, message: 'there is no lock for this access' };
  return { status: 'Unknown', reason: 'External', message: 'no node of this cluster has the lock; others may: ask the target (aoecfg)' };
}

/** Refusals that end by themselves when a node or pool turns up: the volume waits, nothing has failed. */
const WAITING = new Set(['NoEligibleNode', 'NodesNotReady', 'Waiting']);

function phaseOf(volume: AoEVolume, verdict: Verdict): VolumePhase {
  if (volume.metadata.deletionTimestamp) return 'Deleting';
  if (verdict.status === 'True') return 'Ready';
  return verdict.status === 'False' && !WAITING.has(verdict.reason) ? 'Failed' : 'Pending';
}

/**
 * The operator's part of a volume's status, as an object to apply; undefined when the volume has it already.
 * @param refused why it is not placed, or placed where it cannot be served
 */
export function statusToApply(volume: AoEVolume, refused: Refused | undefined): object | undefined {
  const { metadata, spec, status } = volume;
  const placing = placed(volume, refused);
  const verdict = ready(volume, placing, refused);
  const generation = metadata.generation === undefined ? {} : { observedGeneration: metadata.generation };
  const conditions = [
    setCondition(status?.conditions, { type: VolumeCondition.Placed, ...placing, ...generation }),
    setCondition(status?.conditions, { type: VolumeCondition.Ready, ...verdict, ...generation }),
  ];
  if (spec.external) {
    const message = 'the target does not know who has the lock: the lock binds only hosts that respect it';
    conditions.push(
      setCondition(status?.conditions, {
        type: VolumeCondition.EnforcedByTarget,
        status: 'False',
        reason: 'External',
        message,
        ...generation,
      }),
      setCondition(status?.conditions, { type: VolumeCondition.Locked, ...externalLock(volume), ...generation }),
    );
  }
  const address = addressOf(spec);
  const wanted = {
    ...generation,
    phase: phaseOf(volume, verdict),
    ...(address && placing.status === 'True' ? { address: formatAddress(address) } : {}),
    ...(spec.external?.serial ? { serial: spec.external.serial } : {}),
    conditions,
  };
  const present = {
    ...(status?.observedGeneration === undefined ? {} : { observedGeneration: status.observedGeneration }),
    phase: status?.phase,
    ...(status?.address ? { address: status.address } : {}),
    ...(spec.external?.serial && status?.serial ? { serial: status.serial } : {}),
    conditions: conditions.map(({ type }) => status?.conditions?.find((each) => each.type === type)),
  };
  if (isDeepStrictEqual(wanted, present)) return undefined;
  return {
    apiVersion: API_VERSION,
    kind: AOE_VOLUMES.kind,
    metadata: { name: metadata.name, ...(metadata.uid ? { uid: metadata.uid } : {}) },
    status: wanted,
  };
}
