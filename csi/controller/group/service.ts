import { csi, type Handlers } from '../../../rpc/mod.ts';
import type { Deps } from '../deps.ts';
import { handlerOf } from '../handler.ts';
import { createGroupSnapshot } from './create.ts';
import { deleteGroupSnapshot } from './delete.ts';
import { getGroupSnapshot } from './get.ts';

const { Type } = csi.v1.GroupControllerServiceCapability.RPC;

/** The CSI GroupController service. Every method fails with an RpcError and nothing else. */
export function groupControllerService(deps: Deps): Handlers<csi.v1.GroupController> {
  const call = handlerOf(deps);
  return {
    groupControllerGetCapabilities: async () => ({ capabilities: [{ rpc: { type: Type.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT } }] }),
    createVolumeGroupSnapshot: call('CreateVolumeGroupSnapshot', createGroupSnapshot),
    deleteVolumeGroupSnapshot: call('DeleteVolumeGroupSnapshot', deleteGroupSnapshot),
    getVolumeGroupSnapshot: call('GetVolumeGroupSnapshot', getGroupSnapshot),
  };
}
