import { DEFAULT_SEGMENT, type Resource, SEGMENT_KEY } from './meta.ts';
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

/**
 * The L2 segment of a node: the one that its node plugin reports. A storage node that no plugin ever ran on has only the label of its Node.
 * @param labels of the Node
 */
export function segmentOf(node: AoENode | undefined, labels: Readonly<Record<string, string>> | undefined): string {
  // A label may be empty.
  return node?.status?.segment || labels?.[SEGMENT_KEY] || DEFAULT_SEGMENT;
}
