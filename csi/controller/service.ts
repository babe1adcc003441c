import { messageOf } from '../../kube/mod.ts';
import { csi, type Handlers } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { getCapacity } from './calls/capacity.ts';
import { createVolume } from './calls/create.ts';
import { createSnapshot } from './calls/create-snapshot.ts';
import { deleteVolume } from './calls/delete.ts';
import { deleteSnapshot } from './calls/delete-snapshot.ts';
import { expandVolume } from './calls/expand.ts';
import { getVolume, listVolumes } from './calls/list.ts';
import { getSnapshot, listSnapshots } from './calls/list-snapshots.ts';
import { publishVolume } from './calls/publish.ts';
import { unpublishVolume } from './calls/unpublish.ts';
import { validateCapabilities } from './calls/validate.ts';
import type { Call, Deps } from './deps.ts';

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
];

/** The CSI Controller service. Every method fails with an RpcError and nothing else. */
export function controllerService(deps: Deps): Handlers<csi.v1.Controller> {
  const call =
    <Request, Answer>(name: string, work: (deps: Deps, request: Request, call: Call) => Promise<Answer> | Answer) =>
    async (request: Request, context: Call): Promise<Answer> => {
      try {
        return await work(deps, request, context);
      } catch (error) {
        if (error instanceof RpcError) throw error;
        if (context.signal.aborted)
          throw new RpcError(Code.DEADLINE_EXCEEDED, `${name}: the caller cancelled the call, or its deadline passed`, { cause: error });
        // The API server does not answer, or this program has a fault. After UNAVAILABLE the caller tries again, and forgets nothing.
        deps.log.warn({ call: name, error }, 'call failed');
        throw new RpcError(Code.UNAVAILABLE, `${name}: ${messageOf(error)}`, { cause: error });
      }
    };
  const unsupportedCall = (what: string) => async (): Promise<never> => {
    throw new RpcError(Code.UNIMPLEMENTED, `${what} is not supported yet`);
  };
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
    controllerModifyVolume: unsupportedCall('ControllerModifyVolume'),
    controllerListVolumeHealth: unsupportedCall('ControllerListVolumeHealth'),
    controllerGetVolumeHealth: unsupportedCall('ControllerGetVolumeHealth'),
  };
}
