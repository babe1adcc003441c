import { csi, type Handlers } from '../../rpc/mod.ts';
import { getCapacity } from './calls/capacity.ts';
import { createVolume } from './calls/create.ts';
import { createSnapshot } from './calls/create-snapshot.ts';
import { deleteVolume } from './calls/delete.ts';
import { deleteSnapshot } from './calls/delete-snapshot.ts';
import { expandVolume } from './calls/expand.ts';
import { getVolumeHealth, listVolumeHealth } from './calls/health.ts';
import { getVolume, listVolumes } from './calls/list.ts';
import { getSnapshot, listSnapshots } from './calls/list-snapshots.ts';
import { modifyVolume } from './calls/modify.ts';
import { publishVolume } from './calls/publish.ts';
import { unpublishVolume } from './calls/unpublish.ts';
import { validateCapabilities } from './calls/validate.ts';
import type { Deps } from './deps.ts';
import { handlerOf } from './handler.ts';

const { Type } = csi.v1.ControllerServiceCapability.RPC;

const CAPABILITIES = [
  Type.CREATE_DELETE_VOLUME,
  Type.PUBLISH_UNPUBLISH_VOLUME,
  Type.LIST_VOLUMES,
  Type.GET_CAPACITY,
  Type.GET_VOLUME,
  Type.EXPAND_VOLUME,
  Type.VOLUME_CONDITION,
  Type.SINGLE_NODE_MULTI_WRITER,
  Type.CREATE_DELETE_SNAPSHOT,
  Type.LIST_SNAPSHOTS,
  Type.GET_SNAPSHOT,
  Type.CLONE_VOLUME,
  Type.GET_VOLUME_HEALTH,
  Type.LIST_VOLUME_HEALTH,
  Type.MODIFY_VOLUME,
];

/** The CSI Controller service. Every method fails with an RpcError and nothing else. */
export function controllerService(deps: Deps): Handlers<csi.v1.Controller> {
  const call = handlerOf(deps);
  return {
    createVolume: call('CreateVolume', createVolume),
    deleteVolume: call('DeleteVolume', deleteVolume),
    controllerPublishVolume: call('ControllerPublishVolume', publishVolume),
    controllerUnpublishVolume: call('ControllerUnpublishVolume', unpublishVolume),
    validateVolumeCapabilities: call('ValidateVolumeCapabilities', validateCapabilities),
    listVolumes: call('ListVolumes', listVolumes),
    getCapacity: call('GetCapacity', getCapacity),
    controllerGetVolume: call('ControllerGetVolume', getVolume),
    controllerGetCapabilities: async () => ({ capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })) }),
    createSnapshot: call('CreateSnapshot', createSnapshot),
    deleteSnapshot: call('DeleteSnapshot', deleteSnapshot),
    listSnapshots: call('ListSnapshots', listSnapshots),
    getSnapshot: call('GetSnapshot', getSnapshot),
    controllerExpandVolume: call('ControllerExpandVolume', expandVolume),
    controllerModifyVolume: call('ControllerModifyVolume', modifyVolume),
    controllerListVolumeHealth: call('ControllerListVolumeHealth', listVolumeHealth),
    controllerGetVolumeHealth: call('ControllerGetVolumeHealth', getVolumeHealth),
  };
}
