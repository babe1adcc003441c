/** An operation that is under way. */
export interface Operation {
  /** Where it is done, such as a directory. */
  readonly key: string;
  /** What it does, such as `reading /x`. */
  readonly doing: string;
  /** When it was begun, as an ISO 8601 time. */
  readonly since: string;
}

/** An operation was not begun, or is not waited for any longer, because of those that take too long. */
export class LateError extends Error {
  readonly late: readonly Operation[];

  constructor(late: readonly Operation[]) {
    super(`not ended yet: ${late.map(({ doing, since }) => `${doing}, begun at ${since}`).join('; ')}`);
    this.name = 'LateError';
    this.late = late;
  }
}

export interface OperationOptions extends Omit<Operation, 'since'> {
  /** For how long the caller waits once it was begun, in milliseconds; not less than until it is late. */
  readonly limitMs?: number;
  /** It comes before those that are not urgent. */
  readonly isUrgent?: boolean;
  readonly signal?: AbortSignal;
}

export interface ThreadGateOptions {
  /** An operation is late when it takes longer than this, in milliseconds. */
  readonly lateMs: number;
  /** Operations under way at a time, of all keys together. */
  readonly places: number;
}

interface Running extends Operation {
  isLate: boolean;
}

interface Waiting {
  readonly key: string;
  readonly isUrgent: boolean;
  readonly begin: () => void;
  readonly refuse: (error: LateError) => void;
}

/**
 * Bounds operations that may wait for a disk and cannot be stopped, such as file I/O. Each holds one of the four threads that Node.js has for
 * them until the disk answers; without a free one no program is started and no frame is received either. So one operation of a key is under
 * way at a time. While it is late, each other one of that key fails at once; when it ends, the key works again.
 */
export class ThreadGate {
  readonly #lateMs: number;
  readonly #places: number;
  readonly #running = new Map<string, Running>();
  #waiting: Waiting[] = [];

  constructor({ lateMs, places }: ThreadGateOptions) {
    this.#lateMs = lateMs;
    this.#places = places;
  }

  /**
   * Waits for a turn, then runs the task. When it takes too long, or the signal is aborted, the task goes on
   * without its caller, and keeps its place until it ends.
   * @throws LateError, what the task throws, or the signal's reason
   */
  async run<T>(options: OperationOptions, task: () => Promise<T>): Promise<T> {
    const { key, isUrgent = false, signal } = options;
    signal?.throwIfAborted();
    this.check(key);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const begin = (): void => this.#begin(options, task, { resolve, reject });
    const waiting: Waiting = { key, isUrgent, begin, refuse: reject };
    const onAbort = (): void => {
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const after = isUrgent ? this.#waiting.findIndex((each) => !each.isUrgent) : -1;
    this.#waiting.splice(after < 0 ? this.#waiting.length : after, 0, waiting);
    this.#admit();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** @throws LateError when no operation of this key would be begun now */
  check(key: string): void {
    const error = this.#problem(key);
    if (error) throw error;
  }

  #problem(key: string): LateError | undefined {
    const own = this.#running.get(key);
    if (own?.isLate) return new LateError([own]);
    const all = [...this.#running.values()];
    return all.length >= this.#places && all.every(({ isLate }) => isLate) ? new LateError(all) : undefined;
  }

  #begin<T>(
    { key, doing, limitMs = 0 }: OperationOptions,
    task: () => Promise<T>,
    { resolve, reject }: { resolve: (value: T) => void; reject: (error: unknown) => void },
  ): void {
    const running: Running = { key, doing, since: new Date().toISOString(), isLate: false };
    this.#running.set(key, running);
    // Once more round the event loop: when this process was stopped meanwhile, the operation may have ended long ago.
    const after = (ms: number, work: () => void) => setTimeout(() => setImmediate(() => this.#running.get(key) === running && work()), ms);
    const late = after(this.#lateMs, () => {
      running.isLate = true;
      this.#refuse();
    });
    const limit = after(Math.max(limitMs, this.#lateMs), () => reject(new LateError([running])));
    const ended = (): void => {
      for (const timer of [late, limit]) clearTimeout(timer);
      this.#running.delete(key);
      this.#admit();
    };
    new Promise<T>((done) => done(task())).finally(ended).then(resolve, reject);
  }

  /** Begins those whose turn it is. */
  #admit(): void {
    for (const waiting of [...this.#waiting]) {
      if (this.#running.size >= this.#places) return;
      if (this.#running.has(waiting.key)) continue;
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      waiting.begin();
    }
  }

  /** Ends the wait of those that would wait for what is late. */
  #refuse(): void {
    for (const waiting of [...this.#waiting]) {
      const error = this.#problem(waiting.key);
      if (!error) continue;
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      waiting.refuse(error);
    }
  }
}
