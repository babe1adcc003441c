import { AgentLiveness } from '../../api/agent-liveness.ts';
import { reservationOf } from '../../api/capacity.ts';
import { type KubeNode, notReady } from '../../api/kube-node.ts';
import { GROUP } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_SNAPSHOTS, AOE_VOLUMES, NODES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { EventRecorder, Informer, type Kube, Sums } from '../../kube/mod.ts';
import { csi, RpcServer } from '../../rpc/mod.ts';
import { serveHealth } from '../../run/health.ts';
import type { Logger } from '../../run/log.ts';
import { BusyVolumes } from '../busy-volumes.ts';
import { identityService } from '../identity.ts';
import { controllerService } from './service.ts';

export interface ControllerOptions {
  readonly kube: Kube;
  /** Path of the CSI socket. */
  readonly socket: string;
  readonly http: string;
  readonly version: string;
  readonly log: Logger;
}

/** Serves Identity and Controller until the signal is aborted. */
export async function runController({ kube, socket, http, version, log }: ControllerOptions, signal: AbortSignal): Promise<void> {
  const volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
  const pools = new Informer<AoEPool>(kube, AOE_POOLS);
  const snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
  const nodes = new Informer<AoENode>(kube, AOE_NODES);
  const kubeNodes = new Informer<KubeNode>(kube, NODES);
  const informers = [volumes, pools, snapshots, nodes, kubeNodes];
  const agents = new AgentLiveness();
  nodes.subscribe(({ type, object }) => (type === 'deleted' ? agents.forget(object.metadata.name) : agents.heard(object)));
  const health = {
    notReady: (node: string) => notReady(kubeNodes.get(node)),
    silent: (node: AoENode) => agents.silence(node),
  };
  const watching = informers.map((informer) => informer.run(signal));
  const synced = Promise.all(informers.map((informer) => informer.synced));
  let ready = false;
  void synced.then(() => {
    ready = true;
  });
  const reserved = new Sums(volumes, reservationOf);
  const server = new RpcServer({ socket, log });
  server.add(
    csi.v1.Identity,
    csi.v1,
    identityService(version, () => ready),
  );
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-controller` });
  const parts = { kube, volumes, snapshots, reserved, pools, nodes, health, events, busy: new BusyVolumes(), log };
  server.add(csi.v1.Controller, csi.v1, controllerService(parts));
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
