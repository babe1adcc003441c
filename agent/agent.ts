import { RawSocket } from '../aoe/mod.ts';
import { GROUP } from '../api/meta.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, NODES } from '../api/resources.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoESnapshotGroup } from '../api/snapshot-group.ts';
import type { AoEVolume } from '../api/volume.ts';
import { Controller, EventRecorder, Index, Informer, type Kube, type KubeObject, RECONCILE_RESULTS } from '../kube/mod.ts';
import { aborted } from '../run/aborted.ts';
import { controllerMetrics } from '../run/controller-metrics.ts';
import type { Exec } from '../run/exec.ts';
import type { Logger } from '../run/log.ts';
import { MacMemory } from './access/mac-memory.ts';
import { AddressProbe } from './address/probe.ts';
import { BackendRegistry } from './backends/registry.ts';
import { Callers } from './blocks/caller.ts';
import { recoverBlocks } from './blocks/recovery.ts';
import { BlocksServer } from './blocks/server.ts';
import type { CopierApi, CopierLimitApi } from './copier/api.ts';
import { CopyLimit } from './copier/copy-limit.ts';
import { CopyMetrics } from './copier/metrics.ts';
import { StaleJobs } from './copier/stale-jobs.ts';
import { GroupReconciler } from './group/reconciler.ts';
import { OneAtATime } from './move/one-at-a-time.ts';
import { MoveReconciler } from './move/reconciler.ts';
import { HeardReporter } from './node/heard.ts';
import type { InterfaceSelection } from './node/interfaces.ts';
import { NodeNetwork } from './node/network.ts';
import { NodeReconciler } from './node/reconciler.ts';
import { PoolMetrics } from './pool/metrics.ts';
import { Orphans } from './pool/orphans.ts';
import { otherFilePools, PoolReconciler } from './pool/reconciler.ts';
import { CopyExport } from './snapshot/copy-export.ts';
import { FileSystemFreeze } from './snapshot/freeze.ts';
import { SnapshotMetrics } from './snapshot/metrics.ts';
import { takenSnapshots } from './snapshot/place.ts';
import { SnapshotReconciler } from './snapshot/reconciler.ts';
import { SnapshotRecords } from './snapshot/records.ts';
import type { TargetApi } from './target/api.ts';
import { TargetConnection } from './target/connection.ts';
import { TargetMetrics } from './target/metrics.ts';
import { OrphanedExports } from './target/orphaned-exports.ts';
import { afterLinkChange, afterSnapshot, afterTargetChange, afterVolumeEvent, type Request, watches } from './triggers.ts';
import { provisionedIn, provisionedUids } from './volume/observe.ts';
import { VolumeReconciler } from './volume/reconciler.ts';

const VOLUMES_AT_ONCE = 16;
const MOVES_AT_ONCE = 4;
const SNAPSHOTS_AT_ONCE = 4;
const GROUPS_AT_ONCE = 4;

export interface AgentOptions {
  /** Name of this node. */
  node: string;
  selection: InterfaceSelection;
  /** Directories of the node where disks for file pools are mounted. */
  mountPoints: readonly string[];
  kube: Kube;
  targetApi: TargetApi;
  copier: CopierApi & CopierLimitApi;
  /** Bytes that a copy reads per second, at most. 0: no limit. */
  copySpeed: number;
  /** Bytes that all copies together read per second, at most, while hosts read or write volumes of this node. 0: no limit. */
  copySpeedInUse: number;
  run: Exec;
  /** Where the CSI controller is told which blocks of snapshots have changed, HOST:PORT, and the user that it is; absent: it is not. */
  blocks?: { listen: string; user: string } | undefined;
  /** Called once the state of the cluster is known. */
  ready: () => void;
  /** Called once at the start. The function that it gets says which part has hung so that only a restart helps; undefined: none. */
  watched: (hung: () => string | undefined) => void;
  log: Logger;
}

