import { randomBytes } from 'node:crypto';
import { available, footprint } from '../../api/capacity.ts';
import { type NodeHealth, unfit } from '../../api/eligibility.ts';
import { type AoENode, segmentOf } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOTS, NODES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import {
  type AoEVolume,
  isReportOfPlace,
  isRetained,
  MOVE_FINALIZER,
  MOVE_TO,
  moveReport,
  movesOf,
  VOLUME_FINALIZER,
  VolumeCondition,
} from '../../api/volume.ts';
import type { Kube, Store } from '../../kube/mod.ts';
import type { Reservations } from '../placement/reservations.ts';

const SECTOR_BYTES = 512;

export interface CopiedMoveOptions {
  readonly kube: Pick<Kube, 'get' | 'list'>;
  readonly pools: Pick<Store<AoEPool>, 'list'>;
  readonly reserved: Pick<Reservations, 'taken'>;
  readonly health: NodeHealth;
}

type SpecMove = NonNullable<AoEVolume['spec']['move']>;
type Place = Pick<SpecMove, 'nodeName' | 'pool'>;

/** The next step of a move whose data is copied. */
export type MoveStep =
  /** Nothing is to be written now. `message`: what people should know while the volume cannot be attached. */
  | { readonly step: 'wait'; readonly message?: string }
  /** The data is whole at the other place, compared byte by byte: the volume is served from there. */
  | { readonly step: 'switch'; readonly to: Place; readonly move: SpecMove }
  /** The next stage. */
  | { readonly step: 'stage'; readonly move: SpecMove; readonly why?: string }
  /** Nothing is left at the other place. `why`: something may be left there, for people. */
  | { readonly step: 'end'; readonly why?: string }
  /** The volume is deleted, and what is at the other place is kept. */
  | { readonly step: 'let-go'; readonly why: string };

/** The first stage of a move to this place. */
export function newMove({ nodeName, pool }: Place): SpecMove {
  return { id: randomBytes(4).toString('hex'), stage: 'Copying', nodeName, pool };
}

/**
 * The move after its new node was lost, and the volume goes on to this place. The earlier data is still kept until the volume is served. When it
 * goes back to that data, the other place is the one that was lost. What is there may be newer, and is kept. An operator of an
 * earlier version has not noted the number of moves: then it is assumed that there was none since the switch.
 */
export function fromLost(volume: AoEVolume, to: Place): SpecMove | undefined {
  const { move, nodeName = '', pool = '', address } = volume.spec;
  if (!move || move.nodeName !== to.nodeName || move.pool !== to.pool) return move;
  return { ...move, nodeName, pool, ...(address ? { address } : {}), moves: move.moves ?? movesOf(volume) - 1, back: true };
}

/**
 * What is to be done next about the move of a volume that is under way. Each step is one write on the version of the volume that was looked
 * at, so the operator can be killed at any line.
 * @param asked the place in annotation {@link MOVE_TO}; undefined when there is none
 * @throws KubeError
 */
