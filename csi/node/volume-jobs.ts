import { messageOf } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';

/**
 * Jobs that run at a time. A job mostly waits for programs and for the target: three keep a small machine busy, and are few enough that
 * none of them becomes so slow that its steps reach their limits.
 */
const PLACES = 3;
/** A job that takes longer, as on a sick disk or with a long file system check, gives its place to the next one and goes on. */
const PLACE_MS = 30_000;
/** How long a place in the queue, or a result, is kept for the next call. The kubelet waits at most 122 s between two calls. */
const KEEP_MS = 300_000;
/** The steps of a job have limits of their own, of which that of e2fsck is by far the longest. This limit is for all of them together. */
const JOB_MS = 8 * 3_600_000;

/** What a call asks for. A call with the same three values is a repetition. */
export interface JobRequest {
  readonly volumeId: string;
  /** Name of the CSI method. */
  readonly operation: string;
  /** The arguments, as a text that is the same for the same arguments. */
  readonly args: string;
}

/**
 * Names the step that begins, for the messages to those who wait.
 * @param endedBy a CSI method whose call ends the job while this step runs: the step takes long, and can be gone on with later
 */
export type JobStep = (name: string, options?: { endedBy: string }) => void;

export type JobWork = (signal: AbortSignal, step: JobStep) => Promise<void>;

interface Job extends JobRequest {
  readonly work: JobWork;
  readonly cancelled: AbortController;
  state: 'queued' | 'running' | 'done' | 'failed';
  /** The present step, and when it began (performance.now()). */
  step: { readonly name: string; readonly since: number; readonly endedBy?: string };
  /** Calls that wait for the end. */
  callers: number;
  readonly end: PromiseWithResolvers<void>;
  /** Forgets the job while nobody waits for it. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * The operations on volumes of this node, one per volume at a time. Heavy ones are jobs: a few run at a time, first come first served. A
 * job that has begun goes on when its caller's time runs out, and the next call for the same gets its result. A job that has not begun
 * keeps its place for that call.
 */
export class VolumeJobs {
  readonly #nodeName: string;
  readonly #places: number;
  /** In the order in which they came. */
  readonly #jobs = new Map<string, Job>();
  /** Operations that are not jobs: name of the operation by volume. */
  readonly #others = new Map<string, string>();
  readonly #stopping = new AbortController();
  #placesTaken = 0;

  constructor(nodeName: string, places = PLACES) {
    this.#nodeName = nodeName;
    this.#places = places;
  }

  /**
   * Runs an operation at once.
   * @throws RpcError ABORTED when another operation for the volume is under way, or waits for its turn
   */
  async run<T>(volumeId: string, operation: string, work: () => Promise<T>): Promise<T> {
    this.#refuseSecond(volumeId, operation);
    // The operation may change what was achieved. An error is kept, so that the next call reports it.
    const job = this.#jobs.get(volumeId);
    if (job?.state === 'done') this.#forget(job);
    this.#others.set(volumeId, operation);
    try {
      return await work();
    } finally {
      this.#others.delete(volumeId);
    }
  }

  /**
   * Queues a job, or joins the one that an earlier call with the same arguments has queued, and waits for its end. An error is reported
   * to the calls that wait at that moment, else to the next one; the call after that begins again.
   * @throws RpcError DEADLINE_EXCEEDED when `caller` is aborted; the job goes on if it has begun, else it keeps its place
   * @throws RpcError ABORTED when another operation for the volume is under way, or waits for its turn
   * @throws what `work` throws
   */
  async queue(request: JobRequest, work: JobWork, caller: AbortSignal): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const { volumeId, operation, args } = request;
    let job = this.#jobs.get(volumeId);
    if (job?.operation !== operation || job.args !== args) {
      this.#refuseSecond(volumeId, operation);
      if (job) this.#forget(job);
      const step = { name: operation, since: performance.now() };
      const end = Promise.withResolvers<void>();
      job = { ...request, work, cancelled: new AbortController(), state: 'queued', step, callers: 0, end, timer: undefined };
      job.end.promise.catch(() => {});
      this.#jobs.set(volumeId, job);
    } else if (job.state === 'queued' && this.#others.has(volumeId)) this.#refuseSecond(volumeId, operation);
    else if (job.state === 'done' || job.state === 'failed') this.#forget(job);
    await this.#wait(job, caller);
  }

  /**
   * Ends the operation of a volume if it is a job that is running: its programs are killed, and its callers get ABORTED.
   * @returns whether it was running
   */
  cancel(volumeId: string, operation: string, reason: string): boolean {
    const job = this.#jobs.get(volumeId);
    if (job?.state !== 'running' || job.operation !== operation) return false;
    const message = `${operation} of volume ${volumeId} on node ${this.#nodeName} was ended: ${reason}`;
    job.cancelled.abort(new RpcError(Code.ABORTED, message));
    return true;
  }

