import type { Controller, Informer, KubeObject } from '../kube/mod.ts';

/** Whether this replica leads: for what only the leader is to say, such as its gauges. */
export class Lead {
  #signal: AbortSignal | undefined;

  /** From the first call of a controller until the lease is lost, or the work has ended. */
  get isOurs(): boolean {
    return this.#signal !== undefined && !this.#signal.aborted;
  }

  /** @param signal aborted when the lease is lost */
  async during(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    this.#signal = signal;
    try {
      await work();
    } finally {
      this.#signal = undefined;
    }
  }
}

interface Parts {
  readonly informers: readonly Pick<Informer<KubeObject>, 'refresh'>[];
  readonly controllers: readonly Pick<Controller, 'run'>[];
  readonly ours: Pick<Lead, 'during'>;
}

/**
 * Works as the leader until the signal is aborted. First everything is listed again: while this replica stood by, its watches may
 * have been silent, and what the previous leader gave away meanwhile must not be given twice.
 */
export async function lead({ informers, controllers, ours }: Parts, signal: AbortSignal): Promise<void> {
  await Promise.all(informers.map((informer) => informer.refresh(signal)));
  await ours.during(signal, async () => void (await Promise.all(controllers.map((controller) => controller.run(signal)))));
}
