import type { Controller, Informer, KubeObject } from '../kube/mod.ts';

interface Parts {
  readonly informers: readonly Pick<Informer<KubeObject>, 'refresh'>[];
  readonly controllers: readonly Pick<Controller, 'run'>[];
}

/**
 * Works as the leader until the signal aborts. First everything is read anew: the watch of one that stood by may have been
 * silent for a while, and what its predecessor gave away meanwhile must not be given twice.
 */
export async function lead({ informers, controllers }: Parts, signal: AbortSignal): Promise<void> {
  await Promise.all(informers.map((informer) => informer.refresh(signal)));
  await Promise.all(controllers.map((controller) => controller.run(signal)));
}
