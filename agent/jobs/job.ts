import { within } from '../../run/within.ts';

export type JobOutcome<R> = { result: R } | { error: unknown };

interface Run<R> {
  outcome: JobOutcome<R> | undefined;
  done: Promise<void>;
  /** Called at the end, when no caller waits for it. */
  ended: (() => void) | undefined;
  stop: AbortController;
}

export interface JobOptions {
  /** Ends the work. */
  signal: AbortSignal;
  /** Limit in milliseconds: the signal of the work is aborted then. */
  limitMs: number;
}

/** Work that may take minutes, done once at a time. A caller waits for a moment at most, and comes back for the outcome. */
export class Job<R> {
  readonly #options: JobOptions;
  #run: Run<R> | undefined;

  constructor(options: JobOptions) {
    this.#options = options;
  }

  /**
   * Starts the work unless it is under way, and hands out its outcome once; the next call starts the work again. Never rejects.
   * @param patienceMs how long the call that starts the work waits for its end
   * @param ended called at the end of work that goes on after this call
   * @returns undefined when the work goes on
   */
  async run(
    work: (signal: AbortSignal) => Promise<R>,
    { patienceMs, ended }: { patienceMs: number; ended: () => void },
  ): Promise<JobOutcome<R> | undefined> {
    let run = this.#run;
    if (!run) {
      run = this.#start(work);
      this.#run = run;
      await within(patienceMs, run.done);
    }
    if (!run.outcome) {
      run.ended = ended;
      return undefined;
    }
    this.#run = undefined;
    return run.outcome;
  }

  /** Whether the work is under way. */
  get isBusy(): boolean {
    return this.#run !== undefined && this.#run.outcome === undefined;
  }

  /** Whether work was begun whose outcome was not handed out yet. */
  get isPending(): boolean {
    return this.#run !== undefined;
  }

  /** Aborts the work that is under way: it ends with this reason as soon as it can. */
  stop(reason: Error): void {
    this.#run?.stop.abort(reason);
  }

  /** Fulfilled when no work is under way. */
  async idle(): Promise<void> {
    await this.#run?.done;
  }

  #start(work: (signal: AbortSignal) => Promise<R>): Run<R> {
    const { signal, limitMs } = this.#options;
    const stop = new AbortController();
    const run: Run<R> = { outcome: undefined, done: Promise.resolve(), ended: undefined, stop };
    const end = (outcome: JobOutcome<R>): void => {
      run.outcome = outcome;
      run.ended?.();
    };
    run.done = work(AbortSignal.any([signal, stop.signal, AbortSignal.timeout(limitMs)])).then(
      (result) => end({ result }),
      (error: unknown) => end({ error }),
    );
    return run;
  }
}
