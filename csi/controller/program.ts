import { AgentLiveness } from '../../api/agent-liveness.ts';
import { moveReservationOf, reservationOf } from '../../api/capacity.ts';
import { nodeHealth } from '../../api/eligibility.ts';
import type { KubeNode } from '../../api/kube-node.ts';
import { GROUP } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, NODES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { EventRecorder, Informer, type Kube, Sums } from '../../kube/mod.ts';
import { csi, RpcServer } from '../../rpc/mod.ts';
import { serveHealth } from '../../run/health.ts';
import type { Logger } from '../../run/log.ts';
import { BusyVolumes } from '../busy-volumes.ts';
import { identityService } from '../identity.ts';
import { groupControllerService } from './group/service.ts';
import { Agents } from './metadata/agents.ts';
import { snapshotMetadataService } from './metadata/service.ts';
import { controllerService } from './service.ts';
import { UnplacedVolumes } from './unplaced.ts';

export interface ControllerOptions {
  readonly kube: Kube;
  /** Path of the CSI socket. */
  readonly socket: string;
  readonly http: string;
  readonly version: string;
  /** File with our token for agents: then the SnapshotMetadata service is served. Empty: it is not. */
  readonly agentToken: string;
  /** Whether automatic takeover is on. */
  readonly hasAutomaticTakeover: boolean;
  readonly log: Logger;
}

/** Serves Identity and Controller until the signal is aborted. */
export async function runController(
  { kube, socket, http, version, agentToken, hasAutomaticTakeover, log }: ControllerOptions,
  signal: AbortSignal,
): Promise<void> {
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
  const groups = new Informer<AoESnapshotGroup>(kube, AOE_SNAPSHOT_GROUPS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const kubeNodes = new Informer<KubeNode>(kube, NODES);
  const informers = [volumes, pools, snapshots, groups, nodes, kubeNodes];
  const agents = new AgentLiveness();
  nodes.subscribe(({ type, object }) => (type === 'deleted' ? agents.forget(object.metadata.name) : agents.heard(object)));
  const health = nodeHealth(kubeNodes, agents);
  const watching = informers.map((informer) => informer.run(signal));
  const synced = Promise.all(informers.map((informer) => informer.synced));
  let ready = false;
  void synced.then(() => {
    ready = true;
  });
  const [placed, moving] = [new Sums(volumes, reservationOf), new Sums(volumes, moveReservationOf)];
  const reserved = {
    total: (key: string, grain: number, each?: number) => placed.total(key, grain, each) + moving.total(key, grain, each),
  };
  const server = new RpcServer({ socket, log });
  server.add(
    csi.v1.Identity,
    csi.v1,
    identityService(version, () => ready, { snapshotMetadata: agentToken !== '' }),
  );
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-controller` });
  const parts = {
    kube,
    volumes,
    snapshots,
    groups,
    reserved,
    pools,
    nodes,
    health,
    hasAutomaticTakeover,
    events,
    busy: new BusyVolumes(),
    unplaced: new UnplacedVolumes(),
    log,
  };
  server.add(csi.v1.Controller, csi.v1, controllerService(parts));
  server.add(csi.v1.GroupController, csi.v1, groupControllerService(parts));
  if (agentToken !== '') {
    const agents = new Agents({ nodes, kubeNodes, tokenFile: agentToken });
    server.add(csi.v1.SnapshotMetadata, csi.v1, snapshotMetadataService({ ...parts, agents }));
  }
  const served = Promise.withResolvers<void>();
  const serving = (async () => {
    // Not before the stores are filled: ListVolumes would answer that there are no volumes.
    await Promise.race([synced, ...watching]);
    await server.start();
    served.resolve();
    // Until the signal is aborted.
    await Promise.all(watching);
    await server.stop();
  })();
  await Promise.all([serveHealth(http, { synced, served: served.promise }, signal, log), ...watching, serving]);
}
