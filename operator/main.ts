import { AgentLiveness } from '../api/agent-liveness.ts';
import { moveReservationOf, reservationOf } from '../api/capacity.ts';
import type { KubeNode } from '../api/kube-node.ts';
import { GROUP } from '../api/meta.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, NODES } from '../api/resources.ts';
import type { AoESnapshot } from '../api/snapshot.ts';
import type { AoESnapshotGroup } from '../api/snapshot-group.ts';
import { NEVER, parseTakeoverAfter } from '../api/takeover/after.ts';
import type { AoEVolume } from '../api/volume.ts';
import {
  type Change,
  Controller,
  EventRecorder,
  Index,
  Informer,
  Kube,
  LeaseElector,
  labelsChanged,
  RECONCILE_RESULTS,
  Sums,
} from '../kube/mod.ts';
import { seconds } from '../run/config.ts';
import { controllerMetrics } from '../run/controller-metrics.ts';
import { serveHealth } from '../run/health.ts';
import { main } from '../run/main.ts';
import { GroupReconciler } from './group/reconciler.ts';
import { Lead, lead } from './lead.ts';
import { countVolumes, registerLead, registerStorageNodes } from './metrics.ts';
import { removeGoneNodes } from './node/gone.ts';
import { isMoreThanHeartbeat } from './node/heartbeat.ts';
import { reconcileOwner } from './node/owner.ts';
import { AddressRange } from './placement/address-range.ts';
import { claimsOf } from './placement/claims.ts';
import { reconcilePool } from './pool/reconciler.ts';
import { SnapshotCopies, sourceOf } from './snapshot/copies.ts';
import { reconcileSnapshot } from './snapshot/reconciler.ts';
import { registerTakeovers } from './takeover/metrics.ts';
import { TakeoverReconciler } from './takeover/reconciler.ts';
import {
  allPools,
  copyChanged,
  groupOfSnapshot,
  groupsAfterGroup,
  isDeleted,
  isNew,
  itself,
  nodesHeard,
  nodesOfTakeover,
  placeChanged,
  readinessChanged,
  snapshotOfSource,
  snapshotsAfterNode,
  snapshotsOfGroup,
  snapshotsOfVolume,
  sourceChanged,
  stageChanged,
  takeoverChanged,
  usesOf,
  volumesAfterAoENode,
  volumesAfterNode,
  volumesAfterVolume,
  volumesOf,
  volumesOfInitiator,
  waitingVolumes,
} from './triggers.ts';
import { VolumeReconciler } from './volume/reconciler.ts';
import { Waits } from './volume/waits.ts';

const FLAGS = {
  shelves: {
    default: '1-255',
    help: 'range of shelves from which addresses are given, A-B',
    parse: (text: string) => new AddressRange(text),
  },
  namespace: { default: 'aoe-csi', help: 'namespace of the leader election Lease' },
  identity: { default: '', help: 'name of this operator in the Lease; the pod name when empty' },
  'agent-silence': {
    default: '300',
    help: 'seconds without a report after which an agent counts as gone, and its node gets no new volumes',
    parse: seconds,
  },
  'takeover-after': {
    default: '',
    help: `silence, such as 30s, after which the Exclusive volumes of a node that is not Ready are taken over; ${NEVER}: only volumes with a spec.takeoverAfter; empty: none at all`,
    parse: (text: string) => (text === '' ? undefined : { afterMs: parseTakeoverAfter(text) }),
  },
  kubeconfig: { default: '', help: 'kubeconfig file; the service account when empty' },
  http: { default: ':9808', help: 'address of health and metrics, HOST:PORT' },
} as const;

/**
 * Twice client-go's defaults. On a slow node that is busy this program may get no CPU for ten seconds; with the defaults it then lost
 * the Lease and ended, and its start took longer than that. The price: after a crash of its node another replica waits for 30 s.
 */
const LEASE = { leaseDurationMs: 30_000, renewDeadlineMs: 20_000, retryPeriodMs: 4_000 };

/** How many volumes are reconciled at once: each waits for the API server most of the time. */
const VOLUMES_AT_ONCE = 8;
/** After a change of a storage node each of its snapshots is written, and a new one is not to wait for all of them. */
const SNAPSHOTS_AT_ONCE = 8;
const GROUPS_AT_ONCE = 4;
/** Nodes that are silent at once. */
const TAKEOVERS_AT_ONCE = 4;