export async function nextStep(
  kube: Pick<Kube, 'get'>,
  volume: AoEVolume,
  asked: Place | undefined,
  signal: AbortSignal,
): Promise<MoveStep> {
  const { metadata, spec } = volume;
  const { move } = spec;
  if (!move) return { step: 'wait' };
  const report = moveReport(volume);
  if (move.stage === 'Copying') {
    const ended = metadata.deletionTimestamp
      ? 'the volume is being deleted'
      : asked?.nodeName !== move.nodeName || asked.pool !== move.pool
        ? `annotation ${MOVE_TO} does not ask for it any more`
        : undefined;
    if (ended !== undefined) return { step: 'stage', move: { ...move, stage: 'Removing' }, why: ended };
    if (report?.phase !== 'Verified' || !isOfAll(volume, report)) return { step: 'wait', message: progressOf(volume, move) };
    const { nodeName = '', pool = '', address } = spec;
    return {
      step: 'switch',
      to: { nodeName: move.nodeName, pool: move.pool },
      move: { id: move.id, stage: 'Switched', nodeName, pool, ...(address ? { address } : {}), moves: movesOf(volume) },
    };
  }
  if (move.stage === 'Switched') {
    // Only data that is served at the new place can be removed at the earlier one. A deletion is for the agent at the new place: it knows
    // whether a PersistentVolume keeps the data, and says by its finalizer that nothing does.
    const { finalizers = [] } = metadata;
    const isOver = metadata.deletionTimestamp ? !finalizers.includes(VOLUME_FINALIZER) : isServed(volume);
    // Without our finalizer it was let go.
    if (!isOver || (metadata.deletionTimestamp && !finalizers.includes(MOVE_FINALIZER))) return { step: 'wait' };
    if (!metadata.deletionTimestamp && move.back)
      return {
        step: 'end',
        why: `the volume went back to its data from before the move: its data at the other place, in pool ${move.pool} on node ${move.nodeName}, is not removed`,
      };
    if (!move.back && !(metadata.deletionTimestamp && isRetained(volume))) return { step: 'stage', move: { ...move, stage: 'Removing' } };
    return {
      step: 'let-go',
      why: `the volume was deleted, and its data at the other place of its move is kept: backing volume ${metadata.uid} in pool ${move.pool} on node ${move.nodeName} counts as an orphan there`,
    };
  }
  if (report?.phase === 'Removed') return { step: 'end' };
  const exists = async (type: typeof NODES): Promise<boolean> => (await kube.get(type, move.nodeName, { signal })) !== undefined;
  if ((await exists(NODES)) || (await exists(AOE_NODES))) return { step: 'wait' };
  return {
    step: 'end',
    why: `node ${move.nodeName} does not exist any more: if it comes back, outdated data of this volume may be in pool ${move.pool} there, which is not served`,
  };
}

/** Whether a report is about all the data: a growth may have ended since, and then the agent makes the copy again. */
function isOfAll({ status }: AoEVolume, { bytesTotal = 0 }: NonNullable<ReturnType<typeof moveReport>>): boolean {
  // Only whole sectors are copied.
  return bytesTotal > parseQuantity(status?.capacity ?? '0') - SECTOR_BYTES;
}

/** Whether the agent at the place of the volume says that it serves it. */
function isServed(volume: AoEVolume): boolean {
  if (!isReportOfPlace(volume)) return false;
  return [VolumeCondition.Provisioned, VolumeCondition.Exported].every((type) =>
    volume.status?.conditions?.some((each) => each.type === type && each.status === 'True'),
  );
}

/** How far the copy is, for people. */
export function progressOf(volume: AoEVolume, { nodeName, pool }: Place): string {
  const { phase = 'Waiting', bytesDone = 0, bytesTotal = 0, message = '' } = moveReport(volume) ?? {};
  const done = `${formatQuantity(bytesDone)} of ${formatQuantity(bytesTotal)}`;
  const how = phase === 'Copying' ? `, ${done} are copied` : phase === 'Verifying' ? `, ${done} are compared` : '';
  const waits = message === '' ? '' : `; it waits: ${message}`;
  return `it is being moved to pool ${pool} on node ${nodeName}${how}, and cannot be attached until that ends${waits}; to end the move and leave the volume where it is: kubectl annotate aoev ${volume.metadata.name} ${MOVE_TO}-`;
}

/**
 * Why the data of a volume cannot be copied to another place now, for people; undefined when it can. The API server itself is asked: a watch
 * may be late.
 * @throws KubeError
 */
