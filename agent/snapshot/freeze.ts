import { randomUUID } from 'node:crypto';
import { type AoESnapshot, type AoESnapshotStatus, isAnswered } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { type Informer, messageOf, type Store, TimeoutError } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { BackendError, type Instant } from '../backends/backend.ts';
import { NoInstantError } from './instant.ts';
import { refused } from './outcome.ts';
import type { Place } from './place.ts';
import type { SnapshotRecords } from './records.ts';

/** How long the node plugin may take to answer, in milliseconds: the freeze lets the kernel write all that it has cached of the file system. */
const FREEZE_MS = 30_000;
/** To thaw, the kernel writes no more than the superblock. */
const THAW_MS = 15_000;
/** Also after an abort the node is told: else the file system stays frozen until the limit of the node plugin. */
const GIVE_UP_MS = 5_000;
/** A node that has not answered is asked for nothing for so long, in milliseconds: twice as long after each time in a row, up to the second of these. */
const SILENT_MS = 60_000;
const MOST_SILENT_MS = 600_000;

type Freeze = NonNullable<AoESnapshotStatus['freeze']>;
type Answer = NonNullable<AoESnapshotStatus['frozen']>;

export interface FileSystemFreezeOptions {
  readonly records: Pick<SnapshotRecords, 'get' | 'report'>;
  readonly snapshots: Pick<Informer<AoESnapshot>, 'waitFor'>;
  /** The AoEVolumes of this node. */
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly log: Pick<Logger, 'warn'>;
  readonly freezeMs?: number;
  readonly thawMs?: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

/** A node that has not answered. */
interface SilentNode {
  /** How often in a row. */
  readonly times: number;
  /** When it is asked again: as `now` counts, and for people. */
  readonly until: number;
  readonly at: string;
}

/** Lets the node that has the file system of a volume mounted freeze it while a snapshot is taken: docs/adr/0032-freeze.md. */
export class FileSystemFreeze {
  readonly #options: FileSystemFreezeOptions;
  readonly #silent = new Map<string, SilentNode>();
  readonly #now: () => number;

  constructor(options: FileSystemFreezeOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * The instant of a volume whose file system is frozen: frozen first, then held, released, and thawed.
   * @param instant holds the volume
   * @returns an {@link Instant} that throws NoInstantError unless the file system was frozen all the time, or mounted nowhere
   * @throws NoInstantError when that is clear before the turn of the pool is waited for
   */
  during(instant: Instant, snapshot: AoESnapshot, place: Place, signal: AbortSignal): Instant {
    this.#admit(this.#nodeOf(snapshot, place));
    return async (make) => {
      const attempt = new Attempt(this.#options, snapshot, place, signal);
      const node = this.#nodeOf(snapshot, place);
      // Another snapshot may have had the turn before, and no answer.
      this.#admit(node);
      try {
        if (node !== undefined) await attempt.freeze(node);
        const since = await instant(make);
        const what = node === undefined ? 'the volume was attached to no node, so no file system had to be frozen' : await attempt.thaw();
        if (this.#nodeOf(snapshot, place) !== node)
          throw new NoInstantError('NotFrozen', 'the volume was attached to another node while the snapshot was taken; it is taken again');
        await attempt.done(what);
        return since;
      } catch (error) {
        await attempt.giveUp();
        const failure = notFrozenBy(error, signal);
        throw node !== undefined && attempt.isUnanswered ? this.#note(node, failure) : failure;
      } finally {
        if (node !== undefined && attempt.isUnanswered === false) this.#silent.delete(node);
      }
    };
  }

  /**
   * Refuses a node that has not answered a moment ago: the pool has its turn meanwhile, and other snapshots wait.
   * @throws NoInstantError
   */
  #admit(node: string | undefined): void {
    const { until, at } = (node !== undefined && this.#silent.get(node)) || {};
    const leftMs = (until ?? 0) - this.#now();
    if (until === undefined || leftMs <= 0) return;
    const message = `node ${node} did not answer when it was asked to freeze a file system: it is asked again at ${at}. Does the pod aoe-csi-node run there, in the version of the agent?`;
    throw new NoInstantError('NotFrozen', message, { retryMs: leftMs });
  }

  /** A node has not answered. @returns the error with the pause before the next attempt */
  #note(node: string, failure: unknown): NoInstantError {
    const times = (this.#silent.get(node)?.times ?? 0) + 1;
    const retryMs = Math.min(SILENT_MS * 2 ** (times - 1), MOST_SILENT_MS);
    this.#silent.set(node, { times, until: this.#now() + retryMs, at: new Date(Date.now() + retryMs).toISOString() });
    return new NoInstantError('NotFrozen', messageOf(failure), { cause: failure, retryMs });
  }

  /**
   * The one node to which the volume is attached; undefined when it is attached to none.
   * @throws NoInstantError when others may have it mounted
   */
  #nodeOf({ spec }: AoESnapshot, { volumeUID }: Place): string | undefined {
    const volume = this.#options.volumes.get(spec.volumeName);
    const what = `AoEVolume ${spec.volumeName}`;
    if (!volume || volume.metadata.uid !== volumeUID) throw new NoInstantError('NotFrozen', `${what} is not on this node any more`);
    const { initiators, access } = volume.spec;
    const nodes = new Set([...(initiators?.nodes ?? []), ...(volume.status?.initiators?.nodes ?? [])]);
    const macs = initiators?.macs ?? [];
    const unsupported = (why: string): NoInstantError =>
      new NoInstantError('FreezeUnsupported', `${what} ${why}: take the snapshot without spec.freeze, or detach the volume`);
    if (macs.length > 0) throw unsupported(`is admitted to hosts by their MAC address (${macs.join(', ')}), which nobody here can freeze`);
    if (access !== 'Exclusive' && nodes.size > 0) throw unsupported(`has access ${access}, and only one node at a time can be frozen`);
    if (nodes.size > 1)
      throw new NoInstantError('NotFrozen', `${what} is on its way from one node to another (${[...nodes].join(', ')}); tried again`);
    return [...nodes][0];
  }
}

/**
 * What is thrown for an error of an attempt: such as one of the API server counts as a freeze that failed, so that it is tried again after the
 * pause of those. Each attempt lets programs wait.
 */
function notFrozenBy(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || error instanceof NoInstantError || error instanceof BackendError) return error;
  return new NoInstantError('NotFrozen', `the freeze has failed: ${messageOf(error)}; the snapshot is taken again`, { cause: error });
}

/** One freeze, of one node. */
class Attempt {
  readonly #options: FileSystemFreezeOptions;
  readonly #snapshot: AoESnapshot;
  readonly #place: Place;
  readonly #signal: AbortSignal;
  readonly #id = randomUUID();
  #nodeName: string | undefined;
  #state: Answer['state'] | undefined;
  #since = new Date();
  /** Whether the node has not answered in time what it was asked last; undefined: it was asked for nothing, or the wait has ended otherwise. */
  isUnanswered: boolean | undefined;

