import type { AgentLiveness } from '../../api/agent-liveness.ts';
import { isPlaced } from '../../api/capacity.ts';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import { CREATED_BY } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, isReportOfPlace, MOVE_FINALIZER, movesOf, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { type EventRecorder, isNotFound, type Kube, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import type { Refused } from '../placement/placement.ts';

/** For how long something must keep a disk from being made, in milliseconds, before its volume is placed again: a reboot takes less. */
const PATIENCE_MS = 5 * 60_000;
/** The time doubles with each place, so that a volume that can be made nowhere does not go round; at most so often. */
const MOST_DOUBLINGS = 6;
/** No watch shows that an agent has fallen silent, and no change that the time is over: poll. */
const POLL_MS = 30_000;

/** Reasons of the agent's condition Provisioned that concern the pool on its node. PoolFull is for CreateVolume, which asks for another volume. */
const FAILED = new Set(['BackendFailed', 'PoolMissing', 'PoolNotReady']);

interface Options {
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly agents: Pick<AgentLiveness, 'silence'>;
  /** In milliseconds. */
  readonly now?: (() => number) | undefined;
}

/** What keeps the disk of a placed volume from being made. */
export interface Trouble {
  /** For people. */
  readonly why: string;
  /** What is due, since it has lasted for long enough; undefined while nothing is, or nothing may be done. */
  readonly remedy: 'letGo' | 'placeAgain' | undefined;
}

/**
 * Whether a placed volume has never had a disk that a host could use. The agent writes status.capacity together with the conditions that
 * CreateVolume waits for, and only after that there is a PersistentVolume by which a node gets into spec.initiators. A host that a person names there may
 * have had the disk before the agent could write anything, so such a volume does not count.
 */
export function isUnmade(volume: AoEVolume): boolean {
  const { metadata, spec, status } = volume;
  if (!isPlaced(volume) || status?.capacity !== undefined || status?.holder) return false;
  const hosts = [spec.initiators, status?.initiators ?? {}].flatMap(({ nodes = [], macs = [] }) => [...nodes, ...macs]);
  return hosts.length === 0 && !spec.adopt && !spec.move && !metadata.finalizers?.includes(MOVE_FINALIZER);
}

/** Whether the operator has chosen the place of a volume, and may choose another while no disk was made. One with a source is bound to that. */
function mayBePlacedAgain({ metadata, spec }: AoEVolume): boolean {
  return !metadata.deletionTimestamp && metadata.annotations?.[CREATED_BY] === 'csi' && spec.source === undefined;
}

const NO_DISK = 'no disk was made for the volume there yet';

/** What becomes of an unmade volume whose node is away, for people, until its time is over; undefined for any other volume. */
export function outlookOf(volume: AoEVolume): string | undefined {
  if (!isUnmade(volume)) return undefined;
  const then = `${NO_DISK}; when that lasts for ${patienceOf(volume) / 60_000} minutes`;
  const but = 'unless a PersistentVolume names it';
  if (volume.metadata.deletionTimestamp) return `${then}, it is deleted without that node, ${but}`;
  if (mayBePlacedAgain(volume)) return `${then}, it is placed on another node of its pool that has room, ${but}`;
  return `${NO_DISK}: bring the node back, or delete the volume and create it again on another one`;
}

/** What becomes of an unmade volume whose time is over, but which a PersistentVolume of this name names, for people. */
export function keptFor(persistentVolume: string, { metadata }: AoEVolume): string {
  const so = metadata.deletionTimestamp ? 'it is deleted without that node only when that is gone' : 'it is not placed on another node';
  return `no disk of the volume was reported there, but PersistentVolume ${persistentVolume} names it, so there may be data of it: ${so}`;
}

/** The same of one for which there is no other place now. */
export function waitsForPlace({ message }: Refused): string {
  return `${NO_DISK}; it is placed on another node once one can have it: ${message}`;
}

/** When to look again at a volume, in milliseconds; undefined when its disk was made, or that is not known. */
export function retryOf(volume: AoEVolume): number | undefined {
  return isUnmade(volume) ? POLL_MS : undefined;
}

function patienceOf(volume: AoEVolume): number {
  return PATIENCE_MS * 2 ** Math.min(movesOf(volume), MOST_DOUBLINGS);
}

/** Knows since when something keeps disks from being made. That is forgotten when the operator restarts: then it takes a little longer. */
export class UnmadeVolumes {
  readonly #options: Options;
  readonly #now: () => number;
  /** By name: which volume at which place, and since when. */
  readonly #since = new Map<string, { uid: string; moves: number; at: number }>();

  constructor(options: Options) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  forget(name: string): void {
    this.#since.delete(name);
  }

  /** @returns undefined when nothing keeps the disk from being made, or it was made, or that is not known */
  look(volume: AoEVolume): Trouble | undefined {
    const { name, uid = '', deletionTimestamp } = volume.metadata;
    const trouble = isUnmade(volume) ? this.#troubleOf(volume) : undefined;
    if (!trouble) {
      this.forget(name);
      return undefined;
    }
    const { why, isAway } = trouble;
    const moves = movesOf(volume);
    const known = this.#since.get(name);
    const since = known?.uid === uid && known.moves === moves ? known : { uid, moves, at: this.#now() };
    this.#since.set(name, since);
    if (this.#now() - since.at < patienceOf(volume)) return { why, remedy: undefined };
    // An agent that is there deletes the volume itself.
    if (deletionTimestamp) return { why, remedy: isAway ? 'letGo' : undefined };
    return { why, remedy: mayBePlacedAgain(volume) ? 'placeAgain' : undefined };
  }

  /** `isAway`: its agent does nothing, as it, or its node, is away. */
  #troubleOf(volume: AoEVolume): { why: string; isAway: boolean } | undefined {
    const { nodes, kubeNodes, agents } = this.#options;
    const { nodeName = '' } = volume.spec;
    const host = nodes.get(nodeName);
    const away = host ? (notReady(kubeNodes.get(nodeName)) ?? agents.silence(host)) : `node ${nodeName} has no AoENode`;
    if (away !== undefined) return { why: away, isAway: true };
    const made = isReportOfPlace(volume) ? volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Provisioned) : undefined;
    return made?.status === 'False' && FAILED.has(made.reason) ? { why: made.message, isAway: false } : undefined;
  }
}

/**
 * Lets a deleted volume go whose disk was never made, because its node is away. Should the agent there have begun to make it, that is an orphan
 * when it comes back: it is reported. Its address is to be noted before, as that of a volume that was given up.
 * @throws KubeError, also when its agent, or others, changed the volume meanwhile
 */
export async function letGo(
  { kube, events, log }: { kube: Pick<Kube, 'patch'>; events: Pick<EventRecorder, 'event'>; log: Logger },
  volume: AoEVolume,
  why: string,
  signal: AbortSignal,
): Promise<void> {
  const { name, uid, resourceVersion, finalizers = [] } = volume.metadata;
  // With the version: should the agent come back at this moment and report a disk, that report counts.
  const metadata = { uid, resourceVersion, finalizers: finalizers.filter((each) => each !== VOLUME_FINALIZER) };
  try {
    await kube.patch(AOE_VOLUMES, name, { metadata }, { fieldManager: FIELD_MANAGER, signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const { nodeName } = volume.spec;
  log.warn({ volume: name, uid, node: nodeName, detail: why }, 'deleted volume let go whose disk was never made');
  const message = `deleted without the agent on ${nodeName}, since no disk was made for it there: ${why}. Should there be a begun one after all, its pool reports backing volume ${uid} as an orphan`;
  events.event(volume, 'Warning', 'DeletedUnmade', message);
}
