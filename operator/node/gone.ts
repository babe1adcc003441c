import type { KubeNode } from '../../api/kube-node.ts';
import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES, NODES, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP } from '../../api/volume.ts';
import { type EventRecorder, isConflict, isNotFound, type Kube, type KubeObject, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';

/** Kubernetes detaches the volumes of a deleted node by itself, within six minutes: poll at this interval until it has. */
const ATTACHED_RETRY_MS = 15_000;
const CONFLICT_RETRY_MS = 1_000;

interface Options {
  readonly kube: Pick<Kube, 'get' | 'list' | 'patch'>;
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly log: Logger;
}

interface Attachment extends KubeObject {
  spec: { attacher: string; nodeName: string };
  status?: { attached: boolean };
}

/**
 * Removes nodes that no longer exist from a volume's spec.initiators, unless Kubernetes does so by detaching. The agent
 * then cuts them off and clears their lock.
 */
export async function removeGoneNodes(
  { kube, volumes, nodes, kubeNodes, events, log }: Options,
  name: string,
  signal: AbortSignal,
): Promise<{ requeueAfterMs: number } | undefined> {
  const volume = volumes.get(name);
  const suspects = removableNodes(volume).filter((node) => !nodes.get(node) && !kubeNodes.get(node));
  if (!volume || suspects.length === 0) return undefined;
  const gone: string[] = [];
  // The API server itself is asked: a watch may be late.
  for (const node of suspects) {
    const [kubeNode, aoeNode] = await Promise.all([kube.get(NODES, node, { signal }), kube.get(AOE_NODES, node, { signal })]);
    if (!kubeNode && !aoeNode) gone.push(node);
  }
  if (gone.length === 0) return undefined;
  const { items } = await kube.list<Attachment>(VOLUME_ATTACHMENTS, { signal });
  // Kubernetes may try again and again to attach to a node that is gone, until it collects the pod: nothing comes of that.
  const attached = items.filter(({ spec, status }) => spec.attacher === DRIVER_NAME && status?.attached === true);
  const detached = gone.filter((node) => !attached.some(({ spec }) => spec.nodeName === node));
  if (detached.length > 0) {
    const left = (volume.spec.initiators.nodes ?? []).filter((node) => !detached.includes(node));
    const { uid, resourceVersion } = volume.metadata;
    const patch = { metadata: { uid, resourceVersion }, spec: { initiators: { nodes: left.length > 0 ? left : null } } };
    try {
      await kube.patch(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (isConflict(error)) return { requeueAfterMs: CONFLICT_RETRY_MS };
      throw error;
    }
    log.warn({ volume: name, nodes: detached }, 'nodes that no longer exist removed from spec.initiators');
    const message = `node ${detached.join(', ')} no longer exists: removed from spec.initiators`;
    events.event(volume, 'Warning', 'InitiatorGone', message);
  }
  return detached.length < gone.length ? { requeueAfterMs: ATTACHED_RETRY_MS } : undefined;
}

/**
 * Nodes of spec.initiators that were admitted at some time. A name that never was may be misspelt: that is reported elsewhere, and
 * not ours to overwrite. Of external targets, and of volumes that were given up, nobody reports who is admitted.
 */
function removableNodes(volume: AoEVolume | undefined): string[] {
  const nodes = volume?.spec.initiators.nodes ?? [];
  const isUnreported = volume?.spec.external !== undefined || volume?.metadata.annotations?.[GIVE_UP] !== undefined;
  return isUnreported ? nodes : nodes.filter((node) => volume?.status?.initiators?.nodes?.includes(node));
}
