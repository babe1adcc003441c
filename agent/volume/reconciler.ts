import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, isCopiedAway, movesOf, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { applyStatus, type EventRecorder, type Kube, messageOf, OwnWrites, type Result, type Store, WriteDelay } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { MacMemory } from '../access/mac-memory.ts';
import type { ProbeAddress } from '../address/probe.ts';
import type { AddressScheduleOptions } from '../address/schedule.ts';
import type { Backend } from '../backends/backend.ts';
import type { CopyInContext } from '../copier/copy-in.ts';
import { FIELD_MANAGER } from '../field-manager.ts';
import { breakLock } from '../lock/break.ts';
import { LockEvents } from '../lock/events.ts';
import { Subscribers } from '../subscribers.ts';
import type { TargetConnection } from '../target/connection.ts';
import { type ApplyContext, applyPlan } from './apply.ts';
import { conditionOf } from './conditions.ts';
import { ensureData } from './data.ts';
import { dataOwner } from './data-owner.ts';
import { VolumeMemories, type VolumeMemory } from './memory.ts';
import { type Observed, observe, type ProbeResult, wasProvisioned } from './observe.ts';
import type { Outcome } from './outcome.ts';
import { awaitsSource, growthBarrier, NOT_EXPORTED, type Plan, planPreparation, planVolume, retryMsOf } from './plan.ts';
import { newProblems, statusOf, withOwnReport } from './status.ts';

/**
 * How long a reconcile waits for the backend, in milliseconds. Exported volumes: 100, so that access changes never wait for a stuck
 * pool. New volumes: 1000, so that they do not hold a worker.
 */
const DATA_PATIENCE_MS = { exported: 100, other: 1_000 } as const;
/** In milliseconds: mostly a new volume is exported by then, and a deleted one gone. */
const STATUS_DELAY_MS = 5_000;

/** What a reconcile finds out that concerns others. */
export type VolumeEvent =
  /** The data of a volume is there now, or removed, or it is known why not: the volume is to be reconciled. */
  | { type: 'data'; volume: string }
  /** A volume was made in a pool or removed from it. */
  | { type: 'pool'; pool: string };

export interface VolumeReconcilerOptions {
  /** Name of this node. */
  node: string;
  kube: Pick<Kube, 'apply' | 'patch' | 'get' | 'list' | 'listMetadata'>;
  volumes: Store<AoEVolume>;
  pools: Store<AoEPool>;
  nodes: Store<AoENode>;
  snapshots: Pick<Store<AoESnapshot>, 'get'>;
  /** Follows `nodes`. */
  macs: MacMemory;
  backendOf: (pool: AoEPool) => Backend;
  target: TargetConnection;
  probe: ProbeAddress;
  /** Copies data from other pools and nodes. */
  copies: CopyInContext;
  schedule?: AddressScheduleOptions | undefined;
  /** For how long nothing is written about data that is being made or removed, in milliseconds; 5000 when it is undefined. */
  statusDelayMs?: number | undefined;
  /** Ends the work on data, which goes on beside reconciles. */
  signal: AbortSignal;
  events: Pick<EventRecorder, 'event'>;
  log: Logger;
}

/** Makes true what an AoEVolume of this node asks for: observe, plan, act, report. */
export class VolumeReconciler {
  readonly #options: VolumeReconcilerOptions;
  readonly #context: ApplyContext & { lockEvents: LockEvents };
  readonly #memories: VolumeMemories;
  readonly #volumes: OwnWrites<AoEVolume>;
  /** UIDs of removed volumes by name, until the watch shows that they are gone. */
  readonly #removedUids = new Map<string, string>();
  readonly #subscribers = new Subscribers<VolumeEvent>();
  readonly #delay: WriteDelay;

