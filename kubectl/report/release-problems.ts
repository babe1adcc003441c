import { type AoENode, NodeCondition } from '../../api/node.ts';
import type { Machine, Pod } from '../cluster/objects.ts';
import { type Component, componentOf } from '../cluster/release.ts';
import { conditionOf, isReadyPod, isStorage, machineProblems, type Problem, podProblems } from './problems.ts';

/** Components of pods that a hook of Helm starts: they do their work once, and nothing runs in them afterwards. */
const OF_HOOKS: ReadonlySet<string | undefined> = new Set(['test', 'crds']);

/** What a node can no longer do without the pod of a component. */
const LOST: Readonly<Record<Exclude<Component, 'controller'>, string>> = {
  node: 'no volume can be mounted or unmounted there',
  agent: 'nothing about its volumes is done or reported',
  target: 'its volumes cannot be reached',
};

interface Installed {
  /** Of the release; undefined when they may not be listed. */
  readonly pods: readonly Pod[] | undefined;
  readonly nodes: readonly AoENode[] | undefined;
  readonly machines: readonly Machine[] | undefined;
}

/** What is not well with the pods of the release, those included that should be there and are not. */
export function releaseProblems({ pods, nodes = [], machines = [] }: Installed, namespace: string): Problem[] {
  if (!pods) return [];
  if (pods.length === 0) return [noPods(namespace)];
  const lasting = pods.filter((pod) => !OF_HOOKS.has(componentOf(pod)));
  const live = lasting.filter(({ status }) => status?.phase !== 'Failed' && status?.phase !== 'Succeeded');
  const ready = new Set(live.filter(isReadyPod).map(placeOf));
  // A pod that was evicted stays as an object for long after another one has taken its place.
  const relevant = lasting.filter((pod) => pod.status?.phase !== 'Failed' || !ready.has(placeOf(pod)));
  const here = new Set(live.map(placeOf));
  const controller = here.has('controller') ? [] : [noController(namespace)];
  // On a node that is not Ready, that is the cause, and is told.
  const well = new Set(machines.filter((machine) => machineProblems(machine).length === 0).map(({ metadata }) => metadata.name));
  const absent = nodes
    .filter(({ metadata }) => well.has(metadata.name))
    .flatMap((node) =>
      expectedOn(node)
        .filter((component) => !here.has(`${component} ${node.metadata.name}`))
        .map((component) => noPod(node.metadata.name, component)),
    );
  return [...relevant.flatMap(podProblems), ...controller, ...absent];
}

/** For which place a pod is: its component, and for a DaemonSet its node. A controller may be on any node. */
function placeOf(pod: Pod): string {
  const component = componentOf(pod) ?? '';
  return component === 'controller' ? component : `${component} ${pod.spec.nodeName ?? wantedNode(pod) ?? ''}`;
}

/** The node for which a DaemonSet has made a pod that is not scheduled yet (pkg/controller/daemon/util/daemonset_util.go, ReplaceDaemonSetPodNodeNameNodeAffinity). */
function wantedNode({ spec: { affinity } }: Pod): string | undefined {
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms.flatMap(({ matchFields = [] }) => matchFields.flatMap(({ key, values }) => (key === 'metadata.name' ? values : [])))[0];
}

/** The components that have reported from a node. */
function expectedOn(node: AoENode): (keyof typeof LOST)[] {
  const plugin = conditionOf(node, NodeCondition.InitiatorReady) ? (['node'] as const) : [];
  return [...plugin, ...(isStorage(node) ? (['agent', 'target'] as const) : [])];
}

function noPods(namespace: string): Problem {
  const message = 'there is no pod of aoe-csi in it: is the chart installed in another namespace (--namespace)?';
  return { subject: `namespace ${namespace}`, reason: 'NoPods', message };
}

function noController(namespace: string): Problem {
  const message =
    'there is no controller pod in it: no volume is made, placed, attached or deleted. See the events of Deployment aoe-csi-controller';
  return { subject: `namespace ${namespace}`, reason: 'NoPod', message };
}

function noPod(node: string, component: keyof typeof LOST): Problem {
  return { subject: `node ${node}`, reason: 'NoPod', message: `there is no aoe-csi-${component} pod on it: ${LOST[component]}` };
}
