import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, moveReport, movesOf } from '../../api/volume.ts';
import { applyStatus, type Kube, messageOf, type Result, type Store } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { CopierError } from '../copier/api.ts';
import { removeJobs } from '../copier/job-id.ts';
import { MOVE_FIELD_MANAGER } from '../field-manager.ts';
import { type JobOwner, Jobs } from '../jobs/jobs.ts';
import { REMOVAL_MS } from '../jobs/removal-ms.ts';
import { Subscribers } from '../subscribers.ts';
import { TargetError } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import { type CopyProgress, copyHere, type MoveCopyContext } from './copy.ts';
import type { OneAtATime } from './one-at-a-time.ts';

/** How long a reconcile waits for a new backing volume, whose wipe may take hours. */
const PATIENCE_MS = 1_000;
const COPY_RETRY_MS = 2_000;
const RETRY_MS = 10_000;
const LIMIT_MS = 7 * 24 * 3_600_000;

export interface MoveReconcilerOptions extends Omit<MoveCopyContext, 'localPath' | 'onWipeProgress'> {
  kube: Pick<Kube, 'apply' | 'get'>;
  /** The AoEVolumes whose spec.move names this node. */
  moves: Pick<Store<AoEVolume>, 'get'>;
  pools: Pick<Store<AoEPool>, 'get'>;
  backendOf: (pool: AoEPool) => Backend;
  target: Pick<TargetConnection, 'connected' | 'known' | 'problem' | 'state' | 'supports' | 'unexport'>;
  /** Shared with the reconciler of volumes, which takes the mark off a copy once the volume has its place here. */
  oneAtATime: OneAtATime;
  /** Ends the work on data, which goes on beside reconciles. */
  signal: AbortSignal;
  log: Logger;
}

/** The part of the other node in a move: copies the data here, or removes the data here that is not the volume's any more. */
export class MoveReconciler {
  readonly #options: MoveReconcilerOptions;
  readonly #copies: Jobs<CopyProgress | undefined>;
  readonly #removals: Jobs<string | undefined>;
  /** Volumes whose new backing volume is being wiped. */
  readonly #wiping = new Set<string>();
  readonly #subscribers = new Subscribers<{ volume: string } | { pool: string }>();

  constructor(options: MoveReconcilerOptions) {
    this.#options = options;
    const { signal } = options;
    this.#copies = new Jobs({ signal, limitMs: LIMIT_MS });
    this.#removals = new Jobs({ signal, limitMs: REMOVAL_MS.limit });
  }

  /** Calls the listener with a volume to be reconciled again, or a pool in which data was made or removed. */
  subscribe(listener: (event: { volume: string } | { pool: string }) => void): void {
    this.#subscribers.add(listener);
  }

  /** Reconciles the move of one volume: for kube's Controller. @throws KubeError */
  async reconcile(name: string, signal: AbortSignal): Promise<Result | undefined> {
    const found = this.#options.moves.get(name);
    const move = found?.spec.move;
    const stage = move?.nodeName === this.#options.node ? move.stage : undefined;
    const { key } = ownerOf(found, name);
    // What nobody needs any more ends as soon as it can. Other work on the same data waits for that: see OneAtATime.
    const stop = new Error('the move was ended');
    this.#copies.forget(name, { stop, except: stage === 'Copying' ? key : undefined });
    this.#removals.forget(name, { stop, except: stage === 'Removing' ? key : undefined });
    if (!found || stage === undefined || stage === 'Switched') return undefined;
    return stage === 'Copying' ? await this.#copy(found, signal) : await this.#remove(found, signal);
  }

  async #copy(found: AoEVolume, signal: AbortSignal): Promise<Result | undefined> {
    const { name } = found.metadata;
    const ended = (): void => this.#subscribers.emit({ volume: name });
    const owner = ownerOf(found, name);
    const outcome = await this.#copies.run(owner, (stop) => this.#copyStep(found, stop), { patienceMs: PATIENCE_MS, ended });
    if (!outcome) {
      if (this.#wiping.has(name)) await this.#waits(found, 'the new backing volume is being wiped', signal);
      // A step may wait for its turn in the pool. What was said of the last one still holds.
      else if (!moveReport(found)) await this.#waits(found, 'the pool has not made the backing volume yet', signal);
      return { requeueAfterMs: RETRY_MS };
    }
    if ('error' in outcome) {
      if (!(outcome.error instanceof BackendError)) throw outcome.error;
      await this.#waits(found, outcome.error.message.slice(0, 1000), signal);
      return { requeueAfterMs: RETRY_MS };
    }
    if (!outcome.result) return { requeueAfterMs: COPY_RETRY_MS };
    await this.#report(found, outcome.result, signal);
    return { requeueAfterMs: COPY_RETRY_MS };
  }

