import { CLOCK, type Clock, type Log, messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { FreezeError, type Freezer } from './freezer.ts';
import type { FreezeRecords } from './records.ts';

/** Pause between two attempts to thaw. */
const RETRY_MS = 500;
/** The same for a file system that is mounted nowhere: it can be thawed when it is mounted again. */
const UNMOUNTED_MS = 10_000;
/** How long a call of the kubelet waits until the file system is thawed. */
const END_MS = 10_000;
const ENDED = 256;
/** What is frozen is thawed, or tried to be, as long as the process lives. */
const FOR_EVER = new AbortController().signal;

export interface FreezeSessionsOptions {
  readonly freezer: Freezer;
  readonly records: FreezeRecords;
  /** After this time from its beginning a freeze ends by itself, in milliseconds. */
  readonly limitMs: number;
  /** Called with the seconds of each freeze, when it has ended. */
  readonly frozenFor?: (seconds: number) => void;
  readonly clock?: Clock;
  readonly log: Log;
}

/** One freeze of one file system, until it is certain that it is not frozen any more. */
interface Session {
  /** Undefined: begun by an earlier process of the plugin. */
  readonly id: string | undefined;
  readonly volumeId: string;
  /** Of the file system; undefined when it is not mounted, and has only to stay so. */
  readonly device: string | undefined;
  readonly since: number;
  /** Ends the freeze that is under way. */
  readonly stop: AbortController;
  isFrozen: boolean;
  /** The call of {@link FreezeSessions.freeze} goes on. */
  isBeginning: boolean;
  /** Why the freeze did not last, or must not; undefined while it does. */
  broken: string | undefined;
  /** Aborted when it is certain that the file system is not frozen. */
  readonly over: AbortController;
  /** The last attempt to thaw has found no mount. */
  isUnmounted: boolean;
  /** Fulfilled when it is certain that the file system is not frozen: with whether it was, until it was thawed here. */
  thawed: Promise<boolean> | undefined;
}

/**
 * The file systems that this node has frozen, one freeze for each volume at most. What is frozen is recorded on disk before, and each freeze
 * ends: by its thaw, by the limit, by a call of the kubelet that needs the file system, or at the next start of the plugin.
 */
export class FreezeSessions {
  readonly #options: FreezeSessionsOptions;
  /** By volume. */
  readonly #sessions = new Map<string, Session>();
  /** Ids of freezes that have ended: none of them is begun again. */
  readonly #ended = new Set<string>();
  /** The boot of this node; undefined until the records of earlier starts were read. */
  #bootId: string | undefined;
  readonly #clock: Clock;

  constructor(options: FreezeSessionsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? CLOCK;
  }

  /** Thaws what an earlier process of the plugin has left frozen. Tries until the records can be read, or the signal is aborted. */
  async recover(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    while (!signal.aborted) {
      try {
        return await this.#recover();
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'cannot find out what an earlier start of the plugin has left frozen');
        await this.#clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #recover(): Promise<void> {
    const { freezer, records, log } = this.#options;
    const thisBoot = await freezer.bootId();
    for (const { volumeId, device, bootId, since } of await records.list()) {
      if (this.#sessions.has(volumeId)) continue;
      if (bootId !== thisBoot) {
        await records.delete(volumeId);
        continue;
      }
      log.warn({ volume: volumeId, device, since }, 'thawing a file system that an earlier start of the plugin has frozen');
      const session = this.#add(undefined, volumeId, device);
      void this.#thaw(session);
    }
    this.#bootId = thisBoot;
  }

  /**
   * Freezes the file system of a volume until {@link thaw}, and no longer than the limit.
   * @param device of the file system: `major:minor`; undefined: it is not mounted, and {@link thaw} says whether it was meanwhile
   * @throws FreezeError when it is not frozen; then it is thawed again, or will be
   */
  async freeze(volumeId: string, id: string, device: string | undefined): Promise<void> {
    const { freezer, records, limitMs } = this.#options;
    const bootId = this.#bootId;
    if (bootId === undefined) throw new FreezeError('the plugin has just been started');
    // What is over is only to be thawed.
    const earlier = this.#sessions.get(volumeId)?.thawed;
    if (earlier) await this.#within(END_MS, earlier);
    const present = this.#sessions.get(volumeId);
    if (present?.id === id && present.isFrozen && present.broken === undefined) return;
    if (present) throw new FreezeError(`the file system of volume ${volumeId} is frozen for another snapshot, or being thawed after it`);
    if (this.#ended.has(id)) throw new FreezeError('this freeze has ended already');
    const session = this.#add(id, volumeId, device);
    const atLimit = (): void => this.#break(session, `a freeze lasts ${limitMs / 1000} s at most`);
    void this.#clock.sleep(limitMs, session.over.signal).then(atLimit, () => {});
    if (device === undefined) {
      session.isFrozen = true;
      return;
    }
    session.isBeginning = true;
    try {
      await records.put({ version: 1, volumeId, device, bootId, since: new Date().toISOString() });
      session.stop.signal.throwIfAborted();
      await freezer.freeze(device, { timeoutMs: limitMs, signal: session.stop.signal });
      session.stop.signal.throwIfAborted();
      session.isFrozen = true;
    } catch (error) {
      session.isBeginning = false;
      const why = session.broken ?? messageOf(error);
      if (error instanceof FreezeError && error.isOfOther) session.thawed ??= this.#forget(session).then(() => false);
      else this.#break(session, why);
      throw error instanceof FreezeError ? error : new FreezeError(why, { cause: error });
    }
    session.isBeginning = false;
  }

  /**
   * Ends a freeze.
   * @returns undefined when the file system was frozen, or not mounted, without a break until now; else why not
   */
  async thaw(id: string): Promise<string | undefined> {
    const session = [...this.#sessions.values()].find((each) => each.id === id);
    if (!session && !this.#ended.has(id)) return 'the plugin was restarted meanwhile';
    // It may be thawed, and its record not be removed yet.
    if (!session || session.over.signal.aborted) return 'the freeze has ended before';
    const { broken, isFrozen } = session;
    const wasFrozen = await this.#thaw(session);
    if (broken !== undefined) return broken;
    return isFrozen && wasFrozen ? undefined : 'somebody else has thawed it, or it could not be thawed at once';
  }

  /** Ends a freeze about which nobody asks any more, if it goes on. Does not wait. */
  abandon(id: string): void {
    const session = [...this.#sessions.values()].find((each) => each.id === id);
    if (session) this.#break(session, 'nobody waits for it any more');
  }

  /**
   * Ends the freeze of a volume before a call changes what is mounted of it. Does nothing when there is none.
   * @throws RpcError UNAVAILABLE when it is not certain within 10 s that the file system is not frozen
   */
  async end(volumeId: string, why: string, signal: AbortSignal): Promise<void> {
    const session = this.#sessions.get(volumeId);
    if (!session) return;
    this.#break(session, why);
    const isThawed = await this.#within(END_MS, this.#thaw(session), signal);
    signal.throwIfAborted();
    // Without a mount nothing can be thawed, and the call may be the one that mounts it.
    if (isThawed || session.isUnmounted) return;
    const message = `the file system of volume ${volumeId} was frozen for a snapshot and is not thawed yet; tried again`;
    throw new RpcError(Code.UNAVAILABLE, message);
  }

  /** Ends all freezes before this process does. Does not wait longer than 10 s. */
  async stop(): Promise<void> {
    for (const session of this.#sessions.values()) this.#break(session, 'the node plugin is stopping');
    const thawed = Promise.all([...this.#sessions.values()].map((session) => this.#thaw(session)));
    await this.#within(END_MS, thawed);
  }

  /** Waits for something, for so long at most. @returns whether it has happened */
  async #within(limitMs: number, wanted: Promise<unknown>, signal?: AbortSignal): Promise<boolean> {
    const rest = new AbortController();
    const stop = signal ? AbortSignal.any([signal, rest.signal]) : rest.signal;
    const late = this.#clock.sleep(limitMs, stop).then(
      () => false,
      () => false,
    );
    const isDone = await Promise.race([wanted.then(() => true), late]);
    rest.abort();
    return isDone;
  }

  #add(id: string | undefined, volumeId: string, device: string | undefined): Session {
    const state = { isFrozen: false, isBeginning: false, broken: undefined, isUnmounted: false, thawed: undefined };
    const session: Session = {
      id,
      volumeId,
      device,
      since: this.#clock.now(),
      stop: new AbortController(),
      over: new AbortController(),
      ...state,
    };
    this.#sessions.set(volumeId, session);
    return session;
  }

  #break(session: Session, why: string): void {
    if (!session.thawed) {
      session.broken ??= why;
      this.#options.log.warn({ volume: session.volumeId, why }, 'a freeze is ended before the snapshot was taken');
    }
    void this.#thaw(session);
  }

  #thaw(session: Session): Promise<boolean> {
    session.thawed ??= this.#thawUntilCertain(session);
    return session.thawed;
  }

  async #thawUntilCertain(session: Session): Promise<boolean> {
    const { freezer, log } = this.#options;
    const { volumeId, device } = session;
    session.stop.abort(new Error(session.broken ?? 'it is thawed'));
    let wasFrozen = device === undefined;
    for (let attempt = 1; device !== undefined; attempt++) {
      let pauseMs = RETRY_MS;
      try {
        // Asked before: a freeze that is still under way may come after the thaw. One that has succeeded is not.
        const isFreezing = session.isBeginning || (!session.isFrozen && (await freezer.isFreezing(device)));
        const result = await freezer.thaw(device);
        if (attempt === 1) wasFrozen = result === 'thawed' && session.isFrozen;
        session.isUnmounted = result === 'notMounted';
        if (!isFreezing && !session.isUnmounted) break;
        if (session.isUnmounted) pauseMs = UNMOUNTED_MS;
      } catch (error) {
        log.warn({ volume: volumeId, device, error: messageOf(error) }, 'a file system is not thawed; tried again');
      }
      await this.#clock.sleep(pauseMs, FOR_EVER);
    }
    await this.#forget(session);
    return wasFrozen;
  }

  /** It is certain that the plugin has it not frozen. */
  async #forget(session: Session): Promise<void> {
    const { records, frozenFor, log } = this.#options;
    session.over.abort();
    while (session.device !== undefined) {
      try {
        await records.delete(session.volumeId);
        break;
      } catch (error) {
        log.warn({ volume: session.volumeId, error: messageOf(error) }, 'the record of a freeze is not removed; tried again');
        await this.#clock.sleep(RETRY_MS, FOR_EVER);
      }
    }
    if (session.isFrozen && session.device !== undefined) frozenFor?.((this.#clock.now() - session.since) / 1000);
    if (this.#sessions.get(session.volumeId) === session) this.#sessions.delete(session.volumeId);
    if (session.id === undefined) return;
    this.#ended.add(session.id);
    for (const id of this.#ended) {
      if (this.#ended.size <= ENDED) break;
      this.#ended.delete(id);
    }
  }
}