export async function objectionToCopy(
  { kube, pools, reserved, health }: CopiedMoveOptions,
  volume: AoEVolume,
  to: Place,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { metadata, spec, status } = volume;
  const used = userOf(volume);
  if (used !== undefined) return `${used}; then annotate again`;
  if (spec.adopt !== undefined)
    return `its data was adopted (spec.adopt: ${spec.adopt}), and a copy could not be given back under that name: only disks are moved with such a volume`;
  const capacity = status?.capacity ?? '0';
  if (parseQuantity(spec.capacity ?? '0') > parseQuantity(capacity) || parseQuantity(status?.reserved ?? '0') > parseQuantity(capacity))
    return `it is being grown from ${capacity} to ${spec.capacity}: wait for that, then annotate again`;
  const served = [VolumeCondition.Provisioned, VolumeCondition.Exported].find(
    (type) => !isReportOfPlace(volume) || status?.conditions?.find((each) => each.type === type)?.status !== 'True',
  );
  if (served !== undefined) return `node ${spec.nodeName} does not serve it now (condition ${served}): its data cannot be read there`;
  const { items } = await kube.list<AoESnapshot>(AOE_SNAPSHOTS, { signal });
  const pending = items.find((each) => each.spec.volumeName === metadata.name && each.status?.createdAt === undefined);
  if (pending) return `AoESnapshot ${pending.metadata.name} of it is not taken yet: wait for that, then annotate again`;
  const [pool, host, from] = await Promise.all([
    kube.get<AoEPool>(AOE_POOLS, to.pool, { signal }),
    kube.get<AoENode>(AOE_NODES, to.nodeName, { signal }),
    kube.get<AoENode>(AOE_NODES, spec.nodeName ?? '', { signal }),
  ]);
  const entry = pool?.status?.nodes?.find((each) => each.name === to.nodeName);
  if (!pool || !entry)
    return `node ${to.nodeName} has not reported pool ${to.pool}: does an agent run there, and does nodeSelector of the pool match?`;
  const there = segmentOf(host, health.labels?.(to.nodeName));
  const here = segmentOf(from, health.labels?.(spec.nodeName ?? ''));
  if (there !== here)
    return `node ${to.nodeName} is on segment ${there}, and node ${spec.nodeName} on segment ${here}: the data cannot be read from there, and a PersistentVolume cannot be used there`;
  const misfit = unfit(pool, entry, host, health, spec.segments);
  if (misfit) return misfit.reason;
  const group = pool.spec.volumeGroup;
  const current = pools.list().find((each) => each.metadata.name === spec.pool);
  if (to.nodeName === spec.nodeName && group !== undefined && group === current?.spec.volumeGroup)
    return `pool ${to.pool} is in volume group ${group}, as pool ${spec.pool}: two logical volumes there cannot have the name of its data`;
  const left = entry.displacedVolumes?.find(({ uid }) => uid === metadata.uid);
  if (left)
    return `there is data of this volume in that pool already, backing volume ${left.uid}: remove it on the node if it is not needed`;
  const [needed, free] = [footprint(capacity, entry), available(pool, entry, pools.list(), (each) => reserved.taken(each, entry, ''))];
  if (needed > free) return `it needs ${formatQuantity(needed)} there, and ${formatQuantity(free)} are free`;
  return undefined;
}

/** Who uses the volume, or may, and what to do about it; undefined when nobody does. */
function userOf({ spec, status }: AoEVolume): string | undefined {
  const { nodes = [], macs = [] } = spec.initiators;
  if (nodes.length > 0) return `it is attached to node ${nodes.join(', ')}: delete the pods that use it, and wait until it is detached`;
  if (macs.length > 0) return `it is given to ${macs.join(', ')}: end its use there, and remove spec.initiators.macs`;
  const { holder, initiators } = status ?? {};
  const admitted = [...(initiators?.nodes ?? []), ...(initiators?.macs ?? [])];
  if (admitted.length > 0) return `the target still admits ${admitted.join(', ')}: wait a moment`;
  if (holder) return `${holder.node ? `node ${holder.node}` : `"${holder.raw}"`} has its lock: wait until that is released, or break it`;
  return undefined;
}
