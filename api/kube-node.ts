import type { ObjectMeta } from './meta.ts';

/** A Kubernetes Node, as far as it is read here. An AoENode has the same name. */
export interface KubeNode {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec?: { taints?: { key: string; value?: string }[] };
  status?: {
    conditions?: { type: string; status: string; reason?: string; lastTransitionTime?: string }[];
    addresses?: { type: string; address: string }[];
  };
}

/** Why a node is not Ready, for people; undefined when it is Ready, does not say, or does not exist. */
export function notReady(node: KubeNode | undefined): string | undefined {
  const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready');
  if (!node || !ready || ready.status === 'True') return undefined;
  const why = ready.status === 'Unknown' ? 'its kubelet is silent' : (ready.reason ?? 'its kubelet gives no reason');
  return `node ${node.metadata.name} has not been Ready since ${ready.lastTransitionTime ?? 'an unknown time'} (${why})`;
}
