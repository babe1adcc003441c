import { SEGMENT_KEY } from '../../api/meta.ts';
import { messageOf } from '../../kube/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Semaphore } from '../../run/semaphore.ts';
import { publish, unpublish } from './calls/publish.ts';
import {
  NodeCapability,
  type PublishRequest,
  type StageRequest,
  type StatsRequest,
  type UnpublishRequest,
  type UnstageRequest,
} from './calls/requests.ts';
import { stage } from './calls/stage.ts';
import { stats } from './calls/stats.ts';
import { unstage } from './calls/unstage.ts';
import type { Deps } from './deps.ts';

/** The kubelet gives a call two minutes; each of ours ends before, with a message of its own. */
const CALL_MS = 110_000;
/**
 * The driver has 2^20 minor numbers, 16 for each disk (aoe_dyndevs=1, its default since Linux 3.7). It makes a disk of every
 * target on the segment, used here or not, so this is the true limit for all volumes of a segment, too.
 */
const MAX_VOLUMES = 2 ** 16;

export interface CallContext {
  readonly signal?: AbortSignal | undefined;
}

/** The CSI node service. Every method fails with a RpcError and nothing else. */
export function nodeService(deps: Deps, { segment, diskThreads }: { segment: string; diskThreads: Semaphore }) {
  const call = async <T>(name: string, context: CallContext | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const limit = AbortSignal.timeout(CALL_MS);
    const signal = context?.signal ? AbortSignal.any([context.signal, limit]) : limit;
    try {
      return await work(signal);
    } catch (error) {
      // What was cut short may still be under way: to the kubelet INTERNAL says that nothing was done.
      const code = signal.aborted ? Code.DEADLINE_EXCEEDED : Code.INTERNAL;
      if (error instanceof RpcError && (error.code !== Code.INTERNAL || code === error.code)) throw error;
      throw new RpcError(code, `${name} on node ${deps.nodeName}: ${messageOf(error)}`, { cause: error });
    }
  };
  return {
    nodeGetInfo: async () => ({
      nodeId: deps.nodeName,
      maxVolumesPerNode: MAX_VOLUMES,
      accessibleTopology: { segments: { [SEGMENT_KEY]: segment } },
    }),
    nodeGetCapabilities: async () => ({ capabilities: Object.values(NodeCapability).map((type) => ({ rpc: { type } })) }),
    nodeStageVolume: (request: StageRequest, context?: CallContext) =>
      call('NodeStageVolume', context, async (signal) => {
        await stage(deps, request, signal);
        return {};
      }),
    nodeUnstageVolume: (request: UnstageRequest, context?: CallContext) =>
      call('NodeUnstageVolume', context, async (signal) => {
        await unstage(deps, request, signal);
        return {};
      }),
    nodePublishVolume: (request: PublishRequest, context?: CallContext) =>
      call('NodePublishVolume', context, async (signal) => {
        await publish(deps, request, signal);
        return {};
      }),
    nodeUnpublishVolume: (request: UnpublishRequest, context?: CallContext) =>
      call('NodeUnpublishVolume', context, async (signal) => {
        await unpublish(deps, request, signal);
        return {};
      }),
    nodeExpandVolume: async () => {
      throw new RpcError(Code.UNIMPLEMENTED, 'volumes cannot be expanded yet');
    },
    nodeGetVolumeStats: (request: StatsRequest, context?: CallContext) =>
      call('NodeGetVolumeStats', context, (signal) => stats(deps, diskThreads, request, signal)),
  };
}
export type NodeService = ReturnType<typeof nodeService>;