await main('aoe-csi-operator', FLAGS, async ({ config, env, log, signal }) => {
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi-operator' });
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
  const groups = new Informer<AoESnapshotGroup>(kube, AOE_SNAPSHOT_GROUPS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const kubeNodes = new Informer<KubeNode>(kube, NODES);
  const stores = { volumes, pools, snapshots, groups, nodes, kubeNodes };
  // Before the controllers, which read them after each change.
  const [byClaim, byUse] = [new Index(volumes, claimsOf), new Index(volumes, usesOf)];
  const [placed, moving] = [new Sums(volumes, reservationOf), new Sums(volumes, moveReservationOf)];
  const sizes = { total: (key: string, grain: number, each?: number) => placed.total(key, grain, each) + moving.total(key, grain, each) };
  const copies = new SnapshotCopies({ snapshots, volumes, pools, bySource: new Index(volumes, sourceOf) });
  const triggered = { byUse, pools };
  const informers = [volumes, pools, snapshots, groups, nodes, kubeNodes];
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-operator` });
  const agents = new AgentLiveness({ limitMs: config['agent-silence'] });
  // Subscribed before the controllers: predicate nodeNews asks for what is noted here.
  nodes.subscribe(({ type, object }) => (type === 'deleted' ? agents.forget(object.metadata.name) : agents.heard(object)));
  const waits = new Waits();
  volumes.subscribe((change) => waits.note(change));
  const nodeNews = {
    when: (change: Change<AoENode>) => isMoreThanHeartbeat(change) || agents.endedSilence(change.object.metadata.name),
  };

  const parts = { ...stores, kube, agents, events, log };
  const reconciler = new VolumeReconciler({ ...parts, byClaim, sizes, copies, range: config.shelves });
  const snapshotParts = { ...parts, copies, newCopyAddress: () => reconciler.newCopyAddress() };
  const groupWork = new GroupReconciler(parts);
  const shared = { log, metrics: controllerMetrics(RECONCILE_RESULTS) };
  const controllers = [
    new Controller({ ...shared, name: 'volumes', concurrency: VOLUMES_AT_ONCE, reconcile: (key, stop) => reconciler.reconcile(key, stop) })
      .watch(volumes, { keys: (change) => volumesAfterVolume(change, triggered) })
      .watch(pools, { keys: () => waitingVolumes(triggered) })
      .watch(snapshots, { when: sourceChanged, keys: () => waitingVolumes(triggered) })
      .watch(nodes, { ...nodeNews, keys: (change) => volumesAfterAoENode(change, triggered) })
      .watch(kubeNodes, { when: readinessChanged, keys: (change) => volumesAfterNode(change, triggered) })
      .watch(kubeNodes, { when: labelsChanged, keys: () => waitingVolumes(triggered) }),
    new Controller({
      ...shared,
      name: 'snapshots',
      concurrency: SNAPSHOTS_AT_ONCE,
      reconcile: (key, stop) => reconcileSnapshot(snapshotParts, key, stop),
    })
      .watch(snapshots, { keys: itself })
      .watch(groups, { when: stageChanged, keys: (change) => snapshotsOfGroup(change, { snapshots }) })
      .watch(volumes, { when: placeChanged, keys: (change) => snapshotsOfVolume(change, { snapshots }) })
      .watch(volumes, { when: copyChanged, keys: snapshotOfSource })
      .watch(nodes, { ...nodeNews, keys: (change) => snapshotsAfterNode(change, { snapshots }) })
      .watch(kubeNodes, { when: readinessChanged, keys: (change) => snapshotsAfterNode(change, { snapshots }) }),
    // Volumes are held meanwhile: no group waits for the calls of another one.
    new Controller({ ...shared, name: 'groups', concurrency: GROUPS_AT_ONCE, reconcile: (key, stop) => groupWork.reconcile(key, stop) })
      .watch(groups, { keys: (change) => groupsAfterGroup(change, { groups }) })
      .watch(snapshots, { keys: groupOfSnapshot })
      .needs(volumes)
      .needs(nodes)
      .needs(kubeNodes),
    new Controller({ ...shared, name: 'pools', reconcile: (key, stop) => reconcilePool(parts, key, stop) })
      .watch(pools, { keys: itself })
      .watch(nodes, { ...nodeNews, keys: () => allPools(triggered) })
      .watch(kubeNodes, { when: labelsChanged, keys: () => allPools(triggered) }),
    new Controller({ ...shared, name: 'owners', reconcile: (key, stop) => reconcileOwner(parts, key, stop) })
      .watch(nodes, { ...nodeNews, keys: itself })
      .watch(kubeNodes, { when: isNew, keys: itself }),
    new Controller({ ...shared, name: 'gone-nodes', reconcile: (key, stop) => removeGoneNodes(parts, key, stop) })
      .watch(volumes, { keys: itself })
      .watch(nodes, { ...nodeNews, keys: (change) => volumesOfInitiator(change, triggered) })
      .watch(kubeNodes, { when: isDeleted, keys: (change) => volumesOfInitiator(change, triggered) }),
  ];
  const ours = new Lead();
  const automatic = config['takeover-after'];
  if (automatic) {
    const ofNode = (node: string) => volumesOf(node, triggered);
    const takeover = new TakeoverReconciler({ ...parts, ...automatic, volumesOf: ofNode });
    // Subscribed before the controller.
    kubeNodes.subscribe((change) => takeover.note(change));
    registerTakeovers(takeover, ours);
    controllers.push(
      new Controller({
        ...shared,
        name: 'takeover',
        concurrency: TAKEOVERS_AT_ONCE,
        reconcile: (key, stop) => takeover.reconcile(key, stop),
      })
        .watch(kubeNodes, { when: readinessChanged, keys: itself })
        .watch(nodes, { keys: nodesHeard })
        .watch(volumes, { when: takeoverChanged, keys: nodesOfTakeover }),
    );
  }
  registerLead(ours);
  registerStorageNodes(parts, ours);
  countVolumes({ volumes, waits }, ours);

  const identity = config.identity || env.podName || `operator-${process.pid}`;
  const elector = new LeaseElector(kube, { namespace: config.namespace, name: 'aoe-csi-operator', identity, ...LEASE });
  const synced = Promise.all(informers.map((informer) => informer.synced));
  await Promise.all([
    serveHealth(config.http, { synced }, signal, log, {
      hung: () => controllers.map(({ hung }) => hung).find((each) => each !== undefined),
    }),
    ...informers.map((informer) => informer.run(signal)),
    elector.run(signal, (leading) => lead({ informers, controllers, ours }, leading)),
  ]);
});
