import { isPlaced } from '../api/capacity.ts';
import { type KubeNode, notReady } from '../api/kube-node.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoESnapshotGroup } from '../api/snapshot-group.ts';
import { type AoEVolume, awaitedDisk, MOVE_TO, TAKEN_FROM, takenFrom, VolumeCondition } from '../api/volume.ts';
import { type Change, fieldChanged, type KubeObject, type Store } from '../kube/mod.ts';

/** The cached objects that triggers read. */
export interface Stores {
  /** Names of volumes by {@link usesOf}. */
  readonly byUse: { get(use: string): string[] };
  readonly pools: Pick<Store<AoEPool>, 'list'>;
}

/** The cached snapshots. */
export interface Snapshots {
  readonly snapshots: Pick<Store<AoESnapshot>, 'list'>;
}

const nameOf = ({ metadata }: KubeObject): string => metadata.name;

const WAITING = 'waiting';
const onNode = (name: string): string => `on ${name}`;
const withInitiator = (name: string): string => `initiator ${name}`;

/** What leads from a change elsewhere to a volume, as keys of an index. */
export function usesOf(volume: AoEVolume): string[] {
  const { nodeName, initiators, move } = volume.spec;
  return [
    ...(isWaiting(volume) ? [WAITING] : []),
    ...(nodeName === undefined ? [] : [onNode(nodeName)]),
    ...(move === undefined ? [] : [onNode(move.nodeName)]),
    ...(initiators.nodes ?? []).map(withInitiator),
  ];
}

const WAITS_FOR: ReadonlySet<string> = new Set([VolumeCondition.Placed, VolumeCondition.Grown]);

/**
 * Whether a volume waits for a place, a move, or room to grow: it has none yet, or was refused the one that its spec came with. Or it waits until the
 * disk of an external target is copied into it, which nobody may get meanwhile.
 */
function isWaiting(volume: AoEVolume): boolean {
  if (volume.metadata.deletionTimestamp) return false;
  if (!volume.spec.external && !isPlaced(volume)) return true;
  if (volume.metadata.annotations?.[MOVE_TO] !== undefined) return true;
  if (awaitedDisk(volume)) return true;
  return volume.status?.conditions?.some(({ type, status }) => WAITS_FOR.has(type) && status === 'False') ?? false;
}

/** Volumes that wait for a place, a move, or room to grow: room, an address, a node or the data may be there now. */
export function waitingVolumes({ byUse }: Stores): string[] {
  return byUse.get(WAITING);
}

/**
 * Volumes to reconcile after a change of one: itself, and when it is deleted those that wait for its room or its address. One may also wait until
 * nobody uses the disk of an external target, which it is to be a copy of.
 */
export function volumesAfterVolume({ type, object }: Change<AoEVolume>, stores: Stores): string[] {
  return type === 'deleted' || object.spec.external ? [nameOf(object), ...waitingVolumes(stores)] : [nameOf(object)];
}

/** Volumes to reconcile after a change of a Node: those placed on it, and those that wait for a place. */
export function volumesAfterNode({ object }: Change<KubeObject>, stores: Stores): string[] {
  return [...waitingVolumes(stores), ...stores.byUse.get(onNode(nameOf(object)))];
}

/** The same after a change of an AoENode. For the volumes placed on it, only its existence matters. */
export function volumesAfterAoENode(change: Change<AoENode>, stores: Stores): string[] {
  return isNew(change) || isDeleted(change) ? volumesAfterNode(change, stores) : waitingVolumes(stores);
}

/** Volumes whose spec.initiators names a node. */
export function volumesOf(node: string, { byUse }: Pick<Stores, 'byUse'>): string[] {
  return byUse.get(withInitiator(node));
}

/** Volumes whose spec.initiators names the node that changed: it may not exist any longer. */
export function volumesOfInitiator({ object }: Change<KubeObject>, stores: Stores): string[] {
  return volumesOf(nameOf(object), stores);
}

