import { setTimeout as delay } from 'node:timers/promises';
import { segmentOf } from '../../api/node.ts';
import { NODES } from '../../api/resources.ts';
import type { Kube, KubeObject } from '../../kube/mod.ts';
import { csi, RpcServer } from '../../rpc/mod.ts';
import { serveHealth } from '../../run/health.ts';
import type { Logger } from '../../run/log.ts';
import { identityService } from '../identity.ts';
import type { ModuleParameters } from './disk/module-parameters.ts';
import { forbidCoreDumps } from './encryption/no-core-dumps.ts';
import { createFreezes } from './freeze/create.ts';
import { createNodePlugin } from './plugin.ts';

export interface NodeOptions {
  readonly kube: Kube;
  readonly nodeName: string;
  /** Path of the CSI socket. */
  readonly socket: string;
  readonly kubeletPath: string;
  readonly interfaces: string;
  readonly moduleParameters: ModuleParameters;
  /** Seconds between two heartbeats to the targets; 0: none. */
  readonly heartbeatSeconds: number;
  /** After this time a freeze of a file system ends by itself, in milliseconds. */
  readonly freezeLimitMs: number;
  readonly http: string;
  readonly version: string;
  readonly log: Logger;
}

const RETRY_MS = 1_000;

/** The Node of this node. It is read again and again until the API server answers and has it. */
async function ownNode(kube: Kube, name: string, log: Logger, signal: AbortSignal): Promise<KubeObject> {
  for (;;) {
    try {
      const node = await kube.get<KubeObject>(NODES, name, { signal });
      if (node) return node;
      log.warn({ node: name }, 'this Node does not exist yet');
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn({ node: name, error }, 'cannot read the Node');
    }
    await delay(RETRY_MS, undefined, { signal });
  }
}

/** Serves Identity and Node, registers with the kubelet, and keeps the AoENode, until the signal is aborted. */
export async function runNode(options: NodeOptions, signal: AbortSignal): Promise<void> {
  const { kube, nodeName, socket, kubeletPath, interfaces, moduleParameters, heartbeatSeconds, freezeLimitMs, http, version, log } =
    options;
  forbidCoreDumps();
  let ready = false;
  const health = serveHealth(http, { registered: () => (ready ? undefined : 'waiting for the Node object') }, signal, log);
  // Whatever an earlier process has left frozen must not wait for the API server.
  const freezes = createFreezes({ kubeletPath, limitMs: freezeLimitMs, log });
  await freezes.recover(signal);
  const { metadata } = await ownNode(kube, nodeName, log, signal);
  const segment = segmentOf(undefined, metadata.labels);
  const settings = { interfaces, kubeletPath, moduleParameters, heartbeatSeconds, freezes };
  const plugin = createNodePlugin({ nodeName, nodeUID: metadata.uid ?? '', segment, kube, ...settings, log });
  const services = new RpcServer({ socket, log });
  services.add(
    csi.v1.Identity,
    csi.v1,
    identityService(version, () => ready),
  );
  services.add(csi.v1.Node, csi.v1, plugin.node);
  await services.start();
  ready = true;
  try {
    await Promise.all([health, plugin.run(signal)]);
  } finally {
    await freezes.stop();
  }
  await services.stop();
}
