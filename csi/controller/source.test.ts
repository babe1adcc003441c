import { parseQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS, AOE_VOLUMES } from '../../api/resources.ts';
import type { AoESnapshot, AoESnapshotStatus } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { type csi, fromInt64, int64 } from '../../rpc/mod.ts';
import { Code } from '../../rpc/status.ts';
import { controllerService } from './service.ts';
import { dropCloned } from './source.ts';
import { call, mount } from './testing/fake-cluster.ts';
import { fakeDeps, lateWatch, putPool, putVolume, type Reaction, ready } from './testing/fake-deps.ts';

const TAKEN: AoESnapshotStatus = { phase: 'Ready', createdAt: '2026-11-28T08:00:00Z', pool: 'default', nodeName: 'a', capacity: '2Gi' };
const PLACED = { nodeName: 'a', address: { shelf: 1, slot: 9 } };
const refusedWith = (reason: string): AoESnapshotStatus => ({
  phase: 'Failed',
  conditions: [{ type: 'Ready', status: 'False', reason, message: `because of ${reason}`, lastTransitionTime: '' }],
});

/** A controller whose operator and agent react so to new volumes and snapshots. */
function world({ reaction = ready, snapshotStatus = TAKEN }: { reaction?: Reaction; snapshotStatus?: AoESnapshotStatus } = {}) {
  const { api, deps } = fakeDeps({ reaction: { ...reaction, status: { ...reaction.status, capacity: '2Gi' } }, snapshotStatus });
  const service = controllerService(deps);
  return {
    api,
    deps,
    service,
    create: (fields: csi.v1.ICreateVolumeRequest = {}) =>
      service.createVolume({ name: 'v', volumeCapabilities: [mount], ...fields } as csi.v1.CreateVolumeRequest, call()),
    volume: () => api.read<AoEVolume>(AOE_VOLUMES, 'v'),
    snapshot: (name: string) => api.read<AoESnapshot>(AOE_SNAPSHOTS, name),
    putSnapshot: (status: AoESnapshotStatus = {}) =>
      api.put({ kind: 'AoESnapshot', metadata: { name: 's' }, spec: { volumeName: 'x' }, status: { ...TAKEN, ...status } } as never),
  };
}
const atMost = (bytes: number) => ({ capacityRange: { requiredBytes: int64(0), limitBytes: int64(bytes) } });
const GiB = 1024 ** 3;

