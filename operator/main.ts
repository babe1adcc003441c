import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES } from '../api/resources.ts';
import type { AoEVolume } from '../api/volume.ts';
import { Controller, EventRecorder, Informer, Kube, LeaseElector } from '../kube/mod.ts';
import { serveHealth } from '../run/health.ts';
import { main } from '../run/main.ts';
import { AddressRange } from './addresses.ts';
import { countVolumes } from './metrics.ts';
import { reconcilePool } from './pools.ts';
import { Volumes } from './volumes.ts';

const FLAGS = {
  shelves: { type: 'string', default: '1-255', help: 'range of shelves from which addresses are given, A-B' },
  namespace: { type: 'string', default: 'aoe-csi', help: 'namespace of the leader election Lease' },
  identity: { type: 'string', default: '', help: 'name of this operator in the Lease; the pod name when empty' },
  kubeconfig: { type: 'string', default: '', help: 'kubeconfig file; the service account when empty' },
  http: { type: 'string', default: ':9808', help: 'address of health and metrics, HOST:PORT' },
} as const;

/** How many volumes are looked at at once: each waits for the API server most of the time. */
const CONCURRENCY = 8;

await main('aoe-csi-operator', FLAGS, async ({ config, env, log, signal }) => {
  const range = new AddressRange(config.shelves);
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi-operator' });
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const events = new EventRecorder(kube, { component: 'aoe-csi-operator' });
  countVolumes(volumes);
  const placer = new Volumes({ kube, volumes, pools, nodes, events, range, log });
  const identity = config.identity || env.podName || `operator-${process.pid}`;
  const elector = new LeaseElector(kube, { namespace: config.namespace, name: 'aoe-csi-operator', identity });

  const volumeController = new Controller({
    name: 'volumes',
    log,
    reconcile: (key, stop) => placer.reconcile(key, stop),
    concurrency: CONCURRENCY,
  })
    .watch(volumes, ({ metadata }) => [metadata.name])
    .watch(pools, () => placer.waiting())
    .watch(nodes, (node) => [
      ...placer.waiting(),
      ...volumes.list().flatMap(({ metadata, spec }) => (spec.nodeName === node.metadata.name ? [metadata.name] : [])),
    ]);
  // Room, or an address, that others wait for.
  volumes.subscribe(({ type }) => {
    if (type === 'deleted') for (const name of placer.waiting()) volumeController.enqueue(name);
  });
  const poolController = new Controller({ name: 'pools', log, reconcile: (key, stop) => reconcilePool({ kube, pools, nodes }, key, stop) })
    .watch(pools, (pool) => [pool.metadata.name])
    .watch(nodes, () => pools.list().map(({ metadata }) => metadata.name));

  const informers = [volumes, pools, nodes];
  const synced = Promise.all(informers.map((informer) => informer.synced));
  await Promise.all([
    serveHealth(config.http, { synced }, signal, log),
    ...informers.map((informer) => informer.run(signal)),
    elector.run(signal, async (leading) => {
      log.info({ identity }, 'leading');
      await Promise.all([volumeController.run(leading), poolController.run(leading)]);
    }),
  ]);
});
