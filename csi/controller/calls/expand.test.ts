import type { AoEVolume, AoEVolumeSpec, AoEVolumeStatus } from '../../../api/volume.ts';
import type { Condition } from '../../../kube/mod.ts';
import { type csi, fromInt64, int64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { BusyVolumes } from '../../busy-volumes.ts';
import type { Deps } from '../deps.ts';
import { block, call, FakeCluster, mount, placedVolume, watchOf } from '../testing/fake-cluster.ts';
import { deleteVolume } from './delete.ts';
import { expandVolume } from './expand.ts';
import { publishVolume } from './publish.ts';
import { unpublishVolume } from './unpublish.ts';

const GiB = 1024 ** 3;

function condition(type: string, status: 'True' | 'False', reason: string, message: string, observedGeneration: number): Condition {
  return { type, status, reason, message, observedGeneration, lastTransitionTime: '' };
}

/** A volume of 4Gi. `react` is what operator and agent make of a new spec.capacity: the status that they write. */
function cluster(
  react: (volume: AoEVolume) => AoEVolumeStatus,
  { spec = {}, metadata = {} }: { spec?: Partial<AoEVolumeSpec>; metadata?: object } = {},
) {
  const asked: string[] = [];
  let volume: AoEVolume = {
    ...placedVolume({ spec: { capacity: '4Gi', pool: 'p', ...spec }, metadata }),
    status: { capacity: '4Gi' },
  };
  const deps = {
    kube: {
      get: async (_type: unknown, name: string) => (name === 'v' ? volume : undefined),
      patch: async (_type: unknown, _name: string, patch: { spec: { capacity: string } }) => {
        asked.push(patch.spec.capacity);
        const generation = (volume.metadata.generation ?? 0) + 1;
        volume = { ...volume, metadata: { ...volume.metadata, generation }, spec: { ...volume.spec, ...patch.spec } };
        const answer = volume;
        volume = { ...volume, status: { ...volume.status, ...react(volume) } };
        return answer;
      },
    },
    pools: { get: () => undefined },
    volumes: watchOf(() => volume),
    busy: new BusyVolumes(),
    log: { warn() {} },
  } as unknown as Deps;
  const expand = (request: csi.v1.IControllerExpandVolumeRequest = {}) =>
    expandVolume(deps, { volumeId: 'v', capacityRange: { requiredBytes: int64(6 * GiB) }, volumeCapability: mount, ...request }, call());
  return { expand, asked, volume: () => volume };
}

const grows = ({ spec }: AoEVolume): AoEVolumeStatus => ({ capacity: spec.capacity ?? '' });
const sized = (bytes: number, most = 0) => ({ requiredBytes: int64(bytes), limitBytes: int64(most) });

describe('expandVolume', () => {
  it('adds the header of an encrypted volume, and answers without it', async () => {
    const it = cluster(grows, { spec: { encryption: 'LUKS2' } });
    const { capacityBytes } = await it.expand();
    expect(it.asked).toStrictEqual(['6160Mi']);
    expect(fromInt64(capacityBytes)).toBe(6 * GiB);
  });

  it('refuses to make a volume with authenticated encryption larger, and answers when it has the size', async () => {
    const it = cluster(grows, { spec: { encryption: 'LUKS2Authenticated' } });
    const message = expect.stringMatching(/authenticated encryption, and cannot grow: copy the data/);
    await expect(it.expand()).rejects.toMatchObject({ code: Code.OUT_OF_RANGE, message });
    expect(it.asked).toStrictEqual([]);
    const { capacityBytes } = await it.expand({ capacityRange: sized(3 * GiB) });
    expect(fromInt64(capacityBytes)).toBeGreaterThan(3 * GiB);
    expect(it.asked).toStrictEqual([]);
  });

  it('sets the capacity and answers with the size that the target serves', async () => {
    const it = cluster(grows);
    const { capacityBytes, nodeExpansionRequired } = await it.expand();
    expect([fromInt64(capacityBytes), nodeExpansionRequired]).toStrictEqual([6 * GiB, true]);
    expect(it.asked).toStrictEqual(['6Gi']);
  });

  it('does nothing when the volume is that large', async () => {
    const it = cluster(grows);
    for (const bytes of [GiB, 4 * GiB]) {
      const { capacityBytes } = await it.expand({ capacityRange: sized(bytes) });
      expect(fromInt64(capacityBytes)).toBe(4 * GiB);
    }
    expect(it.asked).toStrictEqual([]);
  });

  it('asks a node only for a file system, or when it has the disk', async () => {
    const blockOnly = { volumeCapability: block };
    expect((await cluster(grows).expand(blockOnly)).nodeExpansionRequired).toBe(false);
    const attached = cluster(grows, { spec: { access: 'Shared', initiators: { nodes: ['a'] } } });
    expect((await attached.expand(blockOnly)).nodeExpansionRequired).toBe(true);
    expect((await cluster(grows).expand({ volumeCapability: null })).nodeExpansionRequired).toBe(true);
  });

  it('fails for good when there is no room, takes the capacity back, and can be asked for less', async () => {
    const react = ({ spec, metadata: { generation = 0 } }: AoEVolume): AoEVolumeStatus =>
      spec.capacity === '6Gi'
        ? { conditions: [condition('Grown', 'False', 'PoolFull', 'pool p on n has 1Gi free, and 2Gi more are needed', generation)] }
        : { capacity: spec.capacity ?? '', conditions: [] };
    const it = cluster(react);
    await expect(it.expand()).rejects.toMatchObject({
      code: Code.OUT_OF_RANGE,
      message: expect.stringMatching(/has 1Gi free, and 2Gi more/),
    });
    expect(it.asked).toStrictEqual(['6Gi', '4Gi']);
    expect(fromInt64((await it.expand({ capacityRange: sized(5 * GiB) })).capacityBytes)).toBe(5 * GiB);
  });

  it('fails for good when the pool had less room than was known', async () => {
    const react = ({ metadata: { generation = 0 } }: AoEVolume): AoEVolumeStatus => ({
      conditions: [condition('Provisioned', 'True', 'NoRoomToGrow', 'volume group g has 3 bytes', generation)],
    });
    const it = cluster(react);
    await expect(it.expand()).rejects.toMatchObject({ code: Code.OUT_OF_RANGE });
    expect(it.volume().spec.capacity).toBe('4Gi');
  });

  it('does not take an answer to an earlier size for one to this', async () => {
    const react = ({ metadata: { generation = 0 } }: AoEVolume): AoEVolumeStatus => ({
      conditions: [condition('Grown', 'False', 'PoolFull', 'old', generation - 1)],
    });
    await expect(cluster(react).expand()).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  });

  it('says what it waits for, and is tried again', async () => {
    const react = ({ metadata: { generation = 0 } }: AoEVolume): AoEVolumeStatus => ({
      conditions: [
        condition('Grown', 'False', 'Growing', 'room is reserved', generation),
        condition('Provisioned', 'True', 'NotGrown', 'the target on this node is of an earlier version', generation),
      ],
    });
    const it = cluster(react);
    await expect(it.expand()).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      message: 'AoEVolume v is still waiting for its growth: the target on this node is of an earlier version',
    });
    expect(it.volume().spec.capacity, 'it may still grow').toBe('6Gi');
    await expect(it.expand()).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(it.asked).toStrictEqual(['6Gi']);
    const waits = cluster(({ metadata: { generation = 0 } }) => ({
      conditions: [condition('Grown', 'False', 'PoolNotReady', 'the pool is away', generation)],
    }));
    await expect(waits.expand()).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  });

  it('leaves a larger size that a person asked for', async () => {
    const it = cluster(grows, { spec: { capacity: '8Gi' } });
    await expect(it.expand()).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(it.asked).toStrictEqual([]);
  });

  it('refuses what is no size, is not there, or is not ours', async () => {
    const code = async (it: ReturnType<typeof cluster>, request: csi.v1.IControllerExpandVolumeRequest): Promise<unknown> =>
      it.expand(request).catch((error: unknown) => (error as { code: Code }).code);
    const it = cluster(grows);
    expect(await code(it, { volumeId: '' })).toBe(Code.INVALID_ARGUMENT);
    expect(await code(it, { capacityRange: null })).toBe(Code.INVALID_ARGUMENT);
    expect(await code(it, { capacityRange: sized(0) })).toBe(Code.INVALID_ARGUMENT);
    expect(await code(it, { capacityRange: sized(2 * GiB, GiB) })).toBe(Code.OUT_OF_RANGE);
    expect(await code(it, { capacityRange: sized(GiB, 2 * GiB) })).toBe(Code.OUT_OF_RANGE);
    expect(await code(it, { volumeCapability: { mount: { fsType: 'zfs' } } })).toBe(Code.INVALID_ARGUMENT);
    expect(await code(it, { volumeId: 'w' })).toBe(Code.NOT_FOUND);
    const external = cluster(grows, { spec: { pool: undefined, external: { shelf: 9, slot: 9 } } });
    expect(await code(external, {})).toBe(Code.INVALID_ARGUMENT);
    const leaving = cluster(grows, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
    expect(await code(leaving, {})).toBe(Code.FAILED_PRECONDITION);
    expect(it.asked).toStrictEqual([]);
  });
});

