import { mkdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, csi, type Handlers, int64, type pluginregistration, RpcError } from '../../../../rpc/mod.ts';
import { DRIVER } from './driver.ts';
import { bindMount, unmount } from './mount.ts';

const { Type: PluginType } = csi.v1.PluginCapability.Service;
const { Type: ControllerType } = csi.v1.ControllerServiceCapability.RPC;

/** One segment for the whole cluster, as on the test bed. */
const TOPOLOGY = { segments: { [`${DRIVER}/segment`]: 'all' } };
const CAPACITY = 2 ** 40;

async function absent(): Promise<never> {
  throw new RpcError(Code.UNIMPLEMENTED, 'the do-nothing driver cannot do this');
}

export function identity(): Handlers<csi.v1.Identity> {
  return {
    getPluginInfo: async () => ({ name: DRIVER, vendorVersion: '1' }),
    getPluginCapabilities: async () => ({
      capabilities: [PluginType.CONTROLLER_SERVICE, PluginType.VOLUME_ACCESSIBILITY_CONSTRAINTS].map((type) => ({ service: { type } })),
    }),
    probe: async () => ({ ready: { value: true } }),
  };
}

/** Volumes are names; making, attaching and removing one is an answer. */
export function controller(): Handlers<csi.v1.Controller> {
  const capabilities = [ControllerType.CREATE_DELETE_VOLUME, ControllerType.PUBLISH_UNPUBLISH_VOLUME, ControllerType.GET_CAPACITY];
  return {
    createVolume: async ({ name = null, capacityRange }) => ({
      volume: { volumeId: name, capacityBytes: capacityRange?.requiredBytes ?? int64(0), accessibleTopology: [TOPOLOGY] },
    }),
    deleteVolume: async () => ({}),
    controllerPublishVolume: async () => ({}),
    controllerUnpublishVolume: async () => ({}),
    validateVolumeCapabilities: async ({ volumeCapabilities = null }) => ({ confirmed: { volumeCapabilities } }),
    getCapacity: async () => ({ availableCapacity: int64(CAPACITY) }),
    controllerGetCapabilities: async () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
    listVolumes: absent,
    controllerGetVolume: absent,
    createSnapshot: absent,
    deleteSnapshot: absent,
    listSnapshots: absent,
    getSnapshot: absent,
    controllerExpandVolume: absent,
    controllerModifyVolume: absent,
    controllerListVolumeHealth: absent,
    controllerGetVolumeHealth: absent,
  };
}

/** A volume is a directory below `directory`, made where it is used and bound to where the pod wants it. */
export function node(nodeName: string, directory: string): Handlers<csi.v1.Node> {
  const pathOf = (volumeId: string | null | undefined): string => {
    if (!volumeId || volumeId.includes('/')) throw new RpcError(Code.INVALID_ARGUMENT, `"${volumeId}" is no volume_id`);
    return join(directory, volumeId);
  };
  return {
    nodeGetInfo: async () => ({ nodeId: nodeName, accessibleTopology: TOPOLOGY }),
    nodeGetCapabilities: async () => ({}),
    nodePublishVolume: async ({ volumeId, targetPath }) => {
      const source = pathOf(volumeId);
      await mkdir(source, { recursive: true });
      await mkdir(targetPath ?? '', { recursive: true });
      bindMount(source, targetPath ?? '');
      return {};
    },
    nodeUnpublishVolume: async ({ volumeId, targetPath }) => {
      unmount(targetPath ?? '');
      await rmdir(targetPath ?? '').catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
      await rm(pathOf(volumeId), { recursive: true, force: true });
      return {};
    },
    nodeStageVolume: absent,
    nodeUnstageVolume: absent,
    nodeGetVolumeStats: absent,
    nodeExpandVolume: absent,
    nodeGetVolumeHealth: absent,
    nodeGetStorageHealth: absent,
  };
}

/** The kubelet's registration service (pluginregistration v1). */
export function registration(endpoint: string): Handlers<pluginregistration.Registration> {
  return {
    getInfo: async () => ({ type: 'CSIPlugin', name: DRIVER, endpoint, supportedVersions: ['1.0.0'] }),
    notifyRegistrationStatus: async () => ({}),
  };
}