  /** Ends all jobs. Their callers get UNAVAILABLE. */
  stop(): void {
    this.#stopping.abort(new RpcError(Code.UNAVAILABLE, `the node plugin of node ${this.#nodeName} is stopping, try again later`));
    for (const job of this.#jobs.values()) {
      if (job.state === 'queued') this.#end(job, this.#stopping.signal.reason);
    }
  }

  async #wait(job: Job, caller: AbortSignal): Promise<void> {
    const gone = Promise.withResolvers<never>();
    let waits = true;
    const leave = (): void => {
      if (!waits) return;
      waits = false;
      job.callers--;
      if (job.callers === 0 && job.state === 'queued') this.#keep(job);
    };
    const onAbort = (): void => {
      leave();
      gone.reject(new RpcError(Code.DEADLINE_EXCEEDED, this.#describe(job)));
    };
    clearTimeout(job.timer);
    job.callers++;
    if (caller.aborted) onAbort();
    else caller.addEventListener('abort', onAbort, { once: true });
    this.#startNext();
    try {
      await Promise.race([gone.promise, job.end.promise]);
    } finally {
      caller.removeEventListener('abort', onAbort);
      leave();
    }
  }

  #startNext(): void {
    for (const job of this.#jobs.values()) {
      if (this.#placesTaken >= this.#places) return;
      if (job.state === 'queued' && job.callers > 0) void this.#start(job);
    }
  }

  async #start(job: Job): Promise<void> {
    job.state = 'running';
    const step: JobStep = (name, options) => {
      job.step = { name, since: performance.now(), ...options };
    };
    step(job.operation);
    this.#placesTaken++;
    let hasPlace = true;
    const leavePlace = (): void => {
      clearTimeout(timer);
      if (hasPlace) this.#placesTaken--;
      hasPlace = false;
      this.#startNext();
    };
    const timer = setTimeout(leavePlace, PLACE_MS).unref();
    const limit = AbortSignal.timeout(JOB_MS);
    const signal = AbortSignal.any([this.#stopping.signal, job.cancelled.signal, limit]);
    try {
      await job.work(signal, step);
      this.#end(job);
    } catch (error) {
      this.#end(job, signal.aborted ? this.#cutShort(job, error) : error);
    }
    leavePlace();
  }

  /** What was cut short may have been done in part, and the kubelet takes INTERNAL for "nothing was done". */
  #cutShort({ operation, volumeId, cancelled }: Job, error: unknown): unknown {
    if (cancelled.signal.aborted) return cancelled.signal.reason;
    if (error instanceof RpcError && error.code !== Code.INTERNAL) return error;
    const code = this.#stopping.signal.aborted ? Code.UNAVAILABLE : Code.DEADLINE_EXCEEDED;
    const message = `${operation} of volume ${volumeId} on node ${this.#nodeName} was cut short: ${messageOf(error)}`;
    return new RpcError(code, message, { cause: error });
  }

  #end(job: Job, ...errors: [] | [error: unknown]): void {
    job.state = errors.length > 0 ? 'failed' : 'done';
    if (job.callers > 0) this.#forget(job);
    else this.#keep(job);
    if (errors.length > 0) job.end.reject(errors[0]);
    else job.end.resolve();
  }

  #keep(job: Job): void {
    job.timer = setTimeout(() => this.#forget(job), KEEP_MS).unref();
  }

  #forget(job: Job): void {
    clearTimeout(job.timer);
    if (this.#jobs.get(job.volumeId) === job) this.#jobs.delete(job.volumeId);
  }

  #refuseSecond(volumeId: string, operation: string): void {
    const refuse = (other: string): never => {
      throw new RpcError(Code.ABORTED, `${operation} of volume ${volumeId}: ${other}, try again later`);
    };
    const other = this.#others.get(volumeId);
    if (other) refuse(`${other} is still under way`);
    const job = this.#jobs.get(volumeId);
    if (job?.state === 'running' && job.step.endedBy === operation && this.cancel(volumeId, job.operation, `${operation} was called`))
      refuse(`${job.operation} is being ended for it`);
    if (job?.state === 'running') refuse(`${job.operation} is still under way. ${this.#describe(job)}`);
    if (job?.state === 'queued' && job.callers > 0) refuse(this.#describe(job));
  }

  #describe(job: Job): string {
    const { step, volumeId } = job;
    const seconds = Math.round((performance.now() - step.since) / 1000);
    const where = `of volume ${volumeId} on node ${this.#nodeName}`;
    if (job.state !== 'queued')
      return `${step.name} ${where} has been running for ${seconds} s; it goes on, and the next call gets its result`;
    const all = [...this.#jobs.values()];
    const before = all.slice(0, all.indexOf(job)).filter(({ state }) => state === 'queued').length;
    return `${step.name} ${where} waits for its turn behind ${before} others, and keeps its place; ${this.#places} run at a time`;
  }
}
