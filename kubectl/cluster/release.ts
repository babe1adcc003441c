import { PODS, type Pod } from './objects.ts';
import type { Reader } from './reader.ts';

/** Label of all pods of the chart. */
const OURS = 'app.kubernetes.io/name=aoe-csi';
const COMPONENT = 'app.kubernetes.io/component';

export type Component = 'controller' | 'node' | 'agent' | 'target';

/** Our container in the pod of a DaemonSet. */
export const CONTAINER: Readonly<Record<Exclude<Component, 'controller'>, string>> = { node: 'csi-node', agent: 'agent', target: 'target' };

/** All pods of the release; undefined when they may not be listed. */
export function releasePods(reader: Reader, namespace: string): Promise<Pod[] | undefined> {
  return reader.list<Pod>(PODS, { namespace, labelSelector: OURS });
}

export function componentOf({ metadata }: Pod): string | undefined {
  return metadata.labels?.[COMPONENT];
}

/** The running pod of a component on a node. */
export function podOn(pods: readonly Pod[] | undefined, component: Component, node: string | undefined): Pod | undefined {
  const there = (pods ?? []).filter((pod) => componentOf(pod) === component && pod.spec.nodeName === node);
  return there.find(({ status, metadata }) => status?.phase === 'Running' && !metadata.deletionTimestamp) ?? there[0];
}