  constructor(options: VolumeReconcilerOptions) {
    const { node, kube, target, events, log, signal, schedule, volumes } = options;
    this.#options = options;
    this.#memories = new VolumeMemories({ signal, schedule });
    this.#volumes = new OwnWrites(volumes);
    this.#delay = new WriteDelay(options.statusDelayMs ?? STATUS_DELAY_MS);
    this.#context = {
      kube,
      target,
      copier: options.copies.copier,
      lockEvents: new LockEvents(events, log),
      settled: (volume) => this.#subscribers.emit({ type: 'data', volume }),
      read: async ({ metadata: { name, uid } }, stop) => {
        const volume = await kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: stop });
        return volume && volume.metadata.uid === uid && volume.spec.nodeName === node ? volume : undefined;
      },
    };
  }

  subscribe(listener: (event: VolumeEvent) => void): void {
    this.#subscribers.add(listener);
  }

  /** Fulfilled when no data is being opened, made or removed. */
  idle(): Promise<void> {
    return this.#memories.idle();
  }

  /** Reconciles one volume: for kube's Controller. */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const stored = this.#volumes.get(name);
    const found = stored && withOwnReport(stored);
    if (!found) this.#delay.clear(name);
    this.#memories.forgetName(name, { except: found?.metadata.uid });
    if (found && this.#removedUids.get(name) === found.metadata.uid) return undefined;
    this.#removedUids.delete(name);
    // Without the finalizer it is not placed yet, or its data was removed: nothing of it may be made.
    if (!found || found.spec.nodeName !== this.#options.node || !found.metadata.finalizers?.includes(VOLUME_FINALIZER)) return undefined;
    const { volume, broken } = await breakLock(this.#context, found, signal);
    const memory = this.#memories.of(volume.metadata.uid ?? '', name);
    const pool = this.#options.pools.get(volume.spec.pool ?? '');
    const backend = pool && this.#options.backendOf(pool);

    const { error: dataError, ...prepared } = await this.#prepare(volume, memory, backend, signal);
    const seen = observe(this.#options, volume, memory, prepared);
    const plan = planVolume(volume, seen);
    let outcome: Outcome = {};
    let failure = dataError;
    try {
      outcome = await applyPlan(this.#context, plan, { volume, seen, memory, backend }, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (plan.action === 'remove') throw error;
      // What is known is written all the same, then the reconcile is repeated.
      failure = { thrown: error };
    }
    if (outcome.removal?.outcome === 'done') {
      this.#removed(volume);
      return undefined;
    }
    const isUnderWay = isBeingMade(volume, plan) || isBeingRemoved(volume, outcome);
    const leftMs = !failure && isUnderWay ? this.#delay.left(name) : 0;
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    this.#delay.clear(name);
    await this.#report(volume, { before: found, broken, seen, plan, outcome }, signal);
    if (failure) throw failure.thrown;
    const requeueAfterMs = retryMsOf(plan, outcome, seen);
    return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
  }

  /** Opens or makes the data, and probes the address, side by side: they take about the same time. */
  async #prepare(
    volume: AoEVolume,
    memory: VolumeMemory,
    backend: Backend | undefined,
    signal: AbortSignal,
  ): Promise<Pick<Observed, 'data' | 'probe'> & { error: { thrown: unknown } | undefined }> {
    const { target } = this.#options;
    const exported = target.state(volume.metadata.uid ?? '');
    for (const mac of volume.spec.initiators?.macs ?? []) memory.namedMacs.add(mac.toLowerCase());
    if (exported) memory.addressSchedule.begin();
    else memory.addressSchedule.notExported();
    const targetProblem = target.connected ? undefined : target.problem;
    const provisioned = wasProvisioned(volume);
    const { data: planned, probe: address } = planPreparation(
      volume,
      { provisioned, exported, targetProblem, isRemoving: memory.removal.isPending },
      memory.addressSchedule.isDue,
    );
    // What the target can do decides how new data is made.
    const mode = planned === 'create' && !target.known ? 'none' : planned;
    const barrier = isCopiedAway(volume)
      ? 'the volume is being moved'
      : growthBarrier({ exported, targetProblem, knowsExportedSize: target.supports('exported_size') });
    // The wipe of the new part may take hours, and would keep the volume off the segment: it goes on once the volume is exported.
    if (!exported && targetProblem === undefined) memory.stopGrowth(new Error(NOT_EXPORTED));
    const snapshot = (name: string) => this.#options.snapshots.get(name);
    const onWipeProgress = memory.wipe.note.bind(memory.wipe);
    const run = (how: 'create' | 'open') =>
      memory.data.run(
        async (stop) => {
          const { copies, kube } = this.#options;
          const ownerOf = dataOwner(kube, target, stop);
          const [tail, served] = [target.supports('exported_size'), exported?.bytes];
          const options = { tail, served, barrier, snapshot, ownerOf, copies, stopGrowth: memory.beginGrowth(), onWipeProgress };
          const data = await ensureData(volume, backend, how, stop, options).finally(() => memory.wipe.end());
          return { data, moves: movesOf(volume) };
        },
        {
          patienceMs: exported ? DATA_PATIENCE_MS.exported : DATA_PATIENCE_MS.other,
          ended: () => this.#context.settled(volume.metadata.name),
        },
      );
    const open = async (how: 'create' | 'open') => {
      const outcome = await run(how);
      // Work that was begun before a move has found the data of the earlier place.
      return outcome && 'result' in outcome && outcome.result.moves !== movesOf(volume) ? await run(how) : outcome;
    };
    const [job, probe] = await Promise.all([
      mode === 'none' ? undefined : open(mode),
      address && this.#probe(address, !exported && awaitsSource(volume), signal),
    ]);
    const data = job && 'result' in job ? job.result.data : undefined;
    if (probe) {
      const conflict = 'stranger' in probe && probe.stranger !== undefined;
      // Data that is still being opened says nothing: on a slow pool that is so each second time.
      const isSilent = 'error' in probe ? false : data && data.kind === 'available';
      memory.addressSchedule.probed({ conflict, isSilent });
    }
    if (data?.kind === 'available' && data.made) this.#subscribers.emit({ type: 'pool', pool: volume.spec.pool ?? '' });
    return { data, probe, error: job && 'error' in job ? { thrown: job.error } : undefined };
  }

  async #probe(address: Parameters<ProbeAddress>[0], isPatient: boolean, signal: AbortSignal): Promise<ProbeResult> {
    try {
      return { stranger: await this.#options.probe(address, signal, { isPatient }) };
    } catch (error) {
      return { error: messageOf(error) };
    }
  }

  #removed({ metadata: { name, uid = '' }, spec: { pool = '' } }: AoEVolume): void {
    this.#volumes.drop(name);
    this.#removedUids.set(name, uid);
    this.#memories.forget(uid);
    this.#options.log.info({ volume: name, uid, pool }, 'volume removed');
    this.#subscribers.emit({ type: 'pool', pool });
  }

  async #report(
    volume: AoEVolume,
    { before, broken, seen, plan, outcome }: { before: AoEVolume; broken: boolean; seen: Observed; plan: Plan; outcome: Outcome },
    signal: AbortSignal,
  ): Promise<void> {
    const { node, kube, events, log } = this.#options;
    const { conditions, fields } = statusOf(volume, seen, plan, outcome);
    for (const { type, reason, message } of newProblems(volume, conditions)) {
      log.warn({ volume: volume.metadata.name, reason, detail: message }, 'volume has a problem');
      // Data that could not be made yet is in the condition alone, which is tried again; lost data gets an Event, too.
      if (type !== VolumeCondition.Provisioned || seen.provisioned) events.event(volume, 'Warning', reason, message);
    }
    const [was, is] = [volume.status?.capacity, fields.capacity];
    if (was !== undefined && is !== undefined && is !== was) {
      log.info({ volume: volume.metadata.name, from: was, to: is }, 'volume has grown');
      events.event(volume, 'Normal', 'Grown', `grown from ${was} to ${is}; nodes that use it take the new size next`);
    }
    const cleared = broken || outcome.lockCleared === true;
    this.#context.lockEvents.changed(volume, before.status?.holder, fields.holder, { cleared });
    // Not once it is placed on another node: its status is for the agent there to write.
    const still = ({ spec: { nodeName, moves } }: AoEVolume): boolean => nodeName === node && moves === volume.spec.moves;
    const written = await applyStatus(kube, AOE_VOLUMES, volume, { manager: FIELD_MANAGER, conditions, fields, still, signal });
    if (written) this.#volumes.confirm(written);
  }
}

/** Whether the data of a volume is just being made of which this agent has not said anything yet. */
function isBeingMade({ metadata, status }: AoEVolume, plan: Plan): boolean {
  const isNew = !metadata.deletionTimestamp && !status?.conditions?.some(({ type }) => type === VolumeCondition.Exported);
  return isNew && plan.action === 'wait' && plan.obstacle.because === 'data-pending';
}

/** Whether the data of a volume is just being removed, and nobody waits for what else was done. */
function isBeingRemoved(volume: AoEVolume, { removal, confirmed }: Outcome): boolean {
  const isUnderWay = removal?.outcome === 'waiting' && removal.wait.for === 'removal';
  return isUnderWay && !confirmed && conditionOf(volume, VolumeCondition.Exported)?.reason !== 'Removing';
}
