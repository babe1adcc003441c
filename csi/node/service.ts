import { SEGMENT_KEY } from '../../api/meta.ts';
import { messageOf, type NextCondition } from '../../kube/mod.ts';
import { type CallContext, csi, type Handlers, int64 } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { allocatable } from './calls/allocatable.ts';
import { expand } from './calls/expand.ts';
import { storageHealth, volumeHealth } from './calls/health.ts';
import { publish, unpublish } from './calls/publish.ts';
import { stage } from './calls/stage.ts';
import { stats } from './calls/stats.ts';
import { unstage } from './calls/unstage.ts';
import type { Deps } from './deps.ts';

const { Type } = csi.v1.NodeServiceCapability.RPC;

const CAPABILITIES = [
  Type.STAGE_UNSTAGE_VOLUME,
  Type.EXPAND_VOLUME,
  Type.GET_VOLUME_STATS,
  Type.VOLUME_CONDITION,
  Type.SINGLE_NODE_MULTI_WRITER,
  Type.GET_VOLUME_HEALTH,
  Type.GET_STORAGE_HEALTH,
];
/** The kubelet gives a call two minutes. Each of ours ends before that, with a message of its own. */
const CALL_MS = 110_000;

export interface NodeServiceOptions {
  readonly segment: string;
  readonly hasTopology?: () => boolean;
  readonly storage?: () => NextCondition | undefined;
}

/**
 * The CSI node service. Every method fails with an RpcError and nothing else.
 * @param storage what was found at the last check of driver and interfaces; undefined before the first
 * @param hasTopology false while this node cannot mount volumes: then NodeGetInfo names no segment, and no volume can be used here
 */
export function nodeService(
  deps: Deps,
  { segment, hasTopology = () => true, storage = () => undefined }: NodeServiceOptions,
): Handlers<csi.v1.Node> {
  const call =
    <Request, Answer>(name: string, work: (deps: Deps, request: Request, signal: AbortSignal) => Promise<Answer>) =>
    async (request: Request, context: CallContext): Promise<Answer> => {
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(CALL_MS)]);
      try {
        return await work(deps, request, signal);
      } catch (error) {
        // What was cut short may still be running, and the kubelet takes INTERNAL for "nothing was done".
        const code = signal.aborted ? Code.DEADLINE_EXCEEDED : Code.INTERNAL;
        if (error instanceof RpcError && (error.code !== Code.INTERNAL || code === error.code)) throw error;
        throw new RpcError(code, `${name} on node ${deps.nodeName}: ${messageOf(error)}`, { cause: error });
      }
    };
  /** For a call that answers nothing. */
  const order = <Request>(name: string, work: (deps: Deps, request: Request, signal: AbortSignal) => Promise<void>) =>
    call(name, async (...args: Parameters<typeof work>) => {
      await work(...args);
      return {};
    });
  return {
    nodeGetInfo: async () => ({
      nodeId: deps.nodeName,
      maxVolumesPerNode: int64(await allocatable(deps)),
      ...(hasTopology() ? { accessibleTopology: { segments: { [SEGMENT_KEY]: segment } } } : {}),
    }),
    nodeGetCapabilities: async () => ({ capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })) }),
    nodeStageVolume: order('NodeStageVolume', stage),
    nodeUnstageVolume: order('NodeUnstageVolume', unstage),
    nodePublishVolume: order('NodePublishVolume', publish),
    nodeUnpublishVolume: order('NodeUnpublishVolume', unpublish),
    nodeGetVolumeStats: call('NodeGetVolumeStats', stats),
    nodeExpandVolume: call('NodeExpandVolume', expand),
    nodeGetVolumeHealth: call('NodeGetVolumeHealth', volumeHealth),
    nodeGetStorageHealth: async () => storageHealth(storage()),
  };
}
