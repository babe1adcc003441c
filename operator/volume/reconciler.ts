import { type Address, formatAddress } from '../../api/address.ts';
import type { AgentLiveness } from '../../api/agent-liveness.ts';
import { isPlaced, reservedCapacity } from '../../api/capacity.ts';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import {
  applyStatus,
  type EventRecorder,
  isConflict,
  type Kube,
  KubeError,
  OwnWrites,
  type Result,
  type StatusPart,
  type Store,
  type Sums,
  WriteDelay,
} from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { type AddressRange, addressOf } from '../placement/address-range.ts';
import { conflictingClaim } from '../placement/claims.ts';
import { place } from '../placement/place.ts';
import type { Placed, Refused } from '../placement/placement.ts';
import { IndexedReservations } from '../placement/reservations.ts';
import { giveUp } from './give-up.ts';
import { type Growth, growthOf } from './growth.ts';
import { obstacleOf } from './obstacle.ts';
import { refuseBreak } from './refuse-break.ts';
import { canWait, type Findings, statusOf } from './status.ts';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'patch' | 'apply'>;
  readonly volumes: Store<AoEVolume>;
  /** Names of volumes by claimsOf. */
  readonly byClaim: { get(claim: string): string[] };
  /** Of reservationOf. */
  readonly sizes: Pick<Sums<AoEVolume>, 'total'>;
  readonly pools: Pick<Store<AoEPool>, 'list'>;
  readonly snapshots: Pick<Store<AoESnapshot>, 'get'>;
  readonly nodes: Store<AoENode>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  readonly agents: Pick<AgentLiveness, 'silence'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly range: AddressRange;
  readonly log: Logger;
  /** For how long changes of a status gather that nobody waits for, in milliseconds. */
  readonly statusDelayMs?: number;
}

/**
 * A new volume is mostly ready by then, and a deleted one gone, so that one write of the status is enough, or none. A write in
 * between would come at the same time as the agent's, which would have to repeat its own.
 */
const STATUS_DELAY_MS = 1_000;

/** Limit for asking the API server what became of a write, in milliseconds. */
const LEARN_MS = 5_000;

