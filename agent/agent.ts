import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { RawSocket } from '../aoe/mod.ts';
import { GROUP } from '../api/meta.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, NODES } from '../api/resources.ts';
import type { AoEVolume } from '../api/volume.ts';
import { Controller, EventRecorder, Informer, type Kube, type KubeObject } from '../kube/mod.ts';
import { controllerMetrics } from '../run/controller-metrics.ts';
import type { Exec } from '../run/exec.ts';
import type { Logger } from '../run/log.ts';
import { MacMemory } from './access/mac-memory.ts';
import { Segment } from './address/probe.ts';
import { AddressWatch } from './address/schedule.ts';
import { Lvm } from './backends/lvm/cli.ts';
import { lvmConfig, udevReachable } from './backends/lvm/config.ts';
import { limited, wiper } from './backends/lvm/wipe.ts';
import { Backends } from './backends/registry.ts';
import type { InterfaceSelection } from './node/interfaces.ts';
import { Serving } from './node/network.ts';
import { NodeStatus } from './node/status.ts';
import { PoolMetrics, registerTargetMetrics } from './pool/metrics.ts';
import { Orphans } from './pool/orphans.ts';
import { Pools } from './pool/reconciler.ts';
import type { TargetApi } from './target/api.ts';
import { TargetLink } from './target/connection.ts';
import { TargetMetrics } from './target/metrics.ts';
import { Strays } from './target/strays.ts';
import { wasProvisioned } from './volume/data.ts';
import { Volumes } from './volume/reconciler.ts';

/** A burst of changes in a pool is measured once, this long after its first. */
const MEASURE_AFTER_MS = 1000;
const VOLUMES_AT_ONCE = 16;
const WIPES_AT_ONCE = 4;

export interface AgentOptions {
  /** Name of this node. */
  node: string;
  selection: InterfaceSelection;
  kube: Kube;
  targetApi: TargetApi;
  run: Exec;
  /** Called once the state of the cluster is known. */
  ready: () => void;
  log: Logger;
}

