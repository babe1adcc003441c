import { GROUP } from '../api/meta.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, NODES } from '../api/resources.ts';
import type { AoEVolume } from '../api/volume.ts';
import { type Change, Controller, EventRecorder, Informer, Kube, type KubeObject, LeaseElector } from '../kube/mod.ts';
import { controllerMetrics } from '../run/controller-metrics.ts';
import { serveHealth } from '../run/health.ts';
import { main } from '../run/main.ts';
import { lead } from './lead.ts';
import { countVolumes } from './metrics.ts';
import { AgentWatch } from './node/agent-liveness.ts';
import { GoneNodes } from './node/gone.ts';
import { type Machine, notReady } from './node/kube-node.ts';
import { reconcileOwner } from './node/owner.ts';
import { AddressRange } from './placement/address-range.ts';
import { reconcilePool } from './pool/reconciler.ts';
import { Volumes } from './volume/reconciler.ts';

const FLAGS = {
  shelves: { type: 'string', default: '1-255', help: 'range of shelves from which addresses are given, A-B' },
  namespace: { type: 'string', default: 'aoe-csi', help: 'namespace of the leader election Lease' },
  identity: { type: 'string', default: '', help: 'name of this operator in the Lease; the pod name when empty' },
  'agent-silence': {
    type: 'string',
    default: '300',
    help: 'seconds without a word after which an agent counts as gone, and its node gets no new volumes',
    check: (value: string) => (Number(value) > 0 ? undefined : `"${value}" is no number of seconds`),
  },
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
  const machines = new Informer<Machine>(kube, NODES);
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-operator` });
  countVolumes(volumes);
  const agents = new AgentWatch({ limitMs: Number(config['agent-silence']) * 1000 });
  const placer = new Volumes({ kube, volumes, pools, nodes, machines, agents, events, range, log });
  const goneNodes = new GoneNodes({ kube, volumes, nodes, machines, events, log });
  const identity = config.identity || env.podName || `operator-${process.pid}`;
  const elector = new LeaseElector(kube, { namespace: config.namespace, name: 'aoe-csi-operator', identity });

  const controllers = { log, metrics: controllerMetrics() };
  const volumeController = new Controller({
    ...controllers,
    name: 'volumes',
    reconcile: (key, stop) => placer.reconcile(key, stop),
    concurrency: CONCURRENCY,
  })
    .watch(volumes, { keys: ({ object }) => [object.metadata.name] })
    .needs(machines)
    .watch(pools, { keys: () => placer.waiting() })
    .needs(nodes);
  // Room, or an address, that others wait for.
  volumes.subscribe(({ type }) => {
    if (type === 'deleted') for (const name of placer.waiting()) volumeController.enqueue(name);
  });
  const poolController = new Controller({
    ...controllers,
    name: 'pools',
    reconcile: (key, stop) => reconcilePool({ kube, pools, nodes, agents }, key, stop),
  })
    .watch(pools, { keys: ({ object }) => [object.metadata.name] })
    .needs(nodes);
  const names = ({ object }: Change<KubeObject>): string[] => [object.metadata.name];
  const ownerController = new Controller({
    ...controllers,
    name: 'owners',
    reconcile: (key, stop) => reconcileOwner({ kube, nodes, machines }, key, stop),
  })
    .watch(nodes, { keys: names })
    .needs(machines);
  const on = (node: string): string[] => volumes.list().flatMap(({ metadata, spec }) => (spec.nodeName === node ? [metadata.name] : []));
  const letIn = (node: string): string[] =>
    volumes.list().flatMap(({ metadata, spec }) => (spec.initiators.nodes?.includes(node) ? [metadata.name] : []));
  const goneController = new Controller({ ...controllers, name: 'gone-nodes', reconcile: (key, stop) => goneNodes.reconcile(key, stop) })
    .watch(volumes, { keys: names })
    .needs(nodes)
    .needs(machines);
  // Each agent says once a minute that it is alive: as long as it does, nobody else need look.
  nodes.subscribe(({ type, object, previous }) => {
    const { name } = object.metadata;
    if (type === 'deleted') agents.forget(name);
    else if (agents.isHeartbeat(object, previous)) return;
    for (const each of [...placer.waiting(), ...on(name)]) volumeController.enqueue(each);
    for (const { metadata } of pools.list()) poolController.enqueue(metadata.name);
    for (const each of letIn(name)) goneController.enqueue(each);
  });
  // A kubelet writes its Node all the time: what matters here is whether it exists, and whether it is Ready.
  machines.subscribe(({ type, object, previous }) => {
    const { name } = object.metadata;
    if (type === 'deleted') for (const volume of letIn(name)) goneController.enqueue(volume);
    if (!previous) ownerController.enqueue(name);
    if (type === 'applied' && notReady(previous) === notReady(object)) return;
    for (const each of [...placer.waiting(), ...on(name)]) volumeController.enqueue(each);
  });

  const informers = [volumes, pools, nodes, machines];
  const synced = Promise.all(informers.map((informer) => informer.synced));
  await Promise.all([
    serveHealth(config.http, { synced }, signal, log),
    ...informers.map((informer) => informer.run(signal)),
    elector.run(signal, async (leading) => {
      log.info({ identity }, 'leading');
      await lead({ informers, controllers: [volumeController, poolController, ownerController, goneController] }, leading);
    }),
  ]);
});
