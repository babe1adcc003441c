import { type KubeNode, notReady } from '../../api/kube-node.ts';
import { AOE_VOLUMES, NODES, PODS, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { type AoEVolume, isUnserved, TAKEN_FROM, type Taken, takenFrom } from '../../api/volume.ts';
import { type EventRecorder, isConflict, isNotFound, type Kube, type KubeObject, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { connected, type Eligible, eligible, ours, type PodOnNode } from './eligible.ts';
import { isOurs, type OnNode, readNode } from './on-node.ts';

export interface Parts {
  readonly kube: Pick<Kube, 'get' | 'list' | 'patch' | 'delete'>;
  readonly volumes: Pick<Store<AoEVolume>, 'get' | 'list'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly log: Logger;
}

/** A volume whose takeover is under way, as the API server has it now. */
interface Taking {
  readonly volume: AoEVolume;
  readonly taken: Taken;
}

/** The takeovers from one node, and what ties volumes to it. */
interface Work extends Parts {
  readonly node: string;
  /** By the name of the AoEVolume. */
  readonly takings: ReadonlyMap<string, Taking>;
  readonly onNode: OnNode;
}

/** What a takeover waits for, for people: each ends with what is to happen. */
export type Waits = readonly string[];

/** What has to go once a volume is taken from a node. */
export function recordOf(node: string, volume: string, { plan, onNode }: { plan: Eligible; onNode: OnNode }): Taken {
  const pods = plan.pods.filter((pod) => ours(pod).includes(volume)).map(({ uid }) => uid);
  return { node, pods, attachments: (onNode.attachments.get(volume) ?? []).flatMap(({ metadata }) => metadata.uid ?? []) };
}

/**
 * Removes a node from a volume's spec.initiators, and notes that in the same write: whatever happens to this program, the next one goes on.
 * The agent then cuts the node off at the target and clears its lock.
 * @returns false when the volume was changed or deleted meanwhile
 */
export async function take({ kube }: Pick<Parts, 'kube'>, volume: AoEVolume, taken: Taken, signal: AbortSignal): Promise<boolean> {
  const { name, uid, resourceVersion } = volume.metadata;
  const left = (volume.spec.initiators.nodes ?? []).filter((each) => each !== taken.node);
  const metadata = { uid, resourceVersion, annotations: { [TAKEN_FROM]: JSON.stringify(taken) } };
  const patch = { metadata, spec: { initiators: { nodes: left.length > 0 ? left : null } } };
  return tryPatch(kube, name, patch, signal);
}

/**
 * Goes on with the volumes that were taken from a node, in this order: the target confirms that the node is cut off, the pods are deleted, the
 * VolumeAttachments are deleted, the note is removed. A takeover that was begun is ended also when the node comes back: its pods have lost
 * their disks.
 * @returns what is waited for: target, kubelet, csi-attacher, or the API server; undefined when nothing is left to do
 */
export async function finish(parts: Parts, node: string, signal: AbortSignal): Promise<Waits | undefined> {
  const names = parts.volumes.list().filter((volume) => takenFrom(volume)?.node === node);
  if (names.length === 0) return undefined;
  const takings = new Map<string, Taking>();
  for (const { metadata } of names) {
    const volume = await parts.kube.get<AoEVolume>(AOE_VOLUMES, metadata.name, { signal });
    const taken = volume && takenFrom(volume);
    if (volume && taken?.node === node) takings.set(metadata.name, { volume, taken });
  }
  const onNode = await readNode(parts, node, signal);
  const kubeNode = await parts.kube.get<KubeNode>(NODES, node, { signal });
  const isBack = kubeNode !== undefined && notReady(kubeNode) === undefined;
  const work: Work = { ...parts, node, takings, onNode };
  const isWhole = isBack || !(await takeTheRest(work, signal));
  if (!isWhole || (await cutOffAgain(work, signal))) return ['AoEVolumes to be changed'];
  // A note counts for the pods that use its own volume: whoever can write to one volume must not have other pods deleted.
  const isRecorded = ({ uid }: PodOnNode, name: string): boolean => takings.get(name)?.taken.pods.includes(uid) ?? false;
  const pods = onNode.pods.filter((pod) => pod.kept === undefined && ours(pod).some((name) => isRecorded(pod, name)));
  const isOut = (name: string): boolean => {
    const taking = takings.get(name);
    return taking === undefined || isCutOff(taking.volume, node);
  };
  const free = pods.filter((pod) => ours(pod).every(isOut));
  await deletePods(parts, free, { node, isBack }, signal);
  const waits = free.map(({ namespace, name }) => `pod ${namespace}/${name} to end`);
  for (const [name, { volume, taken }] of takings) {
    if (!isOut(name))
      waits.push(`the target of AoEVolume ${name} on node ${volume.spec.nodeName ?? '?'} to confirm that it refuses the node`);
    if (pods.some(({ uid }) => taken.pods.includes(uid))) continue;
    const attachments = recordedAttachments(taken, onNode.attachments.get(name));
    if (attachments.length === 0) await forget(parts, volume, node, signal);
    else if (isOut(name)) {
      await detach(parts, attachments, signal);
      waits.push(...attachments.map(({ metadata }) => `csi-attacher to detach VolumeAttachment ${metadata.name}`));
    }
  }
  return waits;
}

/**
 * Takes the other volumes of the same pods: this program may have ended between two of them.
 * @returns whether there were any
 */
async function takeTheRest(work: Work, signal: AbortSignal): Promise<boolean> {
  const { volumes, node, takings, onNode } = work;
  const attached = [...onNode.attachments.keys()].filter((name) => isOurs(volumes.get(name)));
  const plan = connected(eligible(onNode.pods, [...takings.keys(), ...attached]), takings.keys());
  const rest = plan.volumes.filter((name) => !takings.has(name)).flatMap((name) => volumes.get(name) ?? []);
  for (const volume of rest) await take(work, volume, recordOf(node, volume.metadata.name, { plan, onNode }), signal);
  return rest.length > 0;
}

/**
 * Cuts the node off again where csi-attacher has admitted it once more, because of a VolumeAttachment that is still to be deleted.
 * @returns whether there were such volumes
 */
async function cutOffAgain(work: Work, signal: AbortSignal): Promise<boolean> {
  const { node, takings, onNode } = work;
  const again = [...takings].filter(
    ([name, { volume, taken }]) =>
      volume.spec.initiators.nodes?.includes(node) && recordedAttachments(taken, onNode.attachments.get(name)).length > 0,
  );
  for (const [, { volume, taken }] of again) await take(work, volume, taken, signal);
  return again.length > 0;
}

/** Without waiting for a kubelet that is silent; one that is back ends the pod in the usual way. */
async function deletePods(
  { kube, log }: Parts,
  pods: readonly PodOnNode[],
  { node, isBack }: { node: string; isBack: boolean },
  signal: AbortSignal,
): Promise<void> {
  for (const { namespace, name, uid } of pods) {
    try {
      await kube.delete(PODS, name, { namespace, uid, signal, ...(isBack ? {} : { gracePeriodSeconds: 0 }) });
      log.warn({ node, namespace, pod: name, force: !isBack }, 'pod of a node whose volumes were taken over deleted');
    } catch (error) {
      // Another pod of that name has been made since.
      if (!isConflict(error)) throw error;
    }
  }
}

async function detach({ kube }: Parts, attachments: readonly KubeObject[], signal: AbortSignal): Promise<void> {
  for (const { metadata } of attachments) {
    if (metadata.deletionTimestamp) continue;
    try {
      await kube.delete(VOLUME_ATTACHMENTS, metadata.name, { uid: metadata.uid, signal });
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
}

function recordedAttachments({ attachments }: Taken, present: readonly KubeObject[] = []): KubeObject[] {
  return present.filter(({ metadata }) => attachments.includes(metadata.uid ?? ''));
}

async function forget({ kube, log }: Parts, volume: AoEVolume, node: string, signal: AbortSignal): Promise<void> {
  const { name, uid, resourceVersion } = volume.metadata;
  if (await tryPatch(kube, name, { metadata: { uid, resourceVersion, annotations: { [TAKEN_FROM]: null } } }, signal))
    log.warn({ volume: name, node }, 'takeover ended: nothing in Kubernetes ties the volume to the node any more');
}

async function tryPatch(kube: Parts['kube'], name: string, patch: object, signal: AbortSignal): Promise<boolean> {
  try {
    await kube.patch(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
    return true;
  } catch (error) {
    if (isConflict(error) || isNotFound(error)) return false;
    throw error;
  }
}

/** Whether the agent has confirmed, for the present spec or a later one, that the target refuses the node, or does not have the volume. */
export function isCutOff(volume: AoEVolume, node: string): boolean {
  const { metadata, spec, status } = volume;
  if (spec.initiators.nodes?.includes(node)) return false;
  const { observedGeneration = -1, nodes = [] } = status?.initiators ?? {};
  return isUnserved(volume) || (observedGeneration >= (metadata.generation ?? 0) && !nodes.includes(node));
}