/** The whole agent, until the signal aborts: informers, controllers, and the link to the target process. */
export async function runAgent({ node, selection, kube, targetApi, run, ready, log }: AgentOptions, signal: AbortSignal): Promise<void> {
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES, { fieldSelector: `spec.nodeName=${node}` });
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const self = new Informer<KubeObject>(kube, NODES, { fieldSelector: `metadata.name=${node}` });

  const target = new TargetLink(targetApi, log);
  const metrics = new PoolMetrics();
  metrics.register();
  registerTargetMetrics(target);
  new TargetMetrics({ api: targetApi, volumes, nodes }, signal).register();
  const serving = new Serving({ node, selection, target, run, log, changed: () => nodeController.enqueue(node) });
  const segment = new Segment({
    interfaces: () => serving.segment(),
    ownMacs: () => serving.ownMacs(),
    open: (name) => RawSocket.open(name),
    log,
  });
  const backends = new Backends({
    lvm: new Lvm(run, lvmConfig({ udev: udevReachable() })),
    wipe: limited(wiper(run), WIPES_AT_ONCE),
    hasDevice,
    expected: (pool) =>
      volumes.list().flatMap((volume) => (volume.spec.pool === pool && wasProvisioned(volume) ? [volume.metadata.uid ?? ''] : [])),
  });

  const timers = new Map<string, NodeJS.Timeout>();
  const poolChanged = (pool: string): void => {
    if (timers.has(pool)) return;
    const measure = (): void => {
      timers.delete(pool);
      poolController.enqueue(pool);
    };
    timers.set(pool, setTimeout(measure, MEASURE_AFTER_MS));
  };

  const backendOf = (pool: AoEPool) => backends.of(pool);
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-agent`, node });
  const volumeWork = new Volumes({
    node,
    kube,
    volumes,
    pools,
    nodes,
    backendOf,
    poolChanged,
    target,
    ask: segment.ask,
    addressWatch: new AddressWatch(),
    memory: new MacMemory(),
    lookAgain: (name) => volumeController.enqueue(name),
    signal,
    events,
    log,
  });
  const poolWork = new Pools({
    node,
    kube,
    pools,
    self,
    volumes,
    backendOf,
    orphans: new Orphans(),
    measured: (pool, entry) => metrics.note(pool, entry),
    log,
  });
  const nodeWork = new NodeStatus({ node, kube, nodes, target, link: () => serving.link });

  const controllers = { log, metrics: controllerMetrics() };
  const volumeController: Controller = new Controller({
    ...controllers,
    name: 'volumes',
    reconcile: (key, stop) => volumeWork.reconcile(key, stop),
    concurrency: VOLUMES_AT_ONCE,
  })
    .watch(volumes, { keys: ({ object }) => [object.metadata.name] })
    .needs(pools)
    .needs(nodes);
  const poolController: Controller = new Controller({
    ...controllers,
    name: 'pools',
    reconcile: (key, stop) => poolWork.reconcile(key, stop),
  })
    .needs(pools)
    .needs(volumes)
    .needs(self);
  const nodeController: Controller = new Controller({
    ...controllers,
    name: 'node',
    reconcile: (key, stop) => nodeWork.reconcile(key, stop),
  }).watch(nodes, {
    keys: ({ object }) => [object.metadata.name],
  });

  // Every agent writes to every pool's status, and to its node's: only what matters here leads to work.
  pools.subscribe(({ type, object: { metadata }, previous }) => {
    if (type === 'applied' && previous?.metadata.generation === metadata.generation) return;
    poolController.enqueue(metadata.name);
    for (const name of named(volumes, ({ spec }) => spec.pool === metadata.name)) volumeController.enqueue(name);
  });
  nodes.subscribe(({ type, object: { metadata, status }, previous }) => {
    if (type === 'applied' && previous && isDeepStrictEqual(previous.status?.interfaces, status?.interfaces)) return;
    for (const name of named(volumes, ({ spec }) => (spec.initiators?.nodes?.length ?? 0) > 0)) volumeController.enqueue(name);
    log.debug({ node: metadata.name }, 'interfaces of a node changed');
  });
  self.subscribe(({ object, previous }) => {
    if (previous && isDeepStrictEqual(previous.metadata.labels, object.metadata.labels)) return;
    for (const { metadata } of pools.list()) poolController.enqueue(metadata.name);
  });
  target.subscribe((change) => {
    nodeController.enqueue(node);
    if (change.type === 'volume')
      for (const name of named(volumes, ({ metadata }) => metadata.uid === change.uid)) volumeController.enqueue(name);
    else for (const name of named(volumes, () => true)) volumeController.enqueue(name);
  });

  // The local link and the interfaces first: they need neither API server nor target.
  await serving.look(signal).catch((error: unknown) => log.warn({ error }, 'interfaces could not be set'));
  nodeController.enqueue(node);
  const strays = new Strays({ kube, volumes, target, log });
  try {
    await Promise.all([
      ...[volumes, pools, nodes, self].map((informer) => informer.run(signal)),
      ...[volumeController, poolController, nodeController].map((controller) => controller.run(signal)),
      target.run(signal),
      serving.run(signal),
      volumes.synced.then(() => strays.run(signal)),
      Promise.all([volumes, pools, nodes, self].map(({ synced }) => synced)).then(ready),
    ]);
  } finally {
    for (const timer of timers.values()) clearTimeout(timer);
    await volumeWork.idle();
  }
}

function named(volumes: Informer<AoEVolume>, concerned: (volume: AoEVolume) => boolean): string[] {
  return volumes
    .list()
    .filter(concerned)
    .map(({ metadata }) => metadata.name);
}

async function hasDevice(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isBlockDevice();
  } catch {
    return false;
  }
}