describe('a volume of a snapshot', () => {
  const source = { volumeContentSource: { snapshot: { snapshotId: 's' } } };

  it('is at least as large as the snapshot, and names it', async () => {
    const { create, volume, putSnapshot } = world();
    putSnapshot();
    const { volume: made } = await create(source);
    expect(made?.contentSource).toMatchObject({ snapshot: { snapshotId: 's' } });
    expect(fromInt64(made?.capacityBytes)).toBe(2 * GiB);
    expect(volume()?.spec).toMatchObject({ capacity: '2Gi', source: { snapshot: 's' } });
    await expect(create()).rejects.toMatchObject({
      code: Code.ALREADY_EXISTS,
      message: expect.stringMatching(/source snapshot s, but none/),
    });
  });

  it('has the encryption of the snapshot, and its size without the header', async () => {
    const plain = world();
    plain.putSnapshot({ encryption: 'LUKS2', capacity: '2064Mi' });
    await expect(plain.create(source)).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
      message: expect.stringMatching(/AoESnapshot s is encrypted: .* encrypted "true"/),
    });
    await plain.create({ ...source, parameters: { encrypted: 'true' }, capacityRange: { requiredBytes: int64(2 * GiB) } });
    expect(plain.volume()?.spec).toMatchObject({ capacity: '2064Mi', encryption: 'LUKS2' });
    const encrypted = world();
    encrypted.putSnapshot();
    await expect(encrypted.create({ ...source, parameters: { encrypted: 'true' } })).rejects.toMatchObject({
      code: Code.INVALID_ARGUMENT,
      message: expect.stringMatching(/AoESnapshot s is not encrypted/),
    });
  });

  it('with authenticated encryption has a disk of the same size, and no other encryption', async () => {
    const capacity = String(2 * GiB + 12_288);
    for (const encrypted of ['true', 'false']) {
      const other = world();
      other.putSnapshot({ encryption: 'LUKS2Authenticated', capacity });
      await expect(other.create({ ...source, parameters: { encrypted } })).rejects.toMatchObject({
        code: Code.INVALID_ARGUMENT,
        message: expect.stringMatching(/AoESnapshot s is encrypted: .* encrypted "authenticated"/),
      });
    }
    const plainly = world();
    plainly.putSnapshot({ encryption: 'LUKS2', capacity });
    const parameters = { encrypted: 'authenticated' };
    await expect(plainly.create({ ...source, parameters })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
    const { create, putSnapshot, volume } = world();
    putSnapshot({ encryption: 'LUKS2Authenticated', capacity });
    const larger = { requiredBytes: int64(2 * GiB) };
    await expect(create({ ...source, parameters, capacityRange: larger })).rejects.toMatchObject({
      code: Code.OUT_OF_RANGE,
      message: expect.stringMatching(/authenticated encryption: a volume with its data cannot have 2147483648/),
    });
    expect(volume()).toBeUndefined();
    await create({ ...source, parameters, capacityRange: { requiredBytes: int64(GiB) } });
    expect(parseQuantity(volume()?.spec.capacity ?? '')).toBe(Number(capacity));
    expect(volume()?.spec.encryption).toBe('LUKS2Authenticated');
  });

  it('is found again when the snapshot is gone', async () => {
    const { create, volume, api, putSnapshot } = world();
    putSnapshot();
    await create(source);
    api.remove({ kind: 'AoESnapshot' }, 's');
    const { uid } = volume()?.metadata ?? {};
    expect((await create(source)).volume?.volumeId).toBe('v');
    expect(volume()?.metadata.uid).toBe(uid);
  });

  it('that has no data yet when the snapshot is deleted can never be made, and is deleted', async () => {
    const { create, volume, putSnapshot, api } = world({ reaction: { status: { phase: 'Pending' } } });
    putSnapshot();
    putVolume(api, 'v', { source: { snapshot: 's' } });
    api.put({ ...volume(), metadata: { ...volume()?.metadata, annotations: { 'aoe.dev/created-by': 'csi' }, finalizers: [] } } as never);
    api.remove({ kind: 'AoESnapshot' }, 's');
    await expect(create(source)).rejects.toMatchObject({ code: Code.NOT_FOUND });
    expect(volume()).toBeUndefined();
  });

  it('is refused where the snapshot cannot be used', async () => {
    const { create, api, putSnapshot } = world();
    await expect(create(source)).rejects.toMatchObject({ code: Code.NOT_FOUND });
    putSnapshot({ phase: 'Pending' });
    await expect(create(source)).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    putSnapshot();
    await expect(create({ ...source, ...atMost(GiB) })).rejects.toMatchObject({ code: Code.OUT_OF_RANGE });
    expect(api.all('AoEVolume')).toHaveLength(0);
  });
});

