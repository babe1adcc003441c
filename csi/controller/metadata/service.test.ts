import { API_VERSION } from '../../../api/resources.ts';
import type { AoESnapshotStatus } from '../../../api/snapshot.ts';
import { csi, fromInt64, int64 } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { fakeDeps } from '../testing/fake-deps.ts';
import type { BlocksQuery } from './agents.ts';
import type { Range } from './ranges.ts';
import { snapshotMetadataService } from './service.ts';

const MiB = 1 << 20;
const call = { signal: new AbortController().signal, deadline: Number.POSITIVE_INFINITY };

/** Snapshots first and second of one volume, and agents that know what has changed. */
function world({
  backend = 'lvm-thin',
  first = {},
  second = {},
  signal = call.signal,
  failure,
  objects = ['2026-11-01T10:00:00Z', '2026-11-01T11:00:00Z'],
}: {
  backend?: 'lvm' | 'lvm-thin';
  first?: Partial<AoESnapshotStatus>;
  second?: Partial<AoESnapshotStatus>;
  signal?: AbortSignal;
  failure?: Error;
  /** When the two AoESnapshots were created, by the API server's clock. */
  objects?: readonly [string, string];
} = {}) {
  const { api, deps, warnings } = fakeDeps();
  api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'p' }, spec: { backend } } as never);
  const common = { phase: 'Ready', nodeName: 'a', pool: 'p', volumeUID: 'uid-v', capacity: '64Mi' };
  const put = (name: string, creationTimestamp: string, status: object): void =>
    void api.put({
      apiVersion: API_VERSION,
      kind: 'AoESnapshot',
      metadata: { name, uid: `uid-${name}`, creationTimestamp },
      spec: { volumeName: 'v', deletionPolicy: 'Delete' },
      status: { ...common, ...status },
    } as never);
  put('first', objects[0], { createdAt: '2026-11-01T10:00:00Z', ...first });
  put('second', objects[1], { createdAt: '2026-11-01T11:00:00Z', ...second });
  const queries: BlocksQuery[] = [];
  const agents = {
    async *list(query: BlocksQuery): AsyncGenerator<readonly Range[]> {
      queries.push(query);
      if (failure) throw failure;
      yield [
        { offset: 0, bytes: 4 * MiB },
        { offset: 20 * MiB, bytes: MiB },
      ];
      yield [{ offset: 60 * MiB, bytes: 8 * MiB }];
    },
  };
  const service = snapshotMetadataService({ ...deps, agents });
  const read = async (stream: AsyncIterable<{ blockMetadata?: csi.v1.IBlockMetadata[] | null }>): Promise<number[][]> => {
    const found: number[][] = [];
    for await (const { blockMetadata } of stream) {
      found.push(...(blockMetadata ?? []).map(({ byteOffset, sizeBytes }) => [fromInt64(byteOffset) / MiB, fromInt64(sizeBytes) / MiB]));
    }
    return found;
  };
  const context = { ...call, signal };
  return {
    queries,
    warnings,
    allocated: (request: csi.v1.IGetMetadataAllocatedRequest) =>
      read(service.getMetadataAllocated(csi.v1.GetMetadataAllocatedRequest.create(request), context)),
    delta: (request: csi.v1.IGetMetadataDeltaRequest) =>
      read(service.getMetadataDelta(csi.v1.GetMetadataDeltaRequest.create(request), context)),
  };
}

