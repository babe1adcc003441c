import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import type { Condition } from '../../kube/mod.ts';

/** Reasons of the agent's condition Exported when the volume is exported, but not to every host that spec.initiators names. */
const PARTLY_ADMITTED = new Set(['InitiatorsMissing', 'TooManyInitiators']);

export function conditionOf({ status }: AoEVolume, type: keyof typeof VolumeCondition): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}

/** Who uses the volume, for the message of a refusal; undefined when nobody does. */
export function describeUser({ spec, status }: AoEVolume): string | undefined {
  const { holder } = status ?? {};
  const { nodes = [], macs = [] } = spec.initiators;
  if (nodes.length > 0) {
    const since = holder?.since && holder.node && nodes.includes(holder.node) ? ` since ${holder.since}` : '';
    return `node ${nodes.join(', ')}${since}`;
  }
  if (macs.length > 0) return `${macs.join(', ')} (spec.initiators.macs)`;
  // No agent watches the lock of an external target: what the status says may be old.
  if (!holder || spec.external) return undefined;
  return holder.node ? `node ${holder.node}${holder.since ? ` since ${holder.since}` : ''}` : `somebody who wrote "${holder.raw}"`;
}

/** Whether the volume is exported, but not to every host that its spec names. */
export function isPartlyAdmitted({ status, reason }: Condition): boolean {
  return status === 'True' && PARTLY_ADMITTED.has(reason);
}

/** Whether the volume is ready, and which of its hosts cannot use it: the messages of its conditions. */
export function describeReadiness(volume: AoEVolume): string {
  const ready = conditionOf(volume, VolumeCondition.Ready)?.message ?? 'its status has no condition yet; is the operator running?';
  const exported = conditionOf(volume, VolumeCondition.Exported);
  return exported && isPartlyAdmitted(exported) ? `${ready}, but ${exported.message}` : ready;
}
