import { isPlaced } from '../api/capacity.ts';
import { type KubeNode, notReady } from '../api/kube-node.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { type AoEVolume, MOVE_TO, VolumeCondition } from '../api/volume.ts';
import { type Change, fieldChanged, type KubeObject, type Store } from '../kube/mod.ts';

/** The cached objects that triggers read. */
export interface Stores {
  /** Names of volumes by {@link usesOf}. */
  readonly byUse: { get(use: string): string[] };
  readonly pools: Pick<Store<AoEPool>, 'list'>;
}

const nameOf = ({ metadata }: KubeObject): string => metadata.name;

const WAITING = 'waiting';
const onNode = (name: string): string => `on ${name}`;
const withInitiator = (name: string): string => `initiator ${name}`;

/** What leads from a change elsewhere to a volume, as keys of an index. */
export function usesOf(volume: AoEVolume): string[] {
  const { nodeName, initiators } = volume.spec;
  return [
    ...(isWaiting(volume) ? [WAITING] : []),
    ...(nodeName === undefined ? [] : [onNode(nodeName)]),
    ...(initiators.nodes ?? []).map(withInitiator),
  ];
}

const WAITS_FOR: ReadonlySet<string> = new Set([VolumeCondition.Placed, VolumeCondition.Grown]);

/** Whether a volume waits for a place, a move, or room to grow: it has none yet, or was refused the one that its spec came with. */
function isWaiting(volume: AoEVolume): boolean {
  if (volume.metadata.deletionTimestamp) return false;
  if (!volume.spec.external && !isPlaced(volume)) return true;
  if (volume.metadata.annotations?.[MOVE_TO] !== undefined) return true;
  return volume.status?.conditions?.some(({ type, status }) => WAITS_FOR.has(type) && status === 'False') ?? false;
}

/** Volumes that wait for a place, a move, or room to grow: room, an address, a node or the data may be there now. */
export function waitingVolumes({ byUse }: Stores): string[] {
  return byUse.get(WAITING);
}

/** Volumes to reconcile after a change of one: itself, and when it is deleted those that wait for its room or its address. */
export function volumesAfterVolume({ type, object }: Change<AoEVolume>, stores: Stores): string[] {
  return type === 'deleted' ? [nameOf(object), ...waitingVolumes(stores)] : [nameOf(object)];
}

/** Volumes to reconcile after a change of a Node: those placed on it, and those that wait for a place. */
export function volumesAfterNode({ object }: Change<KubeObject>, stores: Stores): string[] {
  return [...waitingVolumes(stores), ...stores.byUse.get(onNode(nameOf(object)))];
}

/** The same after a change of an AoENode. For the volumes placed on it, only its existence matters. */
export function volumesAfterAoENode(change: Change<AoENode>, stores: Stores): string[] {
  return isNew(change) || isDeleted(change) ? volumesAfterNode(change, stores) : waitingVolumes(stores);
}

/** Volumes whose spec.initiators names the node that changed: it may not exist any longer. */
export function volumesOfInitiator({ object }: Change<KubeObject>, { byUse }: Stores): string[] {
  return byUse.get(withInitiator(nameOf(object)));
}

export function allPools({ pools }: Stores): string[] {
  return pools.list().map(nameOf);
}

/** The object itself. */
export function itself({ object }: Change<KubeObject>): string[] {
  return [nameOf(object)];
}

export function isNew({ type, previous }: Change<KubeObject>): boolean {
  return type === 'applied' && !previous;
}

export function isDeleted({ type }: Change<KubeObject>): boolean {
  return type === 'deleted';
}

/** A kubelet writes its Node all the time: what matters is whether the Node exists, and whether it is Ready. */
export const readinessChanged = fieldChanged((node: KubeNode) => notReady(node));
