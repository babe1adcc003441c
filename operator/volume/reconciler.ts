import { type Address, formatAddress } from '../../api/address.ts';
import type { AgentLiveness } from '../../api/agent-liveness.ts';
import { isPlaced, reservedCapacity } from '../../api/capacity.ts';
import { type NodeHealth, nodeHealth } from '../../api/eligibility.ts';
import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { persistentVolumeOf } from '../../api/usage/persistent-volume.ts';
import { type AoEVolume, GIVE_UP, isCopiedAway, MOVE_FINALIZER, MOVE_TO, movesOf, serialOf, VOLUME_FINALIZER } from '../../api/volume.ts';
import {
  applyStatus,
  type EventRecorder,
  isConflict,
  type Kube,
  KubeError,
  OwnWrites,
  type Result,
  type Store,
  type Sums,
  WriteDelay,
} from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import type { AddressRange } from '../placement/address-range.ts';
import { conflictingClaim } from '../placement/claims.ts';
import { type Cluster, freeAddress, newAddress, newestAddress, place, userOfSource } from '../placement/place.ts';
import type { Placed, Refused } from '../placement/placement.ts';
import { IndexedReservations } from '../placement/reservations.ts';
import { fromLost, newMove, nextStep, progressOf } from './copied-move.ts';
import { giveUp, noteAbandoned } from './give-up.ts';
import { type Growth, growthOf } from './growth.ts';
import { type Destination, decideMove, destinationOf, type Move } from './move.ts';
import { obstacleOf, type Stuck } from './obstacle.ts';
import { refuseBreak } from './refuse-break.ts';
import { report } from './report.ts';
import { canWait, statusOf } from './status.ts';
import { keptFor, letGo, retryOf, type Trouble, UnmadeVolumes, waitsForPlace } from './unmade.ts';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'list' | 'patch' | 'apply'>;
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
  /** Addresses at which snapshots are read while they are copied. */
  readonly copies: { at(address: Address): string | undefined };
  readonly log: Logger;
  /** For how long changes of a status gather that nobody waits for, in milliseconds. */
  readonly statusDelayMs?: number;
  /** A clock in milliseconds. */
  readonly now?: () => number;
}

/**
 * A new volume is mostly ready by then, and a deleted one gone, so that one write of the status is enough, or none. A write in
 * between would come at the same time as the agent's, which would have to repeat its own.
 */
const STATUS_DELAY_MS = 1_000;

/** What a write changes; `null` is for what is taken away. */
type SpecPatch = Omit<Partial<AoEVolume['spec']>, 'move'> & { move?: AoEVolume['spec']['move'] | null };

/** Limit for asking the API server what became of a write, in milliseconds. */
const LEARN_MS = 5_000;

