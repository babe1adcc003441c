import { available, footprint, isPlaced, reservedCapacity } from '../../api/capacity.ts';
import { type NodeHealth, unfit } from '../../api/eligibility.ts';
import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, NODES, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, isReportOfPlace, MOVE_TO, movesOf } from '../../api/volume.ts';
import type { EventRecorder, Kube, KubeObject, Store } from '../../kube/mod.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import type { Reservations } from '../placement/reservations.ts';
import { objectionToCopy } from './copied-move.ts';

/** No watch shows VolumeAttachments: poll while one is there. */
const ATTACHED_RETRY_MS = 15_000;
const FORM = 'write NODE or NODE/POOL';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'list' | 'patch'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly pools: Pick<Store<AoEPool>, 'list'>;
  readonly reserved: Pick<Reservations, 'taken'>;
  readonly health: NodeHealth;
}

/** Where a volume is to be served from now on. */
export interface Destination {
  readonly nodeName: string;
  readonly pool: string;
}

/** What is decided about a move. */
export type Move =
  /** Nobody asks for one, or what was asked for was refused. */
  | { readonly kind: 'none'; readonly volume: AoEVolume }
  /** Something is missing, for people. It is looked at again after `retryMs`, or when a change of an object leads to it. */
  | { readonly kind: 'waits'; readonly volume: AoEVolume; readonly message: string; readonly retryMs?: number }
  /** The storage node is there, and nobody uses the volume: its data can be copied. */
  | { readonly kind: 'copy'; readonly volume: AoEVolume; readonly to: Destination }
  /** The data is there, and nobody uses the volume. */
  | { readonly kind: 'possible'; readonly volume: AoEVolume; readonly to: Destination };

interface Attachment extends KubeObject {
  spec: { attacher: string; nodeName: string };
  status?: { attachmentMetadata?: Record<string, string> };
}

/**
 * Decides about the move that annotation {@link MOVE_TO} asks for. While the storage node of the volume exists, its data is to be copied: then
 * all must be as it must be at once, or the annotation is removed with an Event. Once that node is gone, the move is to a node that has the
 * disks of the volume. No data is copied, and what is missing is waited for. An annotation that can never be followed is removed with an
 * Event, and changes nothing else.
 * While a move is under way, a second one is followed only when the new node is gone before it served the volume.
 * The API server itself is asked about nodes, pool and attachments: a watch may be late.
 * @throws KubeError
 */
export async function decideMove(options: Options, volume: AoEVolume, signal: AbortSignal): Promise<Move> {
  const { kube, events } = options;
  const { metadata } = volume;
  const asked = metadata.annotations?.[MOVE_TO];
  if (asked === undefined) return { kind: 'none', volume };
  const to = destinationOf(volume);
  const isCopied = await hasNode(kube, volume, signal);
  const inUse = to && isCopied ? await attachmentOf(kube, volume, signal) : undefined;
  const objection =
    (volume.spec.external ? 'its target is outside of this project' : undefined) ??
    objectionToSecond(volume, isCopied) ??
    (to ? await objectionTo(kube, volume, to, isCopied, signal) : FORM) ??
    (inUse ? `${attached(inUse)}; then annotate again` : undefined) ??
    (to && isCopied ? await objectionToCopy(options, volume, to, signal) : undefined);
  if (!to || objection !== undefined) {
    // With the version: a person may have corrected the annotation meanwhile.
    const { uid, resourceVersion } = metadata;
    const patch = { metadata: { uid, resourceVersion, annotations: { [MOVE_TO]: null } } };
    const refused = await kube.patch<AoEVolume>(AOE_VOLUMES, metadata.name, patch, { fieldManager: FIELD_MANAGER, signal });
    events.event(volume, 'Warning', 'MoveRefused', `annotation ${MOVE_TO}="${asked}" was removed and nothing was changed: ${objection}`);
    return { kind: 'none', volume: refused };
  }
  if (isCopied) return { kind: 'copy', volume, to };
  const waits = (why: string, retryMs?: number): Move => {
    const message = `the move to pool ${to.pool} on node ${to.nodeName} waits: ${why}`;
    return { kind: 'waits', volume, message, ...(retryMs === undefined ? {} : { retryMs }) };
  };
  const user = lastUserOf(volume);
  if (user !== undefined) return waits(user);
  const missing = await missingAt(options, volume, to, signal);
  if (missing !== undefined) return waits(missing);
  // Last, as it costs a list of all of them: a kubelet stages by what an attachment says, and that names the earlier address.
  const attachment = await attachmentOf(kube, volume, signal);
  return attachment ? waits(attached(attachment), ATTACHED_RETRY_MS) : { kind: 'possible', volume, to };
}

