import { type AoENode, segmentOf } from '../../api/node.ts';
import type { Machine } from '../cluster/objects.ts';

/** The segment of a node; undefined when it reports none and its Node is not known. @param machines undefined when Nodes may not be read */
export function knownSegment(node: AoENode, machines: readonly Machine[] | undefined): string | undefined {
  const machine = machines?.find(({ metadata }) => metadata.name === node.metadata.name);
  return machine ? segmentOf(node, machine.metadata.labels) : node.status?.segment;
}
