export type JobOutcome<R> = { result: R } | { error: unknown };

interface Job<R> {
  outcome: JobOutcome<R> | undefined;
  done: Promise<void>;
  /** Who is to be told of the end, because nobody waits for it any more. */
  ended: (() => void) | undefined;
}

export interface JobsOptions {
  /** Ends all jobs. */
  signal: AbortSignal;
  /** Limit for one job, in milliseconds: its signal is aborted then. */
  limitMs: number;
}

/**
 * Work that may take minutes, one piece at a time per key. Whoever asks for it waits a moment at most, and comes back for what
 * came of it.
 */
export class Jobs<R> {
  readonly #options: JobsOptions;
  readonly #jobs = new Map<string, Job<R>>();

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /**
   * What came of the key's work, handed out once; the next call starts it anew. Never rejects.
   * @param patienceMs how long the call that starts the work waits for its end
   * @param ended called at the end of work that goes on when this returns
   * @returns undefined when the work goes on
   */
  async run(
    key: string,
    work: (signal: AbortSignal) => Promise<R>,
    { patienceMs, ended }: { patienceMs: number; ended: () => void },
  ): Promise<JobOutcome<R> | undefined> {
    let job = this.#jobs.get(key);
    if (!job) {
      job = this.#start(work);
      this.#jobs.set(key, job);
      await within(patienceMs, job.done);
    }
    if (!job.outcome) {
      job.ended = ended;
      return undefined;
    }
    this.#jobs.delete(key);
    return job.outcome;
  }

  /** Whether work for the key is under way. */
  isBusy(key: string): boolean {
    const job = this.#jobs.get(key);
    return job !== undefined && job.outcome === undefined;
  }

  /** Drops what came of work that nobody will come back for. */
  forget(key: string): void {
    if (!this.isBusy(key)) this.#jobs.delete(key);
  }

  /** Until no work is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map(({ done }) => done));
  }

  #start(work: (signal: AbortSignal) => Promise<R>): Job<R> {
    const { signal, limitMs } = this.#options;
    const job: Job<R> = { outcome: undefined, done: Promise.resolve(), ended: undefined };
    const end = (outcome: JobOutcome<R>): void => {
      job.outcome = outcome;
      job.ended?.();
    };
    job.done = work(AbortSignal.any([signal, AbortSignal.timeout(limitMs)])).then(
      (result) => end({ result }),
      (error: unknown) => end({ error }),
    );
    return job;
  }
}

async function within(ms: number, done: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([done, over]);
  clearTimeout(timer);
}
