import type { Limits } from '../../../api/limits/limits.ts';
import type { AoEVolume, AoEVolumeSpec, AoEVolumeStatus } from '../../../api/volume.ts';
import { Code } from '../../../rpc/status.ts';
import { BusyVolumes } from '../../busy-volumes.ts';
import type { Deps } from '../deps.ts';
import { call, placedVolume, watchOf } from '../testing/fake-cluster.ts';
import { modifyVolume } from './modify.ts';

const condition = (reason: string, observedGeneration: number) =>
  ({ type: 'Exported', status: 'True', reason, message: 'why', observedGeneration, lastTransitionTime: '' }) as const;

/** `react` is the status that the agent writes for a new spec.limits. */
function cluster(
  react: (volume: AoEVolume) => AoEVolumeStatus,
  { spec = {}, metadata = {} }: { spec?: Partial<AoEVolumeSpec>; metadata?: object } = {},
) {
  const patches: unknown[] = [];
  let volume: AoEVolume = placedVolume({ spec: { capacity: '4Gi', pool: 'p', ...spec }, metadata });
  volume.status = react(volume);
  const deps = {
    kube: {
      get: async (_type: unknown, name: string) => (name === 'v' ? volume : undefined),
      patch: async (_type: unknown, _name: string, patch: { spec: { limits: Record<string, unknown> | null } }) => {
        patches.push(patch.spec.limits);
        const merged = Object.entries({ ...volume.spec.limits, ...patch.spec.limits }).filter(([, value]) => value !== null);
        const { limits: _, ...rest } = volume.spec;
        const generation = (volume.metadata.generation ?? 0) + 1;
        const next = patch.spec.limits ? { ...rest, limits: Object.fromEntries(merged) as Limits } : rest;
        volume = { ...volume, metadata: { ...volume.metadata, generation }, spec: next };
        const answer = volume;
        volume = { ...volume, status: react(volume) };
        return answer;
      },
    },
    volumes: watchOf(() => volume),
    busy: new BusyVolumes(),
    log: { warn() {} },
  } as unknown as Deps;
  const modify = (mutableParameters: Record<string, string>, volumeId = 'v') => modifyVolume(deps, { volumeId, mutableParameters }, call());
  return { modify, patches, volume: () => volume };
}

const enforces = ({ metadata: { generation = 0 }, spec }: AoEVolume): AoEVolumeStatus => ({
  ...(spec.limits ? { limits: { observedGeneration: generation, ...spec.limits } } : {}),
  conditions: [condition('Exported', generation)],
});

