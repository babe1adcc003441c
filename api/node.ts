import type { Resource } from './meta.ts';
import type { AoENodeSpec, AoENodeStatus } from './schema/node.ts';

export type { AoENodeSpec, AoENodeStatus };
export type AoENode = Resource<AoENodeSpec, AoENodeStatus>;

/** Condition types of an AoENode. */
export const NodeCondition = {
  /** node plugin: the kernel's aoe driver is loaded and has an interface. */
  InitiatorReady: 'InitiatorReady',
  /** agent: the target process answers and has an interface. */
  TargetReady: 'TargetReady',
} as const;
