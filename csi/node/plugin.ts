import { join } from 'node:path';
import { listInterfaces, selectInterfaces } from '../../aoe/mod.ts';
import { INITIATOR_END } from '../../api/local-link.ts';
import { DRIVER_NAME, GROUP } from '../../api/meta.ts';
import { EventRecorder, type Kube, type Log, type NextCondition } from '../../kube/mod.ts';
import { pluginregistration, RpcServer } from '../../rpc/mod.ts';
import { exec } from '../../run/exec.ts';
import { registrationService } from './calls/registration.ts';
import { claimOf } from './cluster/claim-of.ts';
import { KubeletRegistration } from './cluster/kubelet-registration.ts';
import { keepNodeObject } from './cluster/node-object.ts';
import { KubeVolumeClient } from './cluster/volume-client.ts';
import type { Deps } from './deps.ts';
import { DiskPrograms } from './disk/disk-programs.ts';
import { KernelDriver } from './disk/kernel-driver.ts';
import { LocalDisk } from './disk/local-disk.ts';
import type { ModuleParameters } from './disk/module-parameters.ts';
import { SystemMounter } from './disk/system-mounter.ts';
import { Cryptsetup } from './encryption/cryptsetup.ts';
import { SystemFilesystems } from './filesystem/system-filesystems.ts';
import { answerFreezeRequests } from './freeze/requests.ts';
import type { FreezeSessions } from './freeze/sessions.ts';
import { sendHeartbeats } from './heartbeat/heartbeat.ts';
import { SocketWire } from './lock/wire.ts';
import { FreeSpaceRuns } from './reclaim/runs.ts';
import { zeroFreeSpace } from './reclaim/zero-free-space.ts';
import { StagedVolumes } from './record/staged-volumes.ts';
import { nodeService } from './service.ts';
import { sharedFor } from './shared-for.ts';
import { DownDisks } from './upkeep/down-disks.ts';
import { GrownDisks } from './upkeep/grown-disks.ts';
import { LostVolumes } from './upkeep/lost-volumes.ts';
import { registerDownDisks } from './upkeep/metrics.ts';
import { RemovedDisks } from './upkeep/removed-disks.ts';
import { VolumeJobs } from './volume-jobs.ts';

/** How long a list of the node's interfaces serves. sysfs has several files for each, those of all pods included. */
const INTERFACES_MS = 3_000;

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
  /** Parameters of the kernel's aoe module to set; none when absent. */
  readonly moduleParameters?: ModuleParameters;
  /** Seconds between two heartbeats to the targets. None when absent, or 0. */
  readonly heartbeatSeconds?: number;
  readonly freezes: FreezeSessions;
  readonly log: Log;
}

/**
 * The node plugin: the handlers of the CSI Node service, the registration with the kubelet, and the tasks that keep the AoENode up
 * to date, clean up lost volumes and care for disks that are down.
 */
export function createNodePlugin(options: NodePluginOptions) {
  const { nodeName, nodeUID, segment, kube, interfaces, kubeletPath, moduleParameters, heartbeatSeconds = 0, freezes, log } = options;
  const programs = new DiskPrograms(exec);
  const driver = new KernelDriver(programs.exec, undefined, moduleParameters, (address) => programs.check(address));
  const mounter = new SystemMounter(programs.exec);
  const encryption = new Cryptsetup(programs.exec);
  const directory = join(kubeletPath, 'plugins', DRIVER_NAME);
  const staged = new StagedVolumes(join(directory, 'volumes'));
  const endOwnUse = (address: string) => freeSpace.stop(address);
  const localDisk = (address: string) => new LocalDisk({ driver, encryption, mounter, log, endOwnUse }, address);
  const present = sharedFor(INTERFACES_MS, listInterfaces);
  const ownInterfaces = async () => {
    const { found, missing } = selectInterfaces(await present(), interfaces);
    return { found: found.filter((each) => each.name !== INITIATOR_END), missing };
  };
  const interfaceNames = async () => {
    const local = (await present()).filter((each) => each.name === INITIATOR_END && each.up);
    return [...(await ownInterfaces()).found, ...local].map((each) => each.name);
  };
  const deps: Deps = {
    nodeName,
    nodeUID,
    driver,
    localDisk,
    encryption,
    filesystems: new SystemFilesystems(programs.exec),
    mounter,
    wire: new SocketWire(interfaceNames),
    volumes: new KubeVolumeClient(kube),
    staged,
    removedDisks: new RemovedDisks({ localDisk, staged, log }),
    reclaiming: (address) => freeSpace.written(address),
    freezes,
    jobs: new VolumeJobs(nodeName),
    interfaces: interfaceNames,
    log,
  };
  const events = new EventRecorder(kube, { controller: `${GROUP}/aoe-csi-node`, node: nodeName });
  const freeSpace = new FreeSpaceRuns(deps, {
    zero: (space, options) => zeroFreeSpace(programs.exec, space, options),
    emit: (volume, type, reason, message) => events.event(volume, type, reason, message),
  });
  const grownDisks = new GrownDisks(deps, (volume, message) => events.event(volume, 'Normal', 'DiskGrown', message));
  const macs = async () => (await listInterfaces()).map(({ mac }) => mac);
  const lostVolumes = new LostVolumes(deps, {
    onUsable: (volumeId, record, volume) => {
      void grownDisks.check(volumeId, record, volume);
      void freeSpace.check(volumeId, volume);
    },
    macs,
    emit: (volume, reason, message) => events.event(volume, 'Warning', reason, message),
  });
  const downDisks = new DownDisks(deps, {
    macs,
    deadSeconds: () => driver.deadSeconds(),
    emit: (volume, type, reason, message) => {
      events.event(volume, type, reason, message);
      // Those who run the pods see their claim, and often not the AoEVolume.
      const claim = claimOf(volume);
      if (claim) events.event(claim, type, reason, `AoEVolume ${volume.metadata.name}, ${message}`);
    },
  });
  registerDownDisks(downDisks);
  const registration = new KubeletRegistration({
    server: () =>
      new RpcServer({ socket: join(kubeletPath, 'plugins_registry', `${DRIVER_NAME}-reg.sock`), log }).add(
        pluginregistration.Registration,
        pluginregistration,
        registrationService(join(directory, 'csi.sock'), log),
      ),
    staged,
    log,
  });
  let initiatorReady: NextCondition | undefined;
  return {
    node: nodeService(deps, { segment, hasTopology: () => registration.hasTopology, storage: () => initiatorReady }),
    /** Registers with the kubelet and does all else that no call asks for, until the signal is aborted. Its sockets must be served by then. */
    run: async (signal: AbortSignal): Promise<void> => {
      const stopped = Promise.withResolvers<void>();
      const stop = (): void => {
        deps.jobs.stop();
        stopped.resolve(registration.stop());
      };
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
      const onChecked = (condition: NextCondition) => {
        initiatorReady = condition;
        return registration.update(condition.status === 'True');
      };
      const nodeObject = keepNodeObject(
        { nodeName, segment, kube, driver, interfaces: ownInterfaces, interfaceNames, heartbeatSeconds, log, onChecked },
        signal,
      );
      const heartbeat = sendHeartbeats({ everySeconds: heartbeatSeconds, interfaces: interfaceNames, log }, signal);
      const freezeRequests = answerFreezeRequests({ ...deps, freezes }, kube, signal);
      await Promise.all([nodeObject, heartbeat, lostVolumes.run(signal), downDisks.run(signal), freezeRequests, stopped.promise]);
    },
  };
}