/** Gives each AoEVolume its node and address, once, and keeps the operator's part of its status. */
export class VolumeReconciler {
  readonly #options: Options;
  /** The volumes, with what this operator has placed and the watch has not shown yet: so no room or address is given twice. */
  readonly #volumes: OwnWrites<AoEVolume>;
  readonly #reserved: IndexedReservations;
  readonly #delay: WriteDelay;
  #lastAddress: Address | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#volumes = new OwnWrites(options.volumes);
    this.#reserved = new IndexedReservations({ ...options, volumes: this.#volumes });
    this.#delay = new WriteDelay(options.statusDelayMs ?? STATUS_DELAY_MS);
  }

  /** Reconciles one volume. Safe to repeat at any time; different volumes may be reconciled at once. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const found = this.#volumes.get(name);
    if (!found) {
      this.#delay.clear(name);
      return undefined;
    }
    await refuseBreak(this.#options, found, signal);
    const given = await giveUp(this.#options, found, signal);
    if (given.outcome === 'gone') return undefined;
    const { volume, refused } = await this.#ensurePlaced(given.volume, signal);
    const obstacle = refused ? undefined : obstacleOf(volume, { ...this.#options, isGivenUp: given.outcome === 'givenUp' });
    const growth = growthOf(volume, this.#options.pools.list(), this.#reserved);
    const findings = { refused, obstacle, growth };
    const status = statusOf(volume, findings);
    const isUrgent = refused || obstacle || growth.verdict?.status === 'False';
    const leftMs = !isUrgent && canWait(volume, status) ? this.#delay.left(name) : 0;
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const written = await this.#writeStatus(volume, growth, status, signal);
    this.#delay.clear(name);
    if (!written) return undefined;
    this.#volumes.confirm(written);
    this.#report(found, findings, status);
    return undefined;
  }

  /** Writes the status. Room for a growth counts from now on, before the API server has it. */
  async #writeStatus(
    volume: AoEVolume,
    { reserved }: Growth,
    status: ReturnType<typeof statusOf>,
    signal: AbortSignal,
  ): Promise<AoEVolume | undefined> {
    const grows = reserved !== undefined && reserved !== reservedCapacity(volume);
    const { name } = volume.metadata;
    if (grows) this.#volumes.reserve({ ...volume, status: { ...volume.status, reserved } }, { isHeld: true });
    try {
      const written = await applyStatus(this.#options.kube, AOE_VOLUMES, volume, {
        manager: FIELD_MANAGER,
        ...status,
        // A patch whose answer was lost may have placed it, and the size may be another one: the watch will show it.
        still: (now) => isPlaced(now) === isPlaced(volume) && now.spec.capacity === volume.spec.capacity,
        signal,
      });
      if (grows && !written) this.#volumes.drop(name);
      return written;
    } catch (error) {
      // After a broken connection it may still arrive. The next attempt, which follows soon, settles it.
      if (grows && error instanceof KubeError && error.code < 500) this.#volumes.drop(name);
      throw error;
    }
  }

  /** The volume as it is placed now, or why it is not. */
  async #ensurePlaced(volume: AoEVolume, signal: AbortSignal): Promise<{ volume: AoEVolume; refused?: Refused | undefined }> {
    if (volume.metadata.deletionTimestamp) return { volume };
    if (isPlaced(volume) || volume.spec.external) return { volume, refused: conflictingClaim(volume, this.#reserved.rivals(volume)) };
    const { pools, snapshots, nodes, kubeNodes, agents, range } = this.#options;
    const cluster = {
      pools: pools.list(),
      nodes: nodes.list(),
      reserved: this.#reserved,
      snapshot: (name: string) => snapshots.get(name),
      notReady: (node: string) => notReady(kubeNodes.get(node)),
      silent: (node: AoENode) => agents.silence(node),
    };
    this.#lastAddress ??= newestAddress(this.#volumes.reserved());
    const placement = place(volume, cluster, range, this.#lastAddress);
    if ('refused' in placement) return { volume, refused: placement };
    return { volume: await this.#write(volume, placement, signal) };
  }

  /** Reserves the place before the API server has it, and gives it back when the API server refuses. */
  async #write(volume: AoEVolume, { nodeName, address }: Placed, signal: AbortSignal): Promise<AoEVolume> {
    const { kube, log, events } = this.#options;
    const { name, resourceVersion, finalizers = [] } = volume.metadata;
    const spec = { nodeName, address };
    // With the version that the place was chosen for, so that no change by others is overwritten.
    const metadata = { ...(resourceVersion ? { resourceVersion } : {}), finalizers: [...new Set([...finalizers, VOLUME_FINALIZER])] };
    this.#volumes.reserve({ ...volume, metadata: { ...volume.metadata, ...metadata }, spec: { ...volume.spec, ...spec } });
    if (!volume.spec.address) this.#lastAddress = address;
    try {
      const placed = await kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata, spec }, { fieldManager: FIELD_MANAGER, signal });
      this.#volumes.confirm(placed);
      log.info({ volume: name, node: nodeName, address }, 'volume placed');
      events.event(volume, 'Normal', 'Placed', `placed on ${nodeName} at ${formatAddress(address)}`);
      return placed;
    } catch (error) {
      await this.#learn(volume, error);
      throw error;
    }
  }

  /**
   * After a write that failed. A refusal settles it. But after a broken connection, or a conflict with a write of ours that did
   * arrive, the volume may be placed: its place stays reserved until that is known.
   */
  async #learn({ metadata: { name, uid } }: AoEVolume, error: unknown): Promise<void> {
    if (error instanceof KubeError && error.code < 500 && !isConflict(error)) return this.#volumes.drop(name);
    try {
      const live = await this.#options.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: AbortSignal.timeout(LEARN_MS) });
      if (live && live.metadata.uid === uid && isPlaced(live)) this.#volumes.confirm(live);
      // After a conflict no write of ours is under way any longer; a request whose answer was lost may still arrive.
      else if (isConflict(error) || !live) this.#volumes.drop(name);
    } catch {
      // Still not known: the next attempt follows soon.
    }
  }

  /** Reports a problem by log and Event when it is a new one. */
  #report(volume: AoEVolume, { refused, obstacle, growth }: Findings, { conditions }: Pick<StatusPart, 'conditions'>): void {
    this.#reportGrowth(volume, growth);
    const reason = refused?.refused ?? obstacle?.obstacle;
    const message = refused?.message ?? obstacle?.message ?? '';
    const before = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Ready);
    const now = conditions?.find(({ type }) => type === VolumeCondition.Ready);
    if (!reason || before?.reason === reason || now?.reason !== reason) return;
    const what = refused ? 'volume not placed' : 'storage node of volume not available';
    this.#options.log.warn({ volume: volume.metadata.name, reason, detail: message }, what);
    this.#options.events.event(volume, 'Warning', reason, message);
  }

  #reportGrowth(volume: AoEVolume, growth: Growth | undefined): void {
    const { status, reason, message } = growth?.verdict ?? { status: 'True', reason: '', message: '' };
    const before = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Grown);
    if (status === 'True' || reason === 'Growing' || before?.reason === reason) return;
    this.#options.log.warn({ volume: volume.metadata.name, reason, detail: message }, 'volume does not grow yet');
    this.#options.events.event(volume, 'Warning', reason, message);
  }
}

/** The address of the volume that was created last: after a restart, new addresses follow it. */
function newestAddress(volumes: readonly AoEVolume[]): Address | undefined {
  const age = ({ metadata, spec }: AoEVolume): string =>
    `${metadata.creationTimestamp ?? ''} ${String(spec.address?.shelf).padStart(5)}.${String(spec.address?.slot).padStart(3)}`;
  let newest: AoEVolume | undefined;
  for (const volume of volumes) if (volume.spec.address && (!newest || age(volume) > age(newest))) newest = volume;
  return newest && addressOf(newest.spec);
}
