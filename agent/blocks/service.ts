import type { AoEPool } from '../../api/pool.ts';
import { type Log, messageOf, type Store } from '../../kube/mod.ts';
import { aoeBlocks, type CallContext, Code, fromInt64, type Handlers, int64, RpcError } from '../../rpc/mod.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import { type Range, RangeJoiner } from '../backends/blocks.ts';
import type { Callers } from './caller.ts';

const { v1 } = aoeBlocks.blocks;
type Blocks = aoeBlocks.blocks.v1.Blocks;
type ListRequest = aoeBlocks.blocks.v1.IListRequest;

/** Streams at a time, those that wait for their turn included. */
const STREAMS_AT_ONCE = 32;
/** The longest time that a stream may take, in milliseconds: who needs longer goes on with the next one. */
const STREAM_MS = 30 * 60_000;
/** Ranges in a message: some 20 KiB. */
const RANGES_AT_ONCE = 1_000;

export interface BlocksServiceOptions {
  /** Name of this node. */
  node: string;
  pools: Pick<Store<AoEPool>, 'get'>;
  backendOf: (pool: AoEPool) => Backend;
  callers: Pick<Callers, 'check'>;
  log: Pick<Log, 'info'>;
}

export const BLOCKS_SERVICE = [v1.Blocks, v1] as const;

/** The agent's service for the CSI controller: which blocks of a snapshot were written, or have changed. */
export function blocksService(options: BlocksServiceOptions): Handlers<Blocks> {
  let streams = 0;
  const list = async function* (request: ListRequest, { signal, token }: CallContext) {
    await options.callers.check(token, signal);
    if (streams >= STREAMS_AT_ONCE)
      throw new RpcError(Code.RESOURCE_EXHAUSTED, `node ${options.node} already lists the blocks of ${streams} snapshots`);
    streams++;
    try {
      yield* answer(options, request, AbortSignal.any([signal, AbortSignal.timeout(STREAM_MS)]));
    } finally {
      streams--;
    }
  };
  return { list };
}

async function* answer({ node, pools, backendOf, log }: BlocksServiceOptions, request: ListRequest, signal: AbortSignal) {
  const name = request.pool ?? '';
  const [snapshotUid, baseUid] = [request.snapshotUid ?? '', request.baseUid ?? ''];
  const from = fromInt64(request.from);
  const pool = pools.get(name);
  if (!pool) throw new RpcError(Code.NOT_FOUND, `node ${node} does not know AoEPool ${name}`);
  const blocks = backendOf(pool).snapshots?.blocks;
  if (!blocks) throw new RpcError(Code.FAILED_PRECONDITION, `pool ${name} does not know which blocks of a snapshot were written`);
  try {
    const ranges = baseUid === '' ? blocks.allocated(snapshotUid, from, signal) : blocks.changed(baseUid, snapshotUid, from, signal);
    const joiner = new RangeJoiner();
    let ready: Range[] = [];
    for await (const some of ranges) {
      for (const range of some) if (range.offset + range.bytes > from) ready.push(...joiner.add(range));
      for (; ready.length >= RANGES_AT_ONCE; ready = ready.slice(RANGES_AT_ONCE)) yield message(ready.slice(0, RANGES_AT_ONCE));
    }
    signal.throwIfAborted();
    ready.push(...joiner.end());
    if (ready.length > 0) yield message(ready);
  } catch (error) {
    log.info({ pool: name, snapshot: snapshotUid, base: baseUid, error: messageOf(error) }, 'blocks were not all listed');
    throw new RpcError(codeOf(error), `node ${node}, pool ${name}: ${messageOf(error)}`, { cause: error });
  }
}

function message(ranges: readonly Range[]) {
  return { ranges: ranges.map(({ offset, bytes }) => ({ offset: int64(offset), bytes: int64(bytes) })) };
}

function codeOf(error: unknown): Code {
  return error instanceof BackendError && error.reason === 'SnapshotLost' ? Code.NOT_FOUND : Code.UNAVAILABLE;
}