/** Snapshots that name the volume that changed. */
export function snapshotsOfVolume({ object }: Change<AoEVolume>, { snapshots }: Snapshots): string[] {
  return snapshots
    .list()
    .filter(({ spec }) => spec.volumeName === nameOf(object))
    .map(nameOf);
}

/** The snapshot of which the volume that changed is made: it stays until the volume has its data, and is read by its node. */
export function snapshotOfSource({ object }: Change<AoEVolume>): string[] {
  const { snapshot } = object.spec.source ?? {};
  return snapshot === undefined ? [] : [snapshot];
}

/** Whether a volume is made of a snapshot, where, and with which MAC addresses. */
export const copyChanged = fieldChanged(({ metadata, spec, status }: AoEVolume) =>
  spec.source ? [metadata.deletionTimestamp, spec.nodeName, spec.pool, status?.capacity, status?.copy?.macs] : [],
);

/** Snapshots on the node that changed, and those of which it is not known yet where they will be. */
export function snapshotsAfterNode({ object }: Change<KubeObject>, { snapshots }: Snapshots): string[] {
  return snapshots
    .list()
    .filter(({ status }) => status?.nodeName === undefined || status.nodeName === nameOf(object))
    .map(nameOf);
}

/** Members of the group that changed: they can be used once it is committed, and go when it is gone. */
export function snapshotsOfGroup({ object }: Change<AoESnapshotGroup>, { snapshots }: Snapshots): string[] {
  return snapshots
    .list()
    .filter(({ spec }) => spec.group?.name === nameOf(object))
    .map(nameOf);
}

/** A member depends on whether its group is committed, and whether it is there. */
export const stageChanged = fieldChanged(({ status }: AoESnapshotGroup) => status?.stage);

/** The group of the snapshot that changed. */
export function groupOfSnapshot({ object }: Change<AoESnapshot>): string[] {
  return object.spec.group ? [object.spec.group.name] : [];
}

/** Groups to reconcile after a change of one: itself, and those that have not begun, which may have waited for it. */
export function groupsAfterGroup(
  { object }: Change<AoESnapshotGroup>,
  { groups }: { readonly groups: Pick<Store<AoESnapshotGroup>, 'list'> },
): string[] {
  const waiting = groups.list().filter(({ status }) => status?.stage === undefined);
  return [nameOf(object), ...waiting.map(nameOf)];
}

/** A volume may wait for a snapshot of which it is to be made, or for the address at which one is copied. */
export const sourceChanged = fieldChanged(({ status }: AoESnapshot) => [status?.phase, status?.copyAddress]);

/** A snapshot depends on where its volume is, whether the place is reserved for it, and on which volume has the name. */
export const placeChanged = fieldChanged((volume: AoEVolume) => {
  const { metadata, spec } = volume;
  return [metadata.uid, spec.nodeName, isPlaced(volume), spec.move?.stage];
});

/** Silent nodes about which the agent of a storage node has said something new. */
export function nodesHeard({ object, previous }: Change<AoENode>): string[] {
  const before = previous?.status?.heard ?? [];
  const isNew = (answer: (typeof before)[number]) => !before.some((each) => each.node === answer.node && each.question === answer.question);
  return (object.status?.heard ?? []).filter(isNew).map(({ node }) => node);
}

/** A takeover goes on once the target has confirmed it, and a silent node may get a volume, or may lose one earlier than before. */
export const takeoverChanged = fieldChanged(({ metadata, spec, status }: AoEVolume) => [
  metadata.annotations?.[TAKEN_FROM],
  spec.initiators.nodes,
  spec.takeoverAfter,
  status?.initiators,
]);

/** The node from which the volume that changed was taken, and the one that has it. */
export function nodesOfTakeover({ object }: Change<AoEVolume>): string[] {
  const taken = takenFrom(object);
  const users = object.spec.access === 'Exclusive' ? (object.spec.initiators.nodes ?? []) : [];
  return [...(taken ? [taken.node] : []), ...users];
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
