import { Informer, type Kube } from '../../../kube/mod.ts';
import { CLAIMS, type Claim, PODS, type Pod, VOLUMES, type Volume } from './objects.ts';
import type { Timeline } from './timeline.ts';

/**
 * Marks what claims, pods and PersistentVolumes reach, by the arrival of the API server's watch events in this process: nothing is
 * polled. `synced` resolves when the watches have begun, `ended` after the signal is aborted.
 */
export function watch(
  kube: Kube,
  namespace: string,
  timeline: Timeline,
  signal: AbortSignal,
): { synced: Promise<unknown>; ended: Promise<unknown> } {
  const claims = new Informer<Claim>(kube, CLAIMS, { namespace });
  const pods = new Informer<Pod>(kube, PODS, { namespace });
  const volumes = new Informer<Volume>(kube, VOLUMES);
  claims.subscribe(({ type, object: { metadata, status } }) => {
    if (type === 'deleted') timeline.mark('claim gone', metadata.name);
    else if (status?.phase === 'Bound') timeline.mark('claim bound', metadata.name);
  });
  pods.subscribe(({ type, object: { metadata, status } }) => {
    if (type === 'deleted') timeline.mark('pod gone', metadata.name);
    else if (status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True')) timeline.mark('pod ready', metadata.name);
  });
  volumes.subscribe(({ type, object: { metadata, spec } }) => {
    if (type === 'deleted') timeline.mark('volume gone', spec?.claimRef?.name ?? metadata.name);
  });
  const informers = [claims, pods, volumes];
  return {
    synced: Promise.all(informers.map((informer) => informer.synced)),
    ended: Promise.all(informers.map((informer) => informer.run(signal))),
  };
}