/** Gives each AoEVolume its node and address, once, and keeps the operator's part of its status. */
export class VolumeReconciler {
  readonly #options: Options;
  /** The volumes, with what this operator has placed and the watch has not shown yet: so no room or address is given twice. */
  readonly #volumes: OwnWrites<AoEVolume>;
  readonly #reserved: IndexedReservations;
  readonly #delay: WriteDelay;
  readonly #health: NodeHealth;
  readonly #unmade: UnmadeVolumes;
  #lastAddress: Address | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#volumes = new OwnWrites(options.volumes);
    this.#reserved = new IndexedReservations({ ...options, volumes: this.#volumes });
    this.#delay = new WriteDelay(options.statusDelayMs ?? STATUS_DELAY_MS);
    this.#unmade = new UnmadeVolumes(options);
    this.#health = nodeHealth(options.kubeNodes, options.agents);
  }

  /** Reconciles one volume. Safe to repeat at any time; different volumes may be reconciled at once. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const found = this.#volumes.get(name);
    if (!found) {
      this.#delay.clear(name);
      this.#unmade.forget(name);
      return undefined;
    }
    await refuseBreak(this.#options, found, signal);
    const given = await giveUp(this.#options, found, signal);
    if (given.outcome === 'gone') return undefined;
    const move = await this.#move(given.volume, signal);
    const trouble = given.outcome === 'none' ? this.#unmade.look(move.volume) : undefined;
    const remedied = trouble?.remedy ? await this.#remedy(move.volume, trouble, signal) : { volume: move.volume };
    if (!remedied.volume) return undefined;
    const { volume, refused } = await this.#ensurePlaced(remedied.volume, signal);
    const isGivenUp = given.outcome === 'givenUp' && volume.spec.nodeName === given.volume.spec.nodeName;
    const moveWaits = move.kind === 'waits' ? move.message : undefined;
    const moving = isCopiedAway(volume) && volume.spec.move ? progressOf(volume, volume.spec.move) : undefined;
    const obstacle = refused ? undefined : obstacleOf(volume, { ...this.#options, isGivenUp, moveWaits, moving, stuck: remedied.stuck });
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
    report(this.#options, found, findings, status);
    const unmadeMs = isGivenUp ? undefined : retryOf(volume);
    const retryMs = move.kind === 'waits' ? move.retryMs : unmadeMs;
    return retryMs === undefined ? undefined : { requeueAfterMs: retryMs };
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
        still: (now) =>
          isPlaced(now) === isPlaced(volume) &&
          movesOf(now) === movesOf(volume) &&
          now.spec.move?.stage === volume.spec.move?.stage &&
          now.spec.capacity === volume.spec.capacity,
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
    if (isPlaced(volume) || volume.spec.external) {
      return { volume, refused: conflictingClaim(volume, this.#reserved.rivals(volume)) ?? userOfSource(volume, this.#reserved) };
    }
    const placement = place(volume, this.#cluster(), this.#options.range, this.#previousAddress());
    if ('refused' in placement) return { volume, refused: placement };
    return { volume: await this.#place(volume, placement, signal) };
  }

  #cluster(): Cluster {
    const { pools, snapshots, nodes } = this.#options;
    const snapshot = (name: string) => snapshots.get(name);
    return { pools: pools.list(), nodes: nodes.list(), reserved: this.#reserved, snapshot, ...this.#health };
  }

  /**
   * Does what is due about a volume whose disk was never made, and cannot be: lets it go when it is deleted, or gives it another node when one has
   * room. It is as moved then: what its agent reports of the first one no longer counts. One that a PersistentVolume names may have come back from
   * a backup without its status, and have data there: it stays.
   * @returns no volume when it is gone; `stuck` when nothing could be done
   */
  async #remedy(volume: AoEVolume, { why, remedy }: Trouble, signal: AbortSignal): Promise<{ volume?: AoEVolume; stuck?: Stuck }> {
    const possible = remedy === 'placeAgain' ? this.#elsewhere(volume, why) : undefined;
    if (possible && 'refused' in possible) return { volume, stuck: { why, outlook: waitsForPlace(possible) } };
    const named = await persistentVolumeOf(this.#options.kube, volume, signal);
    if (named !== undefined) return { volume, stuck: { why, outlook: keptFor(named, volume) } };
    await noteAbandoned(this.#options, volume.metadata, volume.spec, signal);
    if (remedy === 'letGo') {
      await letGo(this.#options, volume, why, signal);
      return {};
    }
    // Another volume may have got the room or the address meanwhile.
    const to = this.#elsewhere(volume, why);
    if ('refused' in to) return { volume, stuck: { why, outlook: waitsForPlace(to) } };
    const placed = await this.#switch(volume, to, undefined, signal, why);
    return { volume: placed.volume };
  }

  /** Another place for a volume that its present node cannot make. @param why for people */
  #elsewhere(volume: AoEVolume, why: string): Destination | Refused {
    const { nodeName: first = '', address: _, ...spec } = volume.spec;
    const cluster = this.#cluster();
    const notReadyThere = (node: string): string | undefined => (node === first ? why : cluster.notReady?.(node));
    const placement = place({ ...volume, spec }, { ...cluster, notReady: notReadyThere }, this.#options.range, this.#previousAddress());
    if ('refused' in placement) return placement;
    const address = this.#newAddress(volume);
    return 'refused' in address ? address : { nodeName: placement.nodeName, pool: spec.pool ?? '' };
  }

  async #place(volume: AoEVolume, { nodeName, address }: Placed, signal: AbortSignal): Promise<AoEVolume> {
    const { log, events } = this.#options;
    const { name, finalizers = [] } = volume.metadata;
    if (!volume.spec.address) this.#lastAddress = address;
    const metadata = { finalizers: [...new Set([...finalizers, VOLUME_FINALIZER])] };
    const placed = await this.#write(volume, { metadata, spec: { nodeName, address } }, signal);
    log.info({ volume: name, node: nodeName, address }, 'volume placed');
    events.event(volume, 'Normal', 'Placed', `placed on ${nodeName} at ${formatAddress(address)}`);
    return placed;
  }

  /** Follows annotation MOVE_TO, where everything is as it must be: one write gives the volume its new place, address and serial number. */
  async #move(found: AoEVolume, signal: AbortSignal): Promise<Move> {
    const { move: underWay } = found.spec;
    const asked = found.metadata.annotations?.[MOVE_TO] !== undefined;
    const isSecond = underWay !== undefined && underWay.stage !== 'Copying' && asked;
    const isMarked = found.metadata.finalizers?.includes(MOVE_FINALIZER);
    if ((underWay || isMarked || found.status?.move) && !isSecond) return await this.#advance(found, signal);
    const move = await decideMove({ ...this.#options, reserved: this.#reserved, health: this.#health }, found, signal);
    if (move.kind === 'possible') {
      const address = this.#newAddress(move.volume);
      if ('refused' in address) return waitsFor(address, move.volume, move.to);
      await noteAbandoned(this.#options, move.volume.metadata, move.volume.spec, signal);
    }
    if (underWay && move.kind === 'possible') return await this.#switch(move.volume, move.to, fromLost(move.volume, move.to), signal);
    if (underWay && move.kind === 'none') return await this.#advance(move.volume, signal);
    if (move.kind === 'copy') {
      const { volume, to } = move;
      const finalizers = [...new Set([...(volume.metadata.finalizers ?? []), MOVE_FINALIZER])];
      const begun = await this.#write(volume, { metadata: { finalizers }, spec: { move: newMove(to) } }, signal);
      this.#options.events.event(volume, 'Normal', 'Moving', `is being copied to pool ${to.pool} on node ${to.nodeName}`);
      return { kind: 'none', volume: begun };
    }
    return move.kind === 'possible' ? await this.#switch(move.volume, move.to, undefined, signal) : move;
  }

  /** The next step of a move that copies the data. */
  async #advance(volume: AoEVolume, signal: AbortSignal): Promise<Move> {
    const { kube, log, events } = this.#options;
    const { name, uid, resourceVersion, finalizers = [] } = volume.metadata;
    if (!volume.spec.move && finalizers.includes(MOVE_FINALIZER)) {
      const message = 'spec.move was taken away before the move had ended: data of this volume may be left at its other place';
      events.event(volume, 'Warning', 'MovedDataLeft', message);
      const metadata = { finalizers: finalizers.filter((each) => each !== MOVE_FINALIZER) };
      return { kind: 'none', volume: await this.#write(volume, { metadata, spec: {} }, signal) };
    }
    if (!volume.spec.move) {
      const patch = { metadata: { uid, resourceVersion }, status: { move: null } };
      const cleared = await kube.patch<AoEVolume>(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, subresource: 'status', signal });
      return { kind: 'none', volume: cleared };
    }
    const next = await nextStep(kube, volume, destinationOf(volume), signal);
    if (next.step === 'switch') return await this.#switch(volume, next.to, next.move, signal);
    if (next.step === 'stage') {
      if (next.why !== undefined)
        events.event(volume, 'Warning', 'MoveEnded', `the move was ended, and the volume stays where it is: ${next.why}`);
      return { kind: 'none', volume: await this.#write(volume, { metadata: {}, spec: { move: next.move } }, signal) };
    }
    if (next.step === 'wait') return { kind: 'none', volume };
    if (next.why !== undefined) {
      await noteAbandoned(this.#options, volume.metadata, volume.spec.move, signal);
      events.event(volume, 'Warning', 'MovedDataLeft', next.why);
    }
    log.info({ volume: name, move: volume.spec.move }, 'move ended');
    const metadata = { finalizers: finalizers.filter((each) => each !== MOVE_FINALIZER) };
    // As long as others keep the object, no agent may take it for one whose other place is to be emptied.
    const spec = next.step === 'let-go' ? {} : { move: null };
    return { kind: 'none', volume: await this.#write(volume, { metadata, spec }, signal) };
  }

  /**
   * One write gives the volume its new place, address and serial number.
   * @param copied the next stage of a move that has copied the data
   * @param unmade why no disk was ever made for it
   */
  async #switch(
    volume: AoEVolume,
    to: Destination,
    copied: AoEVolume['spec']['move'],
    signal: AbortSignal,
    unmade?: string,
  ): Promise<Move> {
    const { log, events } = this.#options;
    const address = this.#newAddress(volume);
    if ('refused' in address) return waitsFor(address, volume, to);
    this.#lastAddress = address;
    const before = volume.spec;
    const annotations = { [MOVE_TO]: null, [GIVE_UP]: null };
    const moved = await this.#write(
      volume,
      { metadata: { annotations }, spec: { ...to, address, moves: movesOf(volume) + 1, ...(copied ? { move: copied } : {}) } },
      signal,
    );
    const from = `node ${before.nodeName}, pool ${before.pool}, ${before.address && formatAddress(before.address)}`;
    const place = `node ${to.nodeName}, pool ${to.pool}, ${formatAddress(address)}, with serial number ${serialOf(moved)}`;
    const message =
      unmade === undefined ? `moved from ${from} to ${place}` : `placed on ${place}, as no disk was made on ${from}: ${unmade}`;
    log.warn({ volume: volume.metadata.name, detail: message }, unmade === undefined ? 'volume moved' : 'volume placed again');
    if (unmade === undefined) events.event(volume, 'Normal', 'Moved', message);
    else events.event(volume, 'Warning', 'PlacedAgain', message);
    return { kind: 'none', volume: moved };
  }

  #newAddress(volume: AoEVolume): Address | Refused {
    return newAddress(volume, this.#reserved, this.#options.range, this.#previousAddress());
  }

  /** An address that nobody has, for a snapshot that is copied. The caller reserves it at once. */
  newCopyAddress(): Address | Refused {
    const address = freeAddress({}, this.#reserved, this.#options.range, this.#previousAddress());
    if (!('refused' in address)) this.#lastAddress = address;
    return address;
  }

  /** The address given last. */
  #previousAddress(): Address | undefined {
    this.#lastAddress ??= newestAddress(this.#volumes.reserved());
    return this.#lastAddress;
  }

  /** Reserves a place before the API server has it, and gives it back when the API server refuses. */
  async #write(
    volume: AoEVolume,
    { metadata, spec }: { metadata: { finalizers?: string[]; annotations?: Record<string, null> }; spec: SpecPatch },
    signal: AbortSignal,
  ): Promise<AoEVolume> {
    const { name, uid, resourceVersion } = volume.metadata;
    const { finalizers = volume.metadata.finalizers ?? [] } = metadata;
    this.#volumes.reserve({ ...volume, metadata: { ...volume.metadata, finalizers }, spec: patched(volume, spec) });
    // With the version that the place was chosen for, so that no change by others is overwritten.
    const patch = { metadata: { ...metadata, uid, ...(resourceVersion ? { resourceVersion } : {}) }, spec };
    try {
      const placed = await this.#options.kube.patch<AoEVolume>(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
      this.#volumes.confirm(placed);
      return placed;
    } catch (error) {
      await this.#learn(volume, movesOf({ spec: patched(volume, spec) }), error);
      throw error;
    }
  }

  /**
   * After a write that failed. A refusal settles it. But after a broken connection, or a conflict with a write of ours that did
   * arrive, the volume may be placed: its place stays reserved until that is known.
   */
  async #learn({ metadata: { name, uid } }: AoEVolume, moves: number, error: unknown): Promise<void> {
    if (error instanceof KubeError && error.code < 500 && !isConflict(error)) return this.#volumes.drop(name);
    try {
      const live = await this.#options.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: AbortSignal.timeout(LEARN_MS) });
      if (live && live.metadata.uid === uid && isPlaced(live) && movesOf(live) === moves) this.#volumes.confirm(live);
      // After a conflict no write of ours is under way any longer; a request whose answer was lost may still arrive.
      else if (isConflict(error) || !live) this.#volumes.drop(name);
    } catch {
      // Still not known: the next attempt follows soon.
    }
  }
}

function waitsFor({ message }: Refused, volume: AoEVolume, { nodeName }: { nodeName: string }): Move {
  return { kind: 'waits', volume, message: `the move to node ${nodeName} waits: ${message}` };
}

function patched({ spec }: AoEVolume, { move = spec.move, ...changes }: SpecPatch): AoEVolume['spec'] {
  const { move: _, ...rest } = spec;
  return { ...rest, ...changes, ...(move ? { move } : {}) };
}
