import { readFile } from 'node:fs/promises';
import type { KubeNode } from '../../../api/kube-node.ts';
import type { AoENode } from '../../../api/node.ts';
import { messageOf, type Store } from '../../../kube/mod.ts';
import { aoeBlocks, Code, fromInt64, int64, RpcClient, RpcError } from '../../../rpc/mod.ts';
import type { Range } from './ranges.ts';

const { v1 } = aoeBlocks.blocks;

/** The longest time that a list takes, in milliseconds: an agent ends it earlier. */
const LIST_MS = 40 * 60_000;

export interface BlocksQuery {
  /** Storage node that has the snapshots. */
  readonly node: string;
  readonly pool: string;
  /** metadata.uid of the AoESnapshots. Without a base: what was written of the snapshot. */
  readonly snapshotUID: string;
  readonly baseUID?: string;
  /** Byte of the disk: what ends before it may be left out. */
  readonly from: number;
}

export interface AgentsOptions {
  readonly nodes: Pick<Store<AoENode>, 'get'>;
  readonly kubeNodes: Pick<Store<KubeNode>, 'get'>;
  /** File with our token for agents, which the kubelet renews. */
  readonly tokenFile: string;
}

/** Asks the agents of storage nodes which blocks of snapshots were written, or have changed. */
export class Agents {
  readonly #options: AgentsOptions;

  constructor(options: AgentsOptions) {
    this.#options = options;
  }

  /**
   * Ranges of the disk, in ascending order and without overlap. Some may begin before the first byte that is asked for, or end behind the disk.
   * @throws RpcError, while it is iterated over: NOT_FOUND, FAILED_PRECONDITION, UNAVAILABLE
   */
  async *list({ node, pool, snapshotUID, baseUID = '', from }: BlocksQuery, signal: AbortSignal): AsyncGenerator<readonly Range[]> {
    const client = new RpcClient(v1.Blocks, v1, await this.#addressOf(node));
    const request = v1.ListRequest.create({ pool, snapshotUid: snapshotUID, baseUid: baseUID, from: int64(from) });
    try {
      for await (const { ranges } of client.stream('list', request, { signal, timeoutMs: LIST_MS })) {
        yield (ranges ?? []).map(({ offset, bytes }) => ({ offset: fromInt64(offset), bytes: fromInt64(bytes) }));
      }
    } catch (error) {
      throw translated(node, error);
    } finally {
      client.close();
    }
    // The end of a stream that the caller has left is not the end of the ranges.
    signal.throwIfAborted();
  }

  /** @throws RpcError UNAVAILABLE */
  async #addressOf(node: string): Promise<{ host: string; port: number; certificate: string; token: string }> {
    const { nodes, kubeNodes, tokenFile } = this.#options;
    const blocks = nodes.get(node)?.status?.blocks;
    if (!blocks) {
      const what = 'does not say where its agent can be asked for blocks: look at its agent, and at status.blocks of its AoENode';
      throw new RpcError(Code.UNAVAILABLE, `node ${node} ${what}`);
    }
    const host = kubeNodes.get(node)?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
    if (!host)
      throw new RpcError(Code.UNAVAILABLE, `node ${node} has no address of type InternalIP, so its agent cannot be asked for blocks`);
    try {
      return { host, ...blocks, token: (await readFile(tokenFile, 'utf8')).trim() };
    } catch (error) {
      throw new RpcError(Code.UNAVAILABLE, `the token for agents cannot be read: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** What an agent, or the way to it, answered, as our caller is to understand it. Only these codes say something about its request. */
function translated(node: string, error: unknown): RpcError {
  const kept: Code[] = [Code.NOT_FOUND, Code.FAILED_PRECONDITION];
  const code = error instanceof RpcError && kept.includes(error.code) ? error.code : Code.UNAVAILABLE;
  return new RpcError(code, `the agent of node ${node}: ${messageOf(error)}`, { cause: error });
}