/** A volume whose pool wipes the blocks by which it grows, and a call that waits for that until it is told to end. */
function growing() {
  const cluster = new FakeCluster({ capacity: '6Gi', pool: 'p' });
  const { deps } = cluster;
  const end = Promise.withResolvers<never>();
  const waiting = { ...deps, pools: { get: () => undefined }, volumes: { waitFor: () => end.promise } } as unknown as Deps;
  const expand = expandVolume(waiting, { volumeId: 'v', capacityRange: { requiredBytes: int64(6 * GiB) } }, call());
  const ended = expect(expand).rejects.toThrow('told to end');
  const stop = async () => {
    end.reject(new Error('told to end'));
    await ended;
  };
  return { cluster, deps, stop };
}

describe('while a volume grows', () => {
  it('nodes are attached and detached', async () => {
    const { cluster, deps, stop } = growing();
    await unpublishVolume(deps, { volumeId: 'v', nodeId: 'b' }, call());
    await publishVolume(deps, { volumeId: 'v', nodeId: 'a', volumeCapability: mount }, call());
    expect(cluster.nodes).toStrictEqual(['a']);
    await unpublishVolume(deps, { volumeId: 'v', nodeId: 'a' }, call());
    expect(cluster.nodes).toBeUndefined();
    await stop();
  });

  it('it is not deleted', async () => {
    const { deps, stop } = growing();
    await expect(deleteVolume(deps, { volumeId: 'v' }, call())).rejects.toMatchObject({ code: Code.ABORTED });
    await stop();
  });
});
