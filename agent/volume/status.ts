import { formatLimits, hasLimits } from '../../api/limits/limits.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, type AoEVolumeStatus, isReportOfPlace, VolumeCondition } from '../../api/volume.ts';
import type { NextCondition } from '../../kube/mod.ts';
import type { Copying } from '../copier/copy-in.ts';
import { readHolder } from '../lock/holder.ts';
import type { TargetVolumeState } from '../target/api.ts';
import { conditionOf, conditionsOf } from './conditions.ts';
import { type Observed, sortedMacs } from './observe.ts';
import type { Outcome } from './outcome.ts';
import type { Plan } from './plan.ts';

/** The conditions that the agent writes; all others are written by other programs. */
const CONDITIONS = [
  VolumeCondition.AddressConflict,
  VolumeCondition.EnforcedByTarget,
  VolumeCondition.Exported,
  VolumeCondition.Locked,
  VolumeCondition.Provisioned,
] as const;

/** The agent's part of an AoEVolume's status. A field that is undefined is to be absent. */
export interface VolumeStatus {
  conditions: NextCondition[];
  fields: {
    [Field in 'capacity' | 'copy' | 'serial' | 'moves' | 'paths' | 'initiators' | 'limits' | 'holder' | 'reclaimsZeros']:
      | AoEVolumeStatus[Field]
      | undefined;
  };
}

/** The volume with the status that this agent goes on from. After a move the last agent's report is about another place: only the size stays. */
export function withOwnReport(volume: AoEVolume): AoEVolume {
  const { status } = volume;
  if (!status || isReportOfPlace(volume)) return volume;
  const { serial: _s, paths: _p, initiators: _i, limits: _l, holder: _h, reclaimsZeros: _r, conditions = [], ...kept } = status;
  const isOurs = ({ type }: { type: string }): boolean => (CONDITIONS as readonly string[]).includes(type);
  return { ...volume, status: { ...kept, conditions: conditions.filter((each) => !isOurs(each)) } };
}

/** The agent's part of the status after a reconcile. What the reconcile found nothing out about stays as it was written before. */
export function statusOf(volume: AoEVolume, seen: Observed, plan: Plan, outcome: Outcome): VolumeStatus {
  const { capacity, copy, serial, paths, initiators, limits, holder, reclaimsZeros } = volume.status ?? {};
  const { moves } = volume.spec;
  const fields: VolumeStatus['fields'] = { capacity, copy, serial, moves, paths, initiators, limits, holder, reclaimsZeros };
  if (seen.data?.kind === 'available')
    fields.capacity = formatQuantity(bytesOf(volume, seen.data.bytes, outcome.confirmed ?? seen.exported));
  if (seen.data) fields.copy = seen.data.kind === 'copying' ? reportOf(seen.data) : undefined;
  if (plan.action === 'serve') fields.paths = seen.paths;
  else if ((plan.action === 'wait' || plan.action === 'withdraw') && !outcome.error && isOff(plan)) fields.paths = undefined;
  const { confirmed, holderSeen } = outcome;
  if (confirmed) {
    fields.serial = confirmed.volume.serial;
    fields.limits = limitsOf(volume, confirmed);
    fields.reclaimsZeros = confirmed.volume.reclaim;
    if (!seen.access.refused) {
      const observedGeneration = volume.metadata.generation ?? 0;
      fields.initiators = { observedGeneration, nodes: seen.access.nodes, macs: sortedMacs(confirmed.volume.macs) };
    }
  }
  // The node plugins see no pools: without the field they begin nothing, and end what is under way.
  if (seen.isPoolFilling) fields.reclaimsZeros = undefined;
  if (holderSeen) fields.holder = readHolder(holderSeen.configString);
  else if (outcome.removal) fields.holder = undefined;

  const { generation: observedGeneration } = volume.metadata;
  const next = conditionsOf(volume, seen, plan, outcome);
  const conditions = CONDITIONS.flatMap((type): NextCondition[] => {
    const verdict = next.get(type);
    const before = conditionOf(volume, type);
    return verdict ? [{ type, ...verdict, observedGeneration }] : before ? [before] : [];
  });
  return { conditions, fields };
}

/** How far a copy is. */
function reportOf({ phase, bytesDone, bytesTotal, macs }: Copying): AoEVolumeStatus['copy'] {
  return { phase, bytesDone, bytesTotal, ...(macs.length > 0 ? { macs } : {}) };
}

/** The limits that the target enforces; undefined when there are none. */
function limitsOf({ metadata }: AoEVolume, { volume: { limits } }: TargetVolumeState): AoEVolumeStatus['limits'] {
  return limits && hasLimits(limits) ? { observedGeneration: metadata.generation ?? 0, ...formatLimits(limits) } : undefined;
}

/** Size of the disk: a volume has grown when its target serves the new size, and not before. It never becomes smaller. */
function bytesOf({ status }: AoEVolume, ofData: number, exported: TargetVolumeState | undefined): number {
  if (status?.capacity === undefined || !exported) return ofData;
  return Math.max(parseQuantity(status.capacity), Math.min(exported.bytes, ofData));
}

/** Whether the volume is known to be off the segment. */
function isOff({ obstacle }: Extract<Plan, { action: 'wait' | 'withdraw' }>): boolean {
  return obstacle.because !== 'target-away' && obstacle.because !== 'place-refused';
}

/** Conditions that have got worse, and of which people should hear by an Event: the data is gone, or another target answers. */
export function newProblems(volume: AoEVolume, conditions: readonly NextCondition[]): NextCondition[] {
  return conditions.filter(({ type, status, reason }) => {
    const bad = type === VolumeCondition.Provisioned ? 'False' : type === VolumeCondition.AddressConflict ? 'True' : undefined;
    const before = volume.status?.conditions?.find((each) => each.type === type);
    return status === bad && reason !== 'Wiping' && reason !== 'Copying' && !(before?.status === bad && before.reason === reason);
  });
}
