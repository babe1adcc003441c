import { type CopierApi, CopierError, type CopierLimitApi, type CopyJob, type CopySource, type CopyState } from '../copier/api.ts';

/** Disks in memory by path: a number for each block. */
export type FakeDisks = Map<string, number[]>;

/** A copier without I/O. It keeps its jobs, as the real one does on its disk, and gets on only when the test calls `advance`. */
export class FakeCopier implements CopierApi, CopierLimitApi {
  readonly jobs = new Map<string, { job: CopyJob; state: CopyState }>();
  readonly calls: string[] = [];
  readonly disks: FakeDisks;
  /** The blocks of a source; undefined when it does not answer. */
  read: (source: CopySource) => readonly number[] | undefined;
  /** Refuses calls, and does nothing. */
  up = true;
  /** Bytes per second of all jobs together. */
  limit = 0;
  /** The last block is written wrongly, which only the comparison finds. */
  isFlawed = false;
  /** Ids of jobs that do not end: a disk hangs. */
  readonly hanging = new Set<string>();
  /** Thrown by the next call. */
  failure: CopierError | undefined;

  constructor(disks: FakeDisks = new Map(), read: (source: CopySource) => readonly number[] | undefined = () => undefined) {
    this.disks = disks;
    this.read = read;
  }

  /** Copies or compares one block of each job. */
  advance(): void {
    if (!this.up) return;
    for (const { job, state } of this.jobs.values()) {
      if (state.phase !== 'queued' && state.phase !== 'copying' && state.phase !== 'verifying') continue;
      const source = this.read(job.source);
      const disk = this.disks.get(job.destination.path);
      state.problem = source ? (disk ? '' : `${job.destination.path} does not exist`) : 'the source does not answer';
      if (!source || !disk) continue;
      const block = job.bytes / source.length;
      // One that was stopped or failed goes on where it was.
      const isVerifying = state.copied === job.bytes;
      const at = (isVerifying ? state.verified : state.copied) / block;
      if (isVerifying) {
        state.phase = 'verifying';
        if (disk[at] !== source[at]) {
          disk[at] = source[at] as number;
          state.repaired++;
        }
        state.verified += block;
        if (state.verified === job.bytes) state.phase = 'verified';
        continue;
      }
      const data = (source[at] as number) + (this.isFlawed && at === source.length - 1 ? 1 : 0);
      if (data !== 0 || !job.destination.zeroed) disk[at] = data;
      state.copied += block;
      state.phase = state.copied === job.bytes ? 'verifying' : 'copying';
    }
  }

  /** Ends a job as failed. */
  fail(id: string, problem: string, problemSince = new Date()): void {
    const found = this.jobs.get(id);
    if (found) Object.assign(found.state, { phase: 'failed', problem, problemSince });
  }

  async start(job: CopyJob): Promise<CopyState> {
    this.#enter('start');
    const known = this.jobs.get(job.id);
    if (known) {
      const same = (each: CopyJob) => JSON.stringify([each.source, each.destination, each.bytes]);
      if (same(known.job) !== same(job)) throw new CopierError('conflict', `job ${job.id} is another`);
      if (known.state.phase === 'failed' || known.state.phase === 'stopped') Object.assign(known.state, { phase: 'queued', problem: '' });
      return { ...known.state };
    }
    const state: CopyState = {
      id: job.id,
      phase: 'queued',
      bytes: job.bytes,
      zeroed: job.destination.zeroed,
      copied: 0,
      verified: 0,
      read: 0,
      repaired: 0,
      problem: '',
      problemSince: undefined,
    };
    this.jobs.set(job.id, { job: structuredClone(job), state });
    return { ...state };
  }

  async setLimit(bytesPerSecond: number): Promise<void> {
    this.#enter('setLimit');
    this.limit = bytesPerSecond;
  }

  async get(id: string): Promise<CopyState | undefined> {
    this.#enter('get');
    return this.jobs.get(id)?.state;
  }

  async list(): Promise<CopyState[]> {
    this.#enter('list');
    return [...this.jobs.values()].map(({ state }) => ({ ...state }));
  }

  async stop(id: string): Promise<CopyState> {
    this.#enter('stop');
    const found = this.jobs.get(id);
    if (!found) throw new CopierError('not-found', `no job ${id}`);
    this.#end(id);
    found.state.phase = 'stopped';
    return { ...found.state };
  }

  async remove(id: string): Promise<void> {
    this.#enter('remove');
    this.#end(id);
    this.jobs.delete(id);
  }

  #end(id: string): void {
    if (this.hanging.has(id)) throw new CopierError('hangs', `job ${id} does not end: the destination hangs`);
  }

  #enter(call: string): void {
    this.calls.push(call);
    if (!this.up) throw new CopierError('unavailable', 'no copier answers');
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
  }
}
