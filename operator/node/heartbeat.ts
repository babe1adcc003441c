import type { AoENode } from '../../api/node.ts';
import { fieldChanged } from '../../kube/mod.ts';

/** Whether a change of an AoENode is more than a report that its agent is still alive, how many volumes are served there, or what its target heard. */
export const isMoreThanHeartbeat = fieldChanged((node: AoENode) => ({
  ...node,
  metadata: { ...node.metadata, resourceVersion: undefined },
  status: { ...node.status, agentSeen: undefined, targets: undefined, heard: undefined, suspicion: undefined },
}));
