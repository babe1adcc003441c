import type { KubeObject } from '../../kube/mod.ts';

/** A Node of Kubernetes, as far as it is looked at here: the machine that an AoENode is about. */
export interface Machine extends KubeObject {
  status?: { conditions?: { type: string; status: string; reason?: string; lastTransitionTime?: string }[] };
}

/** Why a machine is not Ready, for people; undefined when it is, or there is no such Node. */
export function notReady(machine: Machine | undefined): string | undefined {
  const ready = machine?.status?.conditions?.find(({ type }) => type === 'Ready');
  if (!machine || !ready || ready.status === 'True') return undefined;
  const why = ready.status === 'Unknown' ? 'its kubelet is silent' : (ready.reason ?? 'its kubelet says so');
  return `node ${machine.metadata.name} is not Ready since ${ready.lastTransitionTime ?? 'an unknown time'} (${why})`;
}
