/** How long a patient task lets others go first, in milliseconds. */
const PATIENCE_MS = 10_000;

interface Waiter {
  readonly enter: () => void;
  readonly since: number;
}

export interface TurnOptions {
  /** Ends the wait for the turn; the task itself must watch it. */
  signal?: AbortSignal;
  /** Whether tasks that are not patient go first. */
  isPatient?: boolean;
}

/** Lets one task run at a time, in the order of the calls, except that patient tasks wait for the others. */
export class Turns {
  #isTaken = false;
  readonly #urgent: Waiter[] = [];
  readonly #patient: Waiter[] = [];
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Waits for a turn, then runs the task to its end.
   * @throws the signal's reason when it is aborted before the task begins
   */
  async run<R>(task: () => Promise<R>, { signal, isPatient = false }: TurnOptions = {}): Promise<R> {
    signal?.throwIfAborted();
    if (this.#isTaken) await this.#wait(isPatient ? this.#patient : this.#urgent, signal);
    this.#isTaken = true;
    try {
      // It may have been aborted after the turn was given to it.
      signal?.throwIfAborted();
      return await task();
    } finally {
      this.#leave();
    }
  }

  #wait(queue: Waiter[], signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = {
      since: this.#now(),
      enter: () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
    };
    const onAbort = (): void => {
      queue.splice(queue.indexOf(waiter), 1);
      reject(signal?.reason);
    };
    queue.push(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** The turn goes to the next task, or becomes free. */
  #leave(): void {
    const [patient] = this.#patient;
    const isDue = patient !== undefined && this.#now() - patient.since >= PATIENCE_MS;
    const next = isDue ? this.#patient.shift() : (this.#urgent.shift() ?? this.#patient.shift());
    if (next) next.enter();
    else this.#isTaken = false;
  }
}