const LATER = { createdAt: '2026-11-01T12:00:00Z' };
const REVERSED = ['2026-11-01T12:00:00Z', '2026-11-01T11:00:00Z'] as const;
const BOTH = { baseSnapshotId: 'first', targetSnapshotId: 'second' };
const of = (code: Code, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('GetMetadataAllocated', () => {
  it('names what the agent of the snapshot names, up to the end of the disk', async () => {
    const { allocated, queries } = world();
    expect(await allocated({ snapshotId: 'first' })).toStrictEqual([
      [0, 4],
      [20, 1],
      [60, 4],
    ]);
    expect(queries).toStrictEqual([{ node: 'a', pool: 'p', snapshotUID: 'uid-first', from: 0 }]);
  });

  it('names what the user sees of an encrypted disk', async () => {
    const { allocated, queries } = world({ first: { encryption: 'LUKS2' } });
    expect(await allocated({ snapshotId: 'first', startingOffset: int64(2 * MiB) })).toStrictEqual([
      [4, 1],
      [44, 4],
    ]);
    expect(queries).toMatchObject([{ from: 18 * MiB }]);
  });

  it.each([
    ['a thick volume', { backend: 'lvm' }, 64],
    ['a volume with authenticated encryption', { first: { encryption: 'LUKS2Authenticated' } }, undefined],
  ] as const)('names all of %s, without asking an agent', async (_what, options, size) => {
    const { allocated, queries } = world(options);
    const [whole, ...more] = await allocated({ snapshotId: 'first' });
    expect([whole?.[0], more, queries]).toStrictEqual([0, [], []]);
    if (size) expect(whole?.[1]).toBe(size);
  });

  it('names nothing behind the last byte', async () => {
    expect(await world().allocated({ snapshotId: 'first', startingOffset: int64(64 * MiB) })).toStrictEqual([]);
  });

  it.each([
    ['no snapshot', {}, Code.INVALID_ARGUMENT, /snapshot_id is missing/],
    ['a snapshot that is not there', { snapshotId: 'third' }, Code.NOT_FOUND, /third does not exist/],
    ['a negative offset', { snapshotId: 'first', startingOffset: int64(-1) }, Code.OUT_OF_RANGE, /negative/],
    [
      'an offset behind the end',
      { snapshotId: 'first', startingOffset: int64(64 * MiB + 1) },
      Code.OUT_OF_RANGE,
      /67108865 is behind the end/,
    ],
    ['a negative number of results', { snapshotId: 'first', maxResults: -1 }, Code.INVALID_ARGUMENT, /max_results/],
  ] as const)('refuses %s', async (_what, request, code, message) => {
    await expect(world().allocated(request)).rejects.toEqual(of(code, message));
  });

  it('asks to be called again while the snapshot is not whole', async () => {
    await expect(world({ first: { phase: 'Pending' } }).allocated({ snapshotId: 'first' })).rejects.toEqual(
      of(Code.UNAVAILABLE, /cannot be read now/),
    );
  });
});

describe('GetMetadataDelta', () => {
  it('names what the agent names that has changed', async () => {
    const { delta, queries } = world();
    expect(await delta({ ...BOTH, startingOffset: int64(21 * MiB), maxResults: 1 })).toStrictEqual([[60, 4]]);
    expect(queries).toStrictEqual([{ node: 'a', pool: 'p', snapshotUID: 'uid-second', baseUID: 'uid-first', from: 21 * MiB }]);
  });

  it.each([
    ['a thick volume', { backend: 'lvm' }, BOTH, Code.FAILED_PRECONDITION, /not tracked, because its backend is lvm: make a full backup/],
    ['authenticated encryption', { second: { encryption: 'LUKS2Authenticated' } }, BOTH, Code.FAILED_PRECONDITION, /full backup/],
    [
      'snapshots in two pools',
      { first: { pool: 'q' } },
      BOTH,
      Code.FAILED_PRECONDITION,
      /first is in pool q on node a, and .*second is in pool p/,
    ],
    ['snapshots on two nodes', { first: { nodeName: 'b' } }, BOTH, Code.FAILED_PRECONDITION, /full backup/],
    ['snapshots of two volumes', { first: { volumeUID: 'uid-w' } }, BOTH, Code.INVALID_ARGUMENT, /is of AoEVolume v \(uid-w\)/],
    ['a base that is later', { first: LATER, objects: REVERSED }, BOTH, Code.INVALID_ARGUMENT, /taken after/],
    ['the same snapshot twice', {}, { ...BOTH, baseSnapshotId: 'second' }, Code.INVALID_ARGUMENT, /both/],
    ['no base', {}, { targetSnapshotId: 'second' }, Code.INVALID_ARGUMENT, /base_snapshot_id is missing/],
    ['no target', {}, { baseSnapshotId: 'first' }, Code.INVALID_ARGUMENT, /target_snapshot_id is missing/],
    ['a base that is not there', {}, { ...BOTH, baseSnapshotId: 'third' }, Code.NOT_FOUND, /third/],
    ['a target that is not there', {}, { ...BOTH, targetSnapshotId: 'third' }, Code.NOT_FOUND, /third/],
    ['an offset behind the end', {}, { ...BOTH, startingOffset: int64(65 * MiB) }, Code.OUT_OF_RANGE, /behind the end/],
  ] as const)('refuses %s', async (_what, options, request, code, message) => {
    const { delta, queries } = world(options);
    await expect(delta(request)).rejects.toEqual(of(code, message));
    expect(queries).toStrictEqual([]);
  });

  it.each([
    ['the clock of the storage node was wrong when the base was taken', { first: LATER }],
    ['the target was created earlier, and had to wait for its instant', { objects: REVERSED }],
    ['both were created in one second', { objects: ['2026-11-01T10:00:00Z', '2026-11-01T10:00:00Z'] }],
  ] as const)('names what has changed when %s', async (_what, options) => {
    expect(await world(options).delta(BOTH)).not.toStrictEqual([]);
  });

  it('fails as the agent does, and with UNAVAILABLE where that says nothing to the caller', async () => {
    const refused = new RpcError(Code.FAILED_PRECONDITION, 'the pool does not know');
    await expect(world({ failure: refused }).delta(BOTH)).rejects.toBe(refused);
    const { delta, warnings } = world({ failure: new Error('a bug') });
    await expect(delta(BOTH)).rejects.toEqual(of(Code.UNAVAILABLE, /GetMetadataDelta: a bug/));
    expect(warnings).toHaveLength(1);
    const gone = AbortSignal.abort(new Error('left'));
    await expect(world({ failure: new Error('left'), signal: gone }).delta(BOTH)).rejects.toEqual(of(Code.CANCELLED, /cancelled/));
  });
});