/** The place that annotation {@link MOVE_TO} asks for; undefined when there is none, or it is not written as it must be. */
export function destinationOf({ metadata, spec }: AoEVolume): Destination | undefined {
  const [nodeName = '', pool = spec.pool ?? '', ...rest] = metadata.annotations?.[MOVE_TO]?.split('/') ?? [];
  return nodeName && pool && rest.length === 0 ? { nodeName, pool } : undefined;
}

/** Whether a move that is under way has left the volume's data at this place. */
export function isEarlierPlace({ spec: { move } }: AoEVolume, { nodeName, pool }: Destination): boolean {
  return move?.stage === 'Switched' && move.nodeName === nodeName && move.pool === pool;
}

/** Why the annotation cannot be followed while an earlier move has not ended, for people. */
function objectionToSecond({ spec: { move, nodeName } }: AoEVolume, hasNode: boolean): string | undefined {
  if (!move) return undefined;
  if (move.stage === 'Removing')
    return `an earlier move has not ended: the data in pool ${move.pool} on node ${move.nodeName} is not removed yet (spec.move, status.move). Wait for that; if that node never comes back, delete it (kubectl delete node ${move.nodeName}); then annotate again`;
  if (hasNode)
    return `an earlier move has not ended: the volume is not served on node ${nodeName} yet. Wait for that; if that node never comes back, delete it (kubectl delete node ${nodeName}); then annotate again`;
  return undefined;
}

/** Whether the storage node of a volume exists. @throws KubeError */
async function hasNode(kube: Options['kube'], { spec }: AoEVolume, signal: AbortSignal): Promise<boolean> {
  return spec.nodeName !== undefined && (await kube.get(NODES, spec.nodeName, { signal })) !== undefined;
}

/** A VolumeAttachment that says that the volume is attached. @throws KubeError */
async function attachmentOf(kube: Options['kube'], { metadata }: AoEVolume, signal: AbortSignal): Promise<Attachment | undefined> {
  const { items } = await kube.list<Attachment>(VOLUME_ATTACHMENTS, { signal });
  return items.find(({ spec, status }) => spec.attacher === DRIVER_NAME && status?.attachmentMetadata?.volumeUID === metadata.uid);
}

function attached({ metadata, spec }: Attachment): string {
  return `VolumeAttachment ${metadata.name} says that it is attached to node ${spec.nodeName}: delete the pods that use it`;
}

/** Why the annotation can never be followed, for people. */
async function objectionTo(
  kube: Options['kube'],
  volume: AoEVolume,
  { nodeName, pool }: Destination,
  isCopied: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { metadata, spec, status } = volume;
  if (metadata.deletionTimestamp) return 'the volume is being deleted';
  const { nodeName: from } = spec;
  if (from === undefined || !isPlaced(volume)) return 'the volume has no storage node yet';
  if (nodeName === from && (!isCopied || pool === spec.pool))
    return `the volume is placed ${isCopied ? `in pool ${pool} ` : ''}on node ${from} already`;
  if (status?.capacity === undefined) return `no data was ever made for the volume on node ${from}: delete it, and create it again`;
  const exists = async (type: typeof NODES, name: string): Promise<boolean> => (await kube.get(type, name, { signal })) !== undefined;
  if (!isCopied && (await exists(AOE_NODES, from)))
    return `AoENode ${from} still exists: Kubernetes deletes it soon after the Node; then annotate again`;
  if (!(await exists(NODES, nodeName))) return `node ${nodeName} does not exist`;
  if (!(await exists(AOE_POOLS, pool))) return `AoEPool ${pool} does not exist`;
  return undefined;
}

