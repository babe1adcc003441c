import type { AoEPool } from '../../api/pool.ts';
import { SILENT } from '../../kube/client/types.ts';
import { aoeBlocks, Code, fromInt64, int64, RpcClient } from '../../rpc/mod.ts';
import { type Backend, BackendError } from '../backends/backend.ts';
import type { Blocks, Range } from '../backends/blocks.ts';
import { Callers } from './caller.ts';
import { selfSigned } from './certificate.ts';
import { BlocksServer } from './server.ts';
import type { TokenReview } from './token-review.ts';

const { v1 } = aoeBlocks.blocks;
const USER = 'system:serviceaccount:aoe-csi:aoe-csi-controller';
const pool = { metadata: { name: 'thin' } } as AoEPool;

/** What the API server knows about tokens: TOKEN → user and audiences. */
const TOKENS: Record<string, TokenReview['status']> = {
  good: { authenticated: true, user: { username: USER }, audiences: ['aoe.dev/agent'] },
  'of a pod': { authenticated: true, user: { username: 'system:serviceaccount:default:default' }, audiences: ['aoe.dev/agent'] },
  'for the API server': { authenticated: false, error: 'token audiences do not match' },
  'without audience': { authenticated: true, user: { username: USER }, audiences: [] },
};

/** One range after the other, for as long as it is read. */
async function* endless(state: { isOpen: boolean }, signal: AbortSignal): AsyncGenerator<readonly Range[]> {
  state.isOpen = true;
  try {
    for (let at = 0; !signal.aborted; at += 2) {
      yield Array.from({ length: 500 }, (_, each) => ({ offset: at * 500 + each * 2, bytes: 1 }));
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    state.isOpen = false;
  }
}

describe('the service for blocks of snapshots', () => {
  const stop = new AbortController();
  const state = { isOpen: false };
  const blocks: Blocks = {
    async *allocated(uid) {
      if (uid !== 's-1') throw new BackendError('SnapshotLost', `${uid} is not there`);
      yield [{ offset: 0, bytes: 4096 }];
      yield [{ offset: 4096, bytes: 4096 }];
      yield [{ offset: 16_384, bytes: 4096 }];
    },
    changed: (_base, _uid, _from, signal) => endless(state, signal),
  };
  const known: Record<string, AoEPool> = { thin: pool, thick: { metadata: { name: 'thick' } } as AoEPool };
  const kube = {
    create: async (_type: unknown, review: TokenReview) => {
      if (review.spec.token === 'while it is away') throw new Error('the API server is away');
      return { ...review, status: TOKENS[review.spec.token] ?? { authenticated: false } };
    },
  };
  const server = new BlocksServer({
    node: 'storage-1',
    listen: '127.0.0.1:0',
    pools: { get: (name) => known[name], synced: Promise.resolve() },
    backendOf: ({ metadata }) => ({ snapshots: metadata.name === 'thin' ? { blocks } : {} }) as unknown as Backend,
    callers: new Callers({ kube: kube as never, user: USER }),
    log: SILENT,
  });
  let running: Promise<void>;
  const clients: RpcClient<aoeBlocks.blocks.v1.Blocks>[] = [];
  const client = (token = 'good', certificate = server.address?.certificate ?? '') => {
    const made = new RpcClient(v1.Blocks, v1, { host: '127.0.0.1', port: server.address?.port ?? 0, certificate, token });
    clients.push(made);
    return made;
  };
  const list = async (made: ReturnType<typeof client>, request: object = { pool: 'thin', snapshotUid: 's-1' }): Promise<number[][]> => {
    const found: number[][] = [];
    for await (const { ranges } of made.stream('list', v1.ListRequest.create(request), { timeoutMs: 10_000 })) {
      found.push(...(ranges ?? []).map(({ offset, bytes }) => [fromInt64(offset), fromInt64(bytes)]));
    }
    return found;
  };

  beforeAll(async () => {
    await new Promise<void>((resolve) => {
      running = server.run(stop.signal, resolve);
    });
  });
  afterAll(async () => {
    for (const each of clients) each.close();
    stop.abort();
    await running;
  });

  it('tells its caller over TLS, with the certificate that it has named', async () => {
    expect(await list(client())).toStrictEqual([
      [0, 8192],
      [16_384, 4096],
    ]);
    expect(await list(client(), { pool: 'thin', snapshotUid: 's-1', from: int64(8192) })).toStrictEqual([[16_384, 4096]]);
  });

  it('is not called by who does not trust its certificate', async () => {
    await expect(list(client('good', selfSigned('aoe-csi-agent storage-1').certificate))).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  });

  it.each([
    ['', Code.UNAUTHENTICATED],
    ['nonsense', Code.UNAUTHENTICATED],
    ['for the API server', Code.UNAUTHENTICATED],
    ['without audience', Code.UNAUTHENTICATED],
    ['of a pod', Code.PERMISSION_DENIED],
    ['while it is away', Code.UNAVAILABLE],
  ])('refuses the token "%s"', async (token, code) => {
    await expect(list(client(token))).rejects.toMatchObject({ code });
  });

  it('says what it does not have', async () => {
    await expect(list(client(), { pool: 'thin', snapshotUid: 's-2' })).rejects.toMatchObject({
      code: Code.NOT_FOUND,
      message: 'node storage-1, pool thin: s-2 is not there',
    });
    await expect(list(client(), { pool: 'other', snapshotUid: 's-1' })).rejects.toMatchObject({ code: Code.NOT_FOUND });
    await expect(list(client(), { pool: 'thick', snapshotUid: 's-1' })).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION });
  });

  it('stops reading when the caller leaves in the middle', async () => {
    const made = client();
    for await (const { ranges } of made.stream('list', v1.ListRequest.create({ pool: 'thin', snapshotUid: 's-2', baseUid: 's-1' }))) {
      expect(ranges).toHaveLength(1000);
      expect(state.isOpen).toBe(true);
      break;
    }
    for (const limit = Date.now() + 20_000; state.isOpen && Date.now() < limit; ) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(state.isOpen).toBe(false);
  });
});