describe('a clone', () => {
  const source = { volumeContentSource: { volume: { volumeId: 'x' } } };

  it('is made of a snapshot that is taken for it, and deleted when it has all data', async () => {
    const { create, volume, api } = world();
    putVolume(api, 'x', PLACED, { capacity: '2Gi' });
    for (const _ of ['made', 'repeated']) {
      expect((await create(source)).volume?.contentSource).toMatchObject({ volume: { volumeId: 'x' } });
      expect(volume()?.spec).toMatchObject({ capacity: '2Gi', source: { snapshot: 'clone-v' } });
      expect(api.all('AoESnapshot')).toHaveLength(0);
    }
    await expect(create()).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
    await expect(create({ volumeContentSource: { volume: { volumeId: 'y' } } })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
  });

  it('whose snapshot the watch has not shown leaves none behind', async () => {
    const { create, volume, api, deps } = world();
    putVolume(api, 'x', PLACED, { capacity: '2Gi' });
    await create(source);
    const clone = { name: 'clone-v', annotations: { 'aoe.dev/clone-for': 'v' } };
    api.put({ kind: 'AoESnapshot', metadata: clone, spec: { volumeName: 'x' }, status: TAKEN } as never);
    await dropCloned({ ...deps, snapshots: lateWatch }, volume() as AoEVolume, call());
    expect(api.all('AoESnapshot')).toHaveLength(0);
  });

  it('owns its snapshot until then, and goes on with it when the call is repeated', async () => {
    const { create, volume, api, snapshot } = world({ reaction: { status: { phase: 'Pending' } } });
    api.put({ kind: 'AoEPool', metadata: { name: 'default' }, spec: { backend: 'file', directory: '/d' }, status: {} } as never);
    putVolume(api, 'x', PLACED, { capacity: '2Gi' });
    await create(source).catch(() => {});
    const { uid, ownerReferences } = snapshot('clone-v')?.metadata ?? {};
    expect(snapshot('clone-v')?.spec.volumeName).toBe('x');
    expect(ownerReferences).toMatchObject([{ kind: 'AoEVolume', name: 'v', uid: volume()?.metadata.uid }]);
    await create(source).catch(() => {});
    expect(snapshot('clone-v')?.metadata.uid).toBe(uid);
    // The garbage collector of Kubernetes has not come to the one of an earlier volume of this name yet.
    api.put({ ...volume(), metadata: { ...volume()?.metadata, uid: 'another' }, status: {} } as never);
    await expect(create(source)).rejects.toMatchObject({ code: Code.ABORTED });
  });

  it('is not listed by its snapshot', async () => {
    const { api, service, putSnapshot } = world();
    putSnapshot();
    const clone = { name: 'clone-v', annotations: { 'aoe.dev/clone-for': 'v' } };
    api.put({ kind: 'AoESnapshot', metadata: clone, spec: { volumeName: 'x' }, status: TAKEN } as never);
    const { entries } = await service.listSnapshots({} as never, call());
    expect(entries?.map(({ snapshot }) => snapshot?.snapshotId)).toStrictEqual(['s']);
  });

  for (const [reason, code] of [
    ['SnapshotsUnsupported', Code.INVALID_ARGUMENT],
    ['PoolFull', Code.RESOURCE_EXHAUSTED],
    ['VolumeNotFound', Code.NOT_FOUND],
  ] as const) {
    it(`that cannot be made (${reason}) is deleted: the caller forgets it after this code`, async () => {
      const { create, volume, api } = world({ snapshotStatus: refusedWith(reason), reaction: {} });
      putVolume(api, 'x', PLACED, { capacity: '2Gi' });
      const message = expect.stringMatching(new RegExp(`AoEVolume x cannot be cloned: .*because of ${reason}`));
      await expect(create(source)).rejects.toMatchObject({ code, message });
      expect(volume()).toBeUndefined();
    });
  }

  it('is refused before anything is made where the volume cannot be cloned', async () => {
    const { create, api } = world();
    await expect(create(source)).rejects.toMatchObject({ code: Code.NOT_FOUND });
    putVolume(api, 'x', { external: { shelf: 1, slot: 1 } });
    await expect(create(source)).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
    putVolume(api, 'x', PLACED, {});
    await expect(create(source)).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    putVolume(api, 'x', PLACED, { capacity: '2Gi' });
    await expect(create({ ...source, ...atMost(GiB) })).rejects.toMatchObject({ code: Code.OUT_OF_RANGE });
    const snapshots = { possible: false, message: 'the file system cannot share blocks: use XFS' };
    putPool(api, 'default', [{ name: 'a', ready: true, size: '10Gi', free: '10Gi', granularity: '4Mi', snapshots }]);
    await expect(create(source)).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT, message: expect.stringMatching(/use XFS/) });
    expect(api.all('AoEVolume').map(({ metadata }) => metadata.name)).toStrictEqual(['x']);
  });
});
