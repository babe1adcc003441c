import { join } from 'node:path';
import { listInterfaces, selectInterfaces } from '../../aoe/mod.ts';
import { INITIATOR_END } from '../../api/local-link.ts';
import { DRIVER_NAME, GROUP } from '../../api/meta.ts';
import { EventRecorder, type Kube, type Log } from '../../kube/mod.ts';
import type { csi, Handlers, pluginregistration } from '../../rpc/mod.ts';
import { exec } from '../../run/exec.ts';
import { Semaphore } from '../../run/semaphore.ts';
import { BusyVolumes } from '../busy-volumes.ts';
import { registrationService } from './calls/registration.ts';
import { keepNodeObject } from './cluster/node-object.ts';
import { KubeVolumes } from './cluster/volumes.ts';
import type { Driver } from './contracts.ts';
import { KernelDriver } from './disk/kernel-driver.ts';
import { SystemMounter } from './disk/mounts.ts';
import { SystemFilesystems } from './filesystem/tools.ts';
import { SocketWire } from './lock/wire.ts';
import { StagedVolumes } from './record/staged-volumes.ts';
import { nodeService } from './service.ts';
import { DepartedDisks } from './upkeep/departed-disks.ts';
import { StaleSweep } from './upkeep/lost-volumes.ts';

/** Half of Node's thread pool: file operations on disks may hang there. */
const DISK_THREADS = 2;

export interface NodePluginOptions {
  readonly nodeName: string;
  /** metadata.uid of the Node. */
  readonly nodeUID: string;
  /** L2 segment: the Node label aoe.dev/segment, or "default". */
  readonly segment: string;
  readonly kube: Kube;
  /** `auto`, or names separated by commas. */
  readonly interfaces: string;
  /** The kubelet's directory, such as /var/lib/kubelet. */
  readonly kubeletPath: string;
  readonly log: Log;
  /** The kernel's driver when absent. */
  readonly driver?: Driver;
}

/** Answers hold 64-bit fields as plain numbers: protobufjs writes them, though its types ask for Long. */
type AnyAnswer<H> = { [K in keyof H]: H[K] extends (...args: infer Args) => Promise<unknown> ? (...args: Args) => Promise<object> : never };

/**
 * The node plugin: handlers for the CSI Node service and for the kubelet's Registration service, and a task that keeps
 * the AoENode up to date.
 */
export function createNodePlugin({
  nodeName,
  nodeUID,
  segment,
  kube,
  interfaces,
  kubeletPath,
  log,
  driver: givenDriver,
}: NodePluginOptions) {
  const diskThreads = new Semaphore(DISK_THREADS);
  const driver = givenDriver ?? new KernelDriver(exec, diskThreads);
  const directory = join(kubeletPath, 'plugins', DRIVER_NAME);
  const own = async () => {
    const { found, missing } = await selectInterfaces(interfaces);
    return { found: found.filter((each) => each.name !== INITIATOR_END), missing };
  };
  const names = async () => {
    const local = (await listInterfaces()).filter((each) => each.name === INITIATOR_END && each.up);
    return [...(await own()).found, ...local].map((each) => each.name);
  };
  const staged = new StagedVolumes(join(directory, 'volumes'));
  const deps = {
    nodeName,
    nodeUID,
    driver,
    filesystems: new SystemFilesystems(exec, diskThreads),
    mounter: new SystemMounter(exec),
    wire: new SocketWire(names),
    volumes: new KubeVolumes(kube),
    staged,
    departed: new DepartedDisks({ driver, staged, log }),
    busy: new BusyVolumes(),
    interfaces: names,
    log,
  };
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-node`, node: nodeName });
  const sweep = new StaleSweep(deps, {
    macs: async () => (await listInterfaces()).map(({ mac }) => mac),
    tell: (volume, message) => events.event(volume, 'Warning', 'StaleMountRemoved', message),
  });
  return {
    node: nodeService(deps, { segment, diskThreads }) satisfies AnyAnswer<Handlers<csi.v1.Node>> as unknown as Handlers<csi.v1.Node>,
    registration: registrationService(join(directory, 'csi.sock'), log) satisfies Handlers<pluginregistration.Registration>,
    /** Runs until the signal is aborted. */
    run: async (signal: AbortSignal): Promise<void> => {
      const nodeObject = keepNodeObject({ nodeName, segment, kube, driver, interfaces: own, interfaceNames: names, log }, signal);
      await Promise.all([nodeObject, sweep.run(signal)]);
    },
  };
}

export { type NodeService, nodeService } from './service.ts';