  /**
   * Says what a copy waits for. How far it is, and the MAC addresses of this node, stay as they were: without those, the agent of the volume would
   * end what it serves to this node, and the copier would lose its source.
   */
  async #waits(found: AoEVolume, message: string, signal: AbortSignal): Promise<void> {
    await this.#report(found, { ...moveReport(found), phase: 'Waiting', message }, signal);
  }

  /** @returns undefined when the API server says that the move is at another stage by now */
  async #copyStep(found: AoEVolume, signal: AbortSignal): Promise<CopyProgress | undefined> {
    const { oneAtATime, pools, backendOf } = this.#options;
    return await oneAtATime.run(found.metadata.uid ?? '', async () => {
      signal.throwIfAborted();
      // The watch may be late: nothing must be written into data that is served by now.
      const volume = await this.#live(found, signal);
      if (!volume) return undefined;
      const pool = pools.get(volume.spec.move?.pool ?? '');
      if (!pool) return { phase: 'Waiting', message: `AoEPool ${volume.spec.move?.pool} does not exist` };
      const localPath = ({ metadata, spec }: AoEVolume): string | undefined => {
        const from = pools.get(spec.pool ?? '');
        return from && backendOf(from).path(metadata.uid ?? '');
      };
      const { name } = volume.metadata;
      const onWipeProgress = (): void => void this.#wiping.add(name);
      try {
        return await copyHere({ ...this.#options, localPath, onWipeProgress }, backendOf(pool), volume, signal);
      } finally {
        this.#wiping.delete(name);
      }
    });
  }

  async #remove(found: AoEVolume, signal: AbortSignal): Promise<Result | undefined> {
    const { log } = this.#options;
    const { name } = found.metadata;
    const ended = (): void => this.#subscribers.emit({ volume: name });
    const owner = ownerOf(found, name);
    const outcome = await this.#removals.run(owner, (stop) => this.#removalStep(found, stop), { patienceMs: REMOVAL_MS.patience, ended });
    if (!outcome) return undefined;
    if ('error' in outcome) throw outcome.error;
    const problem = outcome.result;
    if (problem === undefined) {
      await this.#report(found, { phase: 'Removed' }, signal);
      return undefined;
    }
    log.warn({ volume: name, detail: problem }, 'data of a move is not removed yet');
    await this.#report(found, { phase: 'Waiting', message: problem.slice(0, 1000) }, signal);
    return { requeueAfterMs: RETRY_MS };
  }

  /** @returns why the data is not removed; undefined when it is gone */
  async #removalStep(found: AoEVolume, signal: AbortSignal): Promise<string | undefined> {
    return await this.#options.oneAtATime.run(found.metadata.uid ?? '', async () => {
      signal.throwIfAborted();
      const volume = await this.#live(found, signal);
      if (!volume) return 'the move is at another stage';
      try {
        return await this.#removeData(volume, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof BackendError || error instanceof TargetError || error instanceof CopierError) return messageOf(error);
        throw error;
      }
    });
  }

  async #removeData(volume: AoEVolume, signal: AbortSignal): Promise<string | undefined> {
    const { node, pools, backendOf, target, copier, log } = this.#options;
    const { metadata, spec } = volume;
    const { uid = '', name } = metadata;
    const { move } = spec;
    if (!move || (spec.nodeName === node && spec.pool === move.pool)) return 'the volume itself is placed there';
    const pool = pools.get(move.pool);
    if (!pool) return `AoEPool ${move.pool} does not exist: create it as it was, so that the data there can be removed`;
    if (!target.connected) return `the target process does not answer (${target.problem})`;
    if (spec.nodeName !== node && target.state(uid)) await target.unexport(uid, signal);
    await removeJobs(copier, uid, signal);
    const backend = backendOf(pool);
    const backing = await backend.find(uid, signal);
    if (!backing) return undefined;
    const isHalf = backing.copy !== undefined;
    if (isHalf && backing.copy?.split('/')[0] !== move.id) return `${backing.name} is half a copy of another move or volume, and is kept`;
    // What was never switched away from, or belongs to a later move, is not older than the volume's data.
    if (!isHalf && (backing.moves ?? 0) >= movesOf(volume)) return `${backing.name} is not older than the data of the volume, and is kept`;
    // Whatever the policy for the data of the volume is: this is not its data any more.
    await backend.remove(uid, signal);
    log.info({ volume: name, uid, pool: move.pool, name: backing.name }, 'data of a move was removed');
    this.#subscribers.emit({ pool: move.pool });
    return undefined;
  }

  /** The volume as the API server has it; undefined when its move is not what was found. @throws KubeError */
  async #live(found: AoEVolume, signal: AbortSignal): Promise<AoEVolume | undefined> {
    const { kube, node } = this.#options;
    const live = await kube.get<AoEVolume>(AOE_VOLUMES, found.metadata.name, { signal });
    return live && live.metadata.uid === found.metadata.uid && isSameMove(live, found) && live.spec.move?.nodeName === node
      ? live
      : undefined;
  }

  async #report(found: AoEVolume, progress: CopyProgress, signal: AbortSignal): Promise<void> {
    const { kube, node } = this.#options;
    const move = { id: found.spec.move?.id ?? '', nodeName: node, ...progress };
    const still = (now: AoEVolume): boolean => isSameMove(now, found);
    await applyStatus(kube, AOE_VOLUMES, found, { manager: MOVE_FIELD_MANAGER, fields: { move }, still, signal });
  }

  /** Fulfilled when no data is being made or removed. */
  async idle(): Promise<void> {
    await Promise.all([this.#copies.idle(), this.#removals.idle()]);
  }
}

/** Whose a step of a move is: each move of a volume has its own. */
function ownerOf(volume: AoEVolume | undefined, name: string): JobOwner {
  return { key: `${volume?.metadata.uid}/${volume?.spec.move?.id}`, name };
}

function isSameMove(a: AoEVolume, b: AoEVolume): boolean {
  return a.spec.move?.id === b.spec.move?.id && a.spec.move?.stage === b.spec.move?.stage;
}