/** Who used the volume when its node was last heard of, or may, and what to do about it; undefined when nobody did. */
function lastUserOf({ metadata, spec, status }: AoEVolume): string | undefined {
  const { nodes = [], macs = [] } = spec.initiators;
  const giveUp = `kubectl annotate aoev ${metadata.name} ${GIVE_UP}=${spec.nodeName}`;
  const confirm =
    metadata.annotations?.[GIVE_UP] === undefined
      ? `, and confirm that node ${spec.nodeName} serves nobody any more (${giveUp})`
      : ', or if none is left its VolumeAttachment';
  if (nodes.length > 0) return `it is attached to node ${nodes.join(', ')}: delete the pods that use it${confirm}`;
  if (macs.length > 0) return `it is given to ${macs.join(', ')}: end its use there, and remove spec.initiators.macs`;
  const { holder, initiators } = status ?? {};
  const admitted = [...(initiators?.nodes ?? []), ...(initiators?.nodes?.length ? [] : (initiators?.macs ?? []))];
  const left = [
    ...(admitted.length > 0 ? [`admitted ${admitted.join(', ')}`] : []),
    ...(holder ? [`had a lock of ${holder.node ?? `"${holder.raw}"`}`] : []),
  ];
  if (left.length === 0) return undefined;
  return `node ${spec.nodeName} ${left.join(' and ')} when it was last heard of: confirm that it serves nobody any more (${giveUp})`;
}

/** What is missing at the destination, for people; undefined when the data is there and can be served. */
async function missingAt(
  { kube, health, pools, reserved }: Options,
  volume: AoEVolume,
  { nodeName, pool: name }: Destination,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { metadata, spec, status } = volume;
  const [pool, host] = await Promise.all([
    kube.get<AoEPool>(AOE_POOLS, name, { signal }),
    kube.get<AoENode>(AOE_NODES, nodeName, { signal }),
  ]);
  const entry = pool?.status?.nodes?.find((each) => each.name === nodeName);
  if (!pool || !entry)
    return `node ${nodeName} has not reported pool ${name}: does an agent run there, and does nodeSelector of the pool match?`;
  const misfit = unfit(pool, entry, host, health, spec.segments);
  if (misfit) return misfit.reason;
  if (isEarlierPlace(volume, { nodeName, pool: name })) {
    // Its agent lists no data of a move that is under way, and has kept it.
    if (!isReportOfPlace(volume) || metadata.annotations?.[GIVE_UP] === spec.nodeName) return undefined;
    return `the agent on ${spec.nodeName} has had the volume meanwhile, so hosts may have written there: connect the disks of node ${spec.nodeName} to another one and move the volume there, or give up what was written since the move (kubectl annotate aoev ${metadata.name} ${GIVE_UP}=${spec.nodeName})`;
  }
  const found = entry.displacedVolumes?.find(({ uid }) => uid === metadata.uid);
  if (!found) {
    return `the agent on ${nodeName} has not found the data in the pool, that is backing volume ${metadata.uid}: connect its disks to that node, and see docs/recovery.md, "Disks in another machine"; the agent looks every minute`;
  }
  if (found.volume !== metadata.name)
    return `the data there, ${metadata.uid}, was made for AoEVolume ${found.volume}: it is not used for this one`;
  // Once it is switched to, the copy of this move is whole, although it may still have its mark. After the way back it may be the older one.
  const { move } = spec;
  const isOfMove = found.copy !== undefined && move?.stage === 'Switched' && !move.back && found.copy === move.id;
  if (found.copy !== undefined && !isOfMove)
    return `the data there is half a copy, of a move or restore that was ended: connect the disks of node ${spec.nodeName} instead`;
  const [has, moves] = [isOfMove ? movesOf(volume) : (found.moves ?? 0), movesOf(volume)];
  if (has < moves)
    return `the data there is an older copy: it was served up to move ${has} of the volume, and there was move ${moves} meanwhile; ${newerOf(volume)}`;
  if (found.bytes < parseQuantity(status?.capacity ?? '0'))
    return `the data there has ${found.bytes} bytes instead of ${status?.capacity}: it is incomplete`;
  const grown = reservedCapacity(volume) ?? '0';
  const more = footprint(grown, entry) - footprint(String(found.bytes), entry);
  const free = available(pool, entry, pools.list(), (each) => reserved.taken(each, entry, metadata.name));
  if (more <= free || more <= 0) return undefined;
  return `the volume is to grow to ${grown}, for which ${formatQuantity(more)} more are needed, and ${formatQuantity(free)} are free there: set spec.capacity back to ${status?.capacity}`;
}

/** Where the newer data is, for people. A node that was lost before it opened the data has noted nothing beside it. */
function newerOf(volume: AoEVolume): string {
  const { nodeName } = volume.spec;
  const instead = `connect the disks of node ${nodeName} instead`;
  if (isReportOfPlace(volume)) return instead;
  return `${instead}, or if these are they, note ${movesOf(volume)} beside the data, since node ${nodeName} has never said that it has it (docs/recovery.md, "Disks in another machine")`;
}