  constructor(options: FileSystemFreezeOptions, snapshot: AoESnapshot, place: Place, signal: AbortSignal) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#place = place;
    this.#signal = signal;
  }

  /** @throws NoInstantError unless the node says that the file system is frozen, or not mounted there */
  async freeze(nodeName: string): Promise<void> {
    this.#nodeName = nodeName;
    await this.#ask('Freezing', this.#signal);
    const { state, message = '' } = await this.#answer('Freezing', this.#options.freezeMs ?? FREEZE_MS);
    this.#state = state;
    this.#since = new Date();
    if (state === 'Frozen' || state === 'NotMounted') return;
    throw new NoInstantError(state === 'Unsupported' ? 'FreezeUnsupported' : 'NotFrozen', `node ${nodeName}: ${message}`);
  }

  /**
   * @returns what was frozen, for people
   * @throws NoInstantError unless the freeze lasted until now
   */
  async thaw(): Promise<string> {
    const nodeName = this.#nodeName ?? '';
    await this.#ask('Thawing', AbortSignal.timeout(GIVE_UP_MS));
    const { throughout, message } = await this.#answer('Thawing', this.#options.thawMs ?? THAW_MS);
    if (!throughout) {
      const why = message ?? 'its plugin was restarted';
      throw new NoInstantError(
        'NotFrozen',
        `node ${nodeName}: the file system was not frozen throughout (${why}); the snapshot is taken again`,
      );
    }
    if (this.#state === 'NotMounted') return `the file system was not mounted on node ${nodeName}, so it had not to be frozen`;
    return `the file system was frozen on node ${nodeName} from ${this.#since.toISOString()} to ${new Date().toISOString()}`;
  }

  /** Nothing more is asked of the node. Its plugin thaws when it sees that, or at its limit. */
  async giveUp(): Promise<void> {
    if (this.#nodeName === undefined) return;
    await this.#write({ id: this.#id, stage: 'Done', message: 'the attempt has failed' }, AbortSignal.timeout(GIVE_UP_MS)).catch(
      (error: unknown) =>
        this.#options.log.warn({ snapshot: this.#snapshot.metadata.name, error: messageOf(error) }, 'the end of a freeze is not written'),
    );
  }

  async done(message: string): Promise<void> {
    await this.#write({ id: this.#id, stage: 'Done', message }, this.#signal);
  }

  async #ask(stage: Freeze['stage'], signal: AbortSignal): Promise<void> {
    await this.#write({ id: this.#id, stage, ...(this.#nodeName ? { nodeName: this.#nodeName } : {}) }, signal);
  }

  async #write(freeze: Freeze, signal: AbortSignal): Promise<void> {
    const { records } = this.#options;
    const { name, uid } = this.#snapshot.metadata;
    const now = records.get(name);
    const outcome = this.#nodeName
      ? refused('Freezing', `node ${this.#nodeName} freezes the file system of the volume while the snapshot is taken`)
      : refused('Taking', 'the snapshot is being taken');
    const isWritten =
      now !== undefined && now.metadata.uid === uid && (await records.report(now, this.#place, outcome, signal, undefined, { freeze }));
    if (!isWritten) throw new NoInstantError('NotFrozen', `AoESnapshot ${name} was deleted while it was taken`);
  }

  async #answer(stage: 'Freezing' | 'Thawing', timeoutMs: number): Promise<Answer> {
    const { name } = this.#snapshot.metadata;
    const find = (now: AoESnapshot | undefined): Answer | undefined => {
      if (now?.metadata.uid !== this.#snapshot.metadata.uid || now?.metadata.deletionTimestamp)
        throw new NoInstantError('NotFrozen', `AoESnapshot ${name} was deleted while it was taken`);
      const { frozen } = now?.status ?? {};
      return frozen && isAnswered({ id: this.#id, stage, nodeName: this.#nodeName }, frozen) ? frozen : undefined;
    };
    try {
      const answer = await this.#options.snapshots.waitFor(name, find, { signal: this.#signal, timeoutMs });
      this.isUnanswered = false;
      return answer;
    } catch (error) {
      this.isUnanswered = undefined;
      if (!(error instanceof TimeoutError)) throw error;
      this.isUnanswered = true;
      const todo = stage === 'Freezing' ? 'freeze' : 'thaw';
      const message = `node ${this.#nodeName} did not ${todo} the file system within ${timeoutMs / 1000} s: does the pod aoe-csi-node run there, and does the disk answer?`;
      throw new NoInstantError('NotFrozen', message, { cause: error });
    }
  }
}
