import { Job, type JobOptions, type JobOutcome } from './job.ts';

/** Whose work it is: `key` is unique for ever, as metadata.uid is; `name` may be given again. */
export interface JobOwner {
  key: string;
  name: string;
}

/** One {@link Job} for each owner, remembered until its outcome was handed out. */
export class Jobs<R> {
  readonly #options: JobOptions;
  readonly #jobs = new Map<string, { name: string; job: Job<R> }>();
  /** Those that were stopped, until they end. */
  readonly #stopped = new Set<Job<R>>();

  constructor(options: JobOptions) {
    this.#options = options;
  }

  /** As {@link Job.run}, for the work of this owner. */
  async run({ key, name }: JobOwner, ...work: Parameters<Job<R>['run']>): Promise<JobOutcome<R> | undefined> {
    const entry = this.#jobs.get(key) ?? { name, job: new Job<R>(this.#options) };
    this.#jobs.set(key, entry);
    const outcome = await entry.job.run(...work);
    if (outcome && this.#jobs.get(key) === entry) this.#jobs.delete(key);
    return outcome;
  }

  /**
   * Forgets the outcomes for owners of this name.
   * @param except the key of an owner that is not forgotten
   * @param stop ends their work that is under way, too, with this reason; without it that goes on, and is forgotten by a later call
   */
  forget(name: string, { except, stop }: { except?: string | undefined; stop?: Error } = {}): void {
    for (const [key, { name: of, job }] of this.#jobs) {
      if (of !== name || key === except || (job.isBusy && !stop)) continue;
      this.#jobs.delete(key);
      if (!job.isBusy || !stop) continue;
      job.stop(stop);
      this.#stopped.add(job);
      void job.idle().then(() => this.#stopped.delete(job));
    }
  }

  /** Fulfilled when no work is under way. */
  async idle(): Promise<void> {
    const all = [...[...this.#jobs.values()].map(({ job }) => job), ...this.#stopped];
    await Promise.all(all.map((job) => job.idle()));
  }
}
