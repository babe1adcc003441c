import type { Controller, Informer, KubeObject } from '../kube/mod.ts';

interface Parts {
  readonly informers: readonly Pick<Informer<KubeObject>, 'refresh'>[];
  readonly controllers: readonly Pick<Controller, 'run'>[];
}

/**
 * Works as the leader until the signal is aborted. First everything is listed again: while this replica stood by, its watches may
 * have been silent, and what the previous leader gave away meanwhile must not be given twice.
 */
export async function lead({ informers, controllers }: Parts, signal: AbortSignal): Promise<void> {
  await Promise.all(informers.map((informer) => informer.refresh(signal)));
  await Promise.all(controllers.map((controller) => controller.run(signal)));
}