/** The whole agent, until the signal aborts: constructs its parts, connects and runs them. */
export async function runAgent(
  { node, selection, mountPoints, kube, targetApi, copier, copySpeed, copySpeedInUse, run, blocks, ready, watched, log }: AgentOptions,
  signal: AbortSignal,
): Promise<void> {
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES, { fieldSelector: `spec.nodeName=${node}` });
  const moves = new Informer<AoEVolume>(kube, AOE_VOLUMES, { fieldSelector: `spec.move.nodeName=${node}` });
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
  const groups = new Informer<AoESnapshotGroup>(kube, AOE_SNAPSHOT_GROUPS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const self = new Informer<KubeObject>(kube, NODES, { fieldSelector: `metadata.name=${node}` });
  const informers = [volumes, moves, pools, snapshots, groups, nodes, self];

  const target = new TargetConnection(targetApi, log);
  const network = new NodeNetwork({ node, selection, target, run, log });
  const probe = new AddressProbe({
    interfaces: () => network.segment(),
    ownMacs: () => network.ownMacs(),
    open: (name) => RawSocket.open(name),
    log,
  });
  // Before the controllers, which read them after each change.
  const byUid = new Index(volumes, ({ metadata }) => [metadata.uid ?? '']);
  const byPool = new Index(volumes, provisionedIn);
  const backends = BackendRegistry.ofNode(run, {
    expected: (pool) => provisionedUids(volumes, byPool.each(pool)),
    hasSnapshots: (pool) => takenSnapshots(snapshots.list(), { pool, node }).length > 0,
    siblings: (pool) => otherFilePools(pool, pools.list(), self.get(node)),
    mountPoints,
  });
  const backendOf = (pool: AoEPool) => backends.of(pool);
  const macs = new MacMemory().follow(nodes);
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-agent`, node });
  const poolMetrics = new PoolMetrics();
  poolMetrics.register();
  new TargetMetrics({ api: targetApi, connection: target, volumes, nodes }, signal).register();

  const stores = { volumes, pools, nodes, snapshots };
  const oneAtATime = new OneAtATime();
  const copies = {
    copier,
    interfaces: () => network.initiators(),
    expose: async ({ metadata, status }: AoESnapshot, stop: AbortSignal) => {
      const pool = pools.get(status?.pool ?? '');
      return pool && (await backendOf(pool).snapshots?.expose(metadata.uid ?? '', stop));
    },
    survey: probe.survey,
    bytesPerSecond: copySpeed,
    oneAtATime: oneAtATime.run.bind(oneAtATime),
  };
  new CopyMetrics(volumes, moves).register();
  new SnapshotMetrics(copier, snapshots, signal).register();
  const common = { node, kube, macs, backendOf, target, signal, events, log };
  const volumeWork = new VolumeReconciler({ ...common, ...stores, probe: probe.ask, copies });
  const moveWork = new MoveReconciler({ ...common, ...copies, moves, pools, oneAtATime });
  const records = new SnapshotRecords({ node, kube, snapshots, log });
  const copyExport = new CopyExport({ node, target, probe: probe.ask });
  const freeze = new FileSystemFreeze({ records, snapshots, volumes, log });
  const takeContext = { node, records, volumes, pools, backendOf, target, freeze, log };
  const groupWork = new GroupReconciler({ ...takeContext, groups });
  const snapshotWork = new SnapshotReconciler({
    ...takeContext,
    copyExport,
    copyOut: { copier, bytesPerSecond: copySpeed },
    endGroup: (uid) => groupWork.end(uid),
    signal,
  });
  const poolWork = new PoolReconciler({
    node,
    kube,
    pools,
    self,
    volumes,
    moves,
    snapshots,
    backendOf,
    orphans: new Orphans(),
    metrics: poolMetrics,
    log,
  });
  const heard = new HeardReporter({ node, kube, nodes, self, volumes, target });
  const blocksServer =
    blocks && new BlocksServer({ node, pools, backendOf, callers: new Callers({ kube, user: blocks.user }), listen: blocks.listen, log });
  const nodeWork = new NodeReconciler({ node, kube, nodes, target, network, blocks: () => blocksServer?.address });
  const staleJobs = new StaleJobs({ copier, volumes, snapshots, moves, log });
  const orphanedExports = new OrphanedExports({ node, kube, volumes, pools, snapshots, target, log });

  const shared = { log, metrics: controllerMetrics(RECONCILE_RESULTS) };
  const context = { node, volumes, byUid, pools, snapshots };
  const controllers = {
    volumes: new Controller({
      ...shared,
      name: 'volumes',
      reconcile: (key, stop) => volumeWork.reconcile(key, stop),
      concurrency: VOLUMES_AT_ONCE,
    })
      .watch(volumes, watches.volumes)
      .watch(pools, watches.volumesOfPool(context))
      .watch(nodes, watches.volumesWithNodes(context)),
    moves: new Controller({
      ...shared,
      name: 'moves',
      reconcile: (key, stop) => moveWork.reconcile(key, stop),
      concurrency: MOVES_AT_ONCE,
    })
      .watch(moves, watches.volumes)
      .watch(pools, watches.volumesOfMove({ volumes: moves })),
    snapshots: new Controller({
      ...shared,
      name: 'snapshots',
      reconcile: (key, stop) => snapshotWork.reconcile(key, stop),
      concurrency: SNAPSHOTS_AT_ONCE,
    })
      .watch(snapshots, watches.snapshots)
      .watch(volumes, watches.snapshotsOfVolume(context))
      .watch(pools, watches.snapshotsOfPool(context)),
    groups: new Controller({
      ...shared,
      name: 'groups',
      reconcile: (key, stop) => groupWork.reconcile(key, stop),
      concurrency: GROUPS_AT_ONCE,
    })
      .watch(groups, watches.groups)
      .watch(snapshots, watches.groupOfSnapshot)
      .needs(volumes)
      .needs(pools),
    pools: new Controller({ ...shared, name: 'pools', reconcile: (key, stop) => poolWork.reconcile(key, stop) })
      .watch(pools, watches.pools)
      .watch(self, watches.poolsOfNode(context))
      .watch(volumes, watches.poolsOfVolume)
      .needs(moves)
      .needs(snapshots),
    node: new Controller({ ...shared, name: 'node', reconcile: (key, stop) => nodeWork.reconcile(key, stop) }).watch(
      nodes,
      watches.node(context),
    ),
    heard: new Controller({ ...shared, name: 'heard', reconcile: (_key, stop) => heard.reconcile(stop) })
      .watch(nodes, watches.heard(context))
      .needs(volumes),
    exports: new Controller({ ...shared, name: 'exports', reconcile: (_key, stop) => orphanedExports.reconcile(stop) })
      .watch(volumes, watches.exports(context))
      .needs(snapshots)
      .needs(pools),
    copies: new Controller({ ...shared, name: 'copies', reconcile: (_key, stop) => staleJobs.reconcile(stop) })
      .needs(volumes)
      .needs(snapshots)
      .needs(moves),
  };
  // Not those that wait for disks: a restart would not help.
  watched(() => controllers.node.hung ?? controllers.exports.hung);
  const enqueue = (requests: Request[]): void => {
    for (const { controller, key, afterMs } of requests) controllers[controller].enqueue(key, afterMs);
  };
  target.subscribe((change) => enqueue(afterTargetChange(change, context)));
  volumeWork.subscribe((event) => enqueue(afterVolumeEvent(event)));
  groupWork.subscribe((pool) => enqueue(afterSnapshot({ pool })));
  snapshotWork.subscribe((event) => enqueue('pool' in event ? afterSnapshot(event) : [{ controller: 'snapshots', key: event.snapshot }]));
  moveWork.subscribe((event) =>
    enqueue('pool' in event ? afterSnapshot({ pool: event.pool }) : [{ controller: 'moves', key: event.volume }]),
  );
  network.subscribe(() => enqueue(afterLinkChange(context)));

  // The local link and the interfaces come first: they need neither the API server nor the target.
  await network.check(signal).catch((error: unknown) => log.warn({ error }, 'interfaces could not be set'));
  controllers.node.enqueue(node);
  controllers.exports.enqueue(node);
  controllers.copies.enqueue(node);
  try {
    await Promise.all([
      ...informers.map((informer) => informer.run(signal)),
      ...Object.values(controllers).map((controller) => controller.run(signal)),
      target.run(signal),
      network.run(signal),
      recoverBlocks({ pools, backendOf, log }, signal),
      new CopyLimit({ copier, target: targetApi, bytesPerSecond: copySpeedInUse, log }).run(signal),
      blocksServer?.run(signal, () => controllers.node.enqueue(node)),
      // An informer that is told to end before its first list never is synced.
      Promise.race([Promise.all(informers.map(({ synced }) => synced)).then(ready), aborted(signal)]),
    ]);
  } finally {
    await Promise.all([volumeWork.idle(), moveWork.idle(), snapshotWork.idle()]);
  }
}