describe('modifyVolume', () => {
  it('changes the limits that the class names, and no others, and does nothing when it is repeated', async () => {
    const it = cluster(enforces, { spec: { limits: { iops: 1000, bytesPerSecond: '102400Ki', burstSeconds: 5 } } });
    expect(await it.modify({ iops: '500' })).toStrictEqual({});
    expect(it.volume().spec.limits).toStrictEqual({ iops: 500, bytesPerSecond: '102400Ki', burstSeconds: 5 });
    await it.modify({ iops: '500' });
    await it.modify({ bytesPerSecond: '100Mi' });
    expect(it.patches).toStrictEqual([{ iops: 500 }]);
  });

  it('removes a limit whose name the class has with none, and what does nothing without it', async () => {
    const it = cluster(enforces, { spec: { limits: { iops: 100, readBytesPerSecond: '1Mi', burstSeconds: 5 } } });
    await it.modify({ iops: 'none' });
    expect(it.volume().spec.limits).toStrictEqual({ readBytesPerSecond: '1Mi', burstSeconds: 5 });
    await it.modify({ bytesPerSecond: 'none' });
    expect(it.patches).toHaveLength(1);
    await it.modify({ readBytesPerSecond: 'none' });
    expect(it.volume().spec.limits).toBeUndefined();
  });

  it('replaces limits that exclude those of the class', async () => {
    const it = cluster(enforces, { spec: { limits: { iops: 100, readBytesPerSecond: '1Mi', writeBytesPerSecond: '2Mi' } } });
    await it.modify({ writeIOPS: '50', readBytesPerSecond: '3Mi' });
    expect(it.volume().spec.limits).toStrictEqual({ writeIOPS: 50, readBytesPerSecond: '3Mi', writeBytesPerSecond: '2Mi' });
    await it.modify({ bytesPerSecond: '1Mi' });
    expect(it.volume().spec.limits).toStrictEqual({ writeIOPS: 50, bytesPerSecond: '1Mi' });
  });

  it('saves up for limits that the volume has already, and refuses to for none', async () => {
    const it = cluster(enforces, { spec: { limits: { iops: 100 } } });
    await it.modify({ burstSeconds: '7' });
    expect(it.volume().spec.limits).toStrictEqual({ iops: 100, burstSeconds: 7 });
    const refused = { code: Code.INVALID_ARGUMENT, message: expect.stringMatching(/burstSeconds does nothing/) };
    await expect(cluster(enforces).modify({ burstSeconds: '7' })).rejects.toMatchObject(refused);
  });

  it('does not take a burst for enforced where no limit is', async () => {
    const cannot = ({ metadata: { generation = 0 } }: AoEVolume) => ({ conditions: [condition('LimitsNotEnforced', generation)] });
    const it = cluster(cannot, { spec: { limits: { iops: 100 } } });
    await expect(it.modify({ burstSeconds: '7' })).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  });

  it('is done when the target enforces what the class names, whatever else it does not enforce yet', async () => {
    const late = ({ metadata: { generation = 0 }, spec }: AoEVolume): AoEVolumeStatus => ({
      limits: { observedGeneration: generation, iops: spec.limits?.iops },
      conditions: [condition('Exported', generation)],
    });
    const it = cluster(late, { spec: { limits: { bytesPerSecond: '1Mi' } } });
    await it.modify({ iops: '100' });
    await expect(it.modify({ bytesPerSecond: '2Mi' })).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  });

  it('waits until the target enforces them', async () => {
    const it = cluster(({ metadata: { generation = 0 } }) => ({ conditions: [condition('Exported', generation)] }));
    await expect(it.modify({ iops: '100' })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      message: expect.stringContaining('its limits'),
    });
    expect(it.volume().spec.limits).toStrictEqual({ iops: 100 });
  });

  it('says that a target is too old to enforce them', async () => {
    const it = cluster(({ metadata: { generation = 0 } }) => ({ conditions: [condition('LimitsNotEnforced', generation)] }));
    await expect(it.modify({ iops: '100' })).rejects.toMatchObject({ code: Code.UNAVAILABLE, message: 'AoEVolume v: why' });
  });

  const external = { external: { shelf: 1, slot: 1 } };
  for (const [what, parameters, options, code, message] of [
    ['no parameters', {}, {}, Code.INVALID_ARGUMENT, 'mutable_parameters is missing'],
    ['an unknown parameter', { speed: '1' }, {}, Code.INVALID_ARGUMENT, 'speed'],
    ['an external target', { iops: '100' }, { spec: external }, Code.INVALID_ARGUMENT, 'somebody else serves'],
    ['a volume that goes', { iops: '100' }, { metadata: { deletionTimestamp: 'now' } }, Code.FAILED_PRECONDITION, 'being deleted'],
  ] as const) {
    it(`refuses ${what}, and changes nothing`, async () => {
      const it = cluster(enforces, options as never);
      await expect(it.modify(parameters as never)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
      expect(it.patches).toStrictEqual([]);
    });
  }

  it('refuses a volume that there is not', async () => {
    await expect(cluster(enforces).modify({ iops: '100' }, 'w')).rejects.toMatchObject({ code: Code.NOT_FOUND });
    await expect(cluster(enforces).modify({ iops: '100' }, '')).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  });
});
