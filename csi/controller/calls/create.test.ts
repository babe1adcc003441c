import assert from 'node:assert/strict';
import { SEGMENT_KEY } from '../../../api/meta.ts';
import type { AoEPool } from '../../../api/pool.ts';
import { MiB, parseQuantity } from '../../../api/quantity.ts';
import { AOE_VOLUMES, API_VERSION } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { KubeError } from '../../../kube/mod.ts';
import { type csi, int64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { controllerService } from '../service.ts';
import { call, Mode, mount } from '../testing/fake-cluster.ts';
import { fakeDeps, lateWatch, putNode, putVolume, type Reaction, ready } from '../testing/fake-deps.ts';

const failed = (type: string, reason: string): NonNullable<NonNullable<AoEVolume['status']>['conditions']>[number] => ({
  type,
  status: 'False',
  reason,
  message: `because of ${reason}`,
  lastTransitionTime: '',
});

/** A controller whose operator and agent react so to each new volume. */
function world(reaction: Reaction | undefined = ready, more: { hasAutomaticTakeover?: boolean } = {}) {
  const { api, deps } = fakeDeps({ reaction, ...more });
  const service = controllerService(deps);
  return {
    api,
    deps,
    create: (fields: csi.v1.ICreateVolumeRequest = {}) =>
      service.createVolume({ name: 'v', volumeCapabilities: [mount], ...fields } as csi.v1.CreateVolumeRequest, call()),
    volume: () => api.read<AoEVolume>(AOE_VOLUMES, 'v'),
  };
}
const capability = (mode: number, fsType = '') => ({ mount: { fsType }, accessMode: { mode } });
const range = (least: number, most = 0) => ({ requiredBytes: int64(least), limitBytes: int64(most) });

test('a volume is created as it is requested, and found again when the call is repeated', async () => {
  const { create, volume, api } = world();
  const expected = { volumeId: 'v', accessibleTopology: [{ segments: { [SEGMENT_KEY]: 'default' } }] };
  expect((await create()).volume).toMatchObject(expected);
  const made = volume();
  expect(made?.spec).toMatchObject({ pool: 'default', capacity: '1Gi', access: 'Exclusive', deletionPolicy: 'Delete' });
  expect((await create()).volume).toMatchObject(expected);
  expect(volume()?.metadata.uid).toBe(made?.metadata.uid);
  expect(api.all('AoEVolume')).toHaveLength(1);
});

test('a repetition of a call that has succeeded is answered while the volume is attached, and keeps no other call waiting', async () => {
  const { create, deps } = world();
  const first = await create();
  const end = Promise.withResolvers<void>();
  const attachment = deps.busy.run('v', 'ControllerPublishVolume', () => end.promise);
  expect(await create()).toStrictEqual(first);
  await expect(create({ capacityRange: range(2 ** 40) })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
  end.resolve();
  await attachment;
});

test('a volume has the schedule of its StorageClass, and a change of it later is no reason to refuse the volume', async () => {
  const { create, volume, api } = world();
  const parameters = { reclaimEvery: '168h' };
  await create({ parameters });
  expect(volume()?.spec.reclaimEvery).toBe('168h');
  const made = volume() ?? assert.fail();
  api.put({ ...made, kind: 'AoEVolume', spec: { ...made.spec, reclaimEvery: '24h' } });
  expect((await create({ parameters })).volume).toMatchObject({ volumeId: 'v' });
});

test('a schedule in a pool that never gives anything back is refused, unless the volume is there already', async () => {
  const { create, volume, deps } = world();
  const get = deps.pools.get.bind(deps.pools);
  const lvm: AoEPool = {
    apiVersion: API_VERSION,
    kind: 'AoEPool',
    metadata: { name: 'default' },
    spec: { backend: 'lvm', volumeGroup: 'v' },
  };
  deps.pools.get = () => lvm;
  const attempt = () => create({ parameters: { reclaimEvery: '1h' } });
  await expect(attempt()).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringMatching(/pool default: lvm gives nothing/),
  });
  expect(volume()).toBeUndefined();
  deps.pools.get = get;
  await attempt();
  deps.pools.get = () => lvm;
  expect((await attempt()).volume).toMatchObject({ volumeId: 'v' });
});

test('a volume that the watch still shows, but that was deleted, is created again', async () => {
  const { create, deps, api, volume } = world();
  await create();
  const old = volume();
  deps.volumes.get = () => old;
  api.remove(AOE_VOLUMES, 'v');
  await create();
  expect(volume()?.metadata.uid).not.toBe(old?.metadata.uid);
});

const refused: [string, csi.v1.ICreateVolumeRequest, Code, RegExp][] = [
  ['no name', { name: '' }, Code.INVALID_ARGUMENT, /^name is missing$/],
  ['no capability', { volumeCapabilities: [] }, Code.INVALID_ARGUMENT, /volume_capabilities is missing/],
  [
    'xfs under 300 MiB',
    { volumeCapabilities: [capability(Mode.SINGLE_NODE_WRITER, 'xfs')], capacityRange: range(100 * MiB) },
    Code.OUT_OF_RANGE,
    /xfs needs at least 300Mi/,
  ],
  [
    'xfs under a limit of less than 300 MiB',
    { volumeCapabilities: [capability(Mode.SINGLE_NODE_WRITER, 'xfs')], capacityRange: range(0, 299 * MiB) },
    Code.OUT_OF_RANGE,
    /xfs needs at least 300Mi/,
  ],
  [
    'ReadWriteOnce and ReadOnlyMany',
    { volumeCapabilities: [capability(Mode.SINGLE_NODE_WRITER), capability(Mode.MULTI_NODE_READER_ONLY)] },
    Code.INVALID_ARGUMENT,
    /contradict one another: an Exclusive volume cannot be used on many nodes/,
  ],
  [
    'ReadWriteOnce and ReadWriteMany of a filesystem',
    { volumeCapabilities: [capability(Mode.SINGLE_NODE_WRITER), capability(Mode.MULTI_NODE_MULTI_WRITER)] },
    Code.INVALID_ARGUMENT,
    /ReadWriteMany/,
  ],
  ['ReadOnlyMany alone', { volumeCapabilities: [capability(Mode.MULTI_NODE_READER_ONLY)] }, Code.INVALID_ARGUMENT, /would stay empty/],
  ['a parameter that is not known', { parameters: { pol: 'fast' } }, Code.INVALID_ARGUMENT, /parameter pol is not known: use pool/],
  ['a size below 0', { capacityRange: range(-1) }, Code.INVALID_ARGUMENT, /cannot be negative/],
  ['a limit below the size', { capacityRange: range(2 * MiB, MiB) }, Code.OUT_OF_RANGE, /at least 2097152 and at most 1048576/],
  ['no size that the pool can make', { capacityRange: range(4 * MiB + 1, 5 * MiB) }, Code.OUT_OF_RANGE, /multiples of 4Mi/],
];
for (const [what, request, code, message] of refused) {
  test(`refused, and nothing is created: ${what}`, async () => {
    const { create, api } = world();
    await expect(create(request)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(api.all('AoEVolume')).toStrictEqual([]);
  });
}

const unplaced: [string, Code][] = [
  ['PoolFull', Code.RESOURCE_EXHAUSTED],
  ['NoEligibleNode', Code.RESOURCE_EXHAUSTED],
  ['AddressRangeExhausted', Code.RESOURCE_EXHAUSTED],
  ['NoSuchPool', Code.INVALID_ARGUMENT],
];
for (const [reason, code] of unplaced) {
  test(`a volume that has no place (${reason}) is deleted again: the caller forgets it after this code`, async () => {
    const { create, volume } = world({ status: { conditions: [failed('Placed', reason)] } });
    await expect(create()).rejects.toMatchObject({ code, message: `AoEVolume v: because of ${reason}` });
    expect(volume()).toBeUndefined();
  });
}

test('a volume that may still become ready stays: the caller tries again after these codes', async () => {
  for (const [status, code] of [
    [{ phase: 'Failed', conditions: [failed('Placed', 'NodesNotReady')] }, Code.UNAVAILABLE],
    [{ phase: 'Pending' }, Code.DEADLINE_EXCEEDED],
  ] as const) {
    const { create, volume } = world({ status: structuredClone(status) as NonNullable<AoEVolume['status']> });
    await expect(create()).rejects.toMatchObject({ code });
    expect(volume()).toBeDefined();
  }
});

test('the conditions of the agent are enough until the operator has summed them up, unless another target answers', async () => {
  const is = (type: string, status: 'True' | 'False' = 'True') => ({ ...failed(type, 'R'), status });
  const served = [is('Provisioned'), is('Exported')];
  for (const [conditions, isMade] of [
    [served, true],
    [[...served, is('AddressConflict', 'False')], true],
    [[...served, is('AddressConflict')], false],
    [[...served, is('Ready', 'False')], false],
    [[is('Provisioned')], false],
  ] as const) {
    const { create } = world({ ...ready, status: { capacity: '1Gi', conditions: [...conditions] } });
    const made = create().then(
      () => true,
      () => false,
    );
    expect(await made, JSON.stringify(conditions)).toBe(isMade);
  }
});

test('a volume for which the pool has no room after all is deleted, so that the next one finds another node', async () => {
  const { create, volume } = world({ ...ready, status: { conditions: [failed('Provisioned', 'PoolFull')] } });
  await expect(create()).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  expect(volume()?.metadata.deletionTimestamp).toBeDefined();
});

test('what the agent of an earlier place said of its pool does not count once the volume has another place', async () => {
  const spec = { ...ready.spec, moves: 1 };
  const { create, volume } = world({ ...ready, spec, status: { conditions: [failed('Provisioned', 'PoolFull')] } });
  await expect(create()).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  expect(volume()?.metadata.deletionTimestamp).toBeUndefined();
});

test('a volume that became larger than the limit is deleted', async () => {
  const { create, volume } = world({ ...ready, status: { ...ready.status, capacity: '2Gi' } });
  await expect(create({ capacityRange: range(0, 1024 * MiB) })).rejects.toMatchObject({ code: Code.OUT_OF_RANGE });
  expect(volume()?.metadata.deletionTimestamp).toBeDefined();
});

test('a volume of the same name that a person created is never deleted', async () => {
  const { create, volume, api } = world();
  putVolume(api, 'v', {}, { conditions: [failed('Provisioned', 'PoolFull')] });
  await expect(create()).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  expect(volume()?.metadata.deletionTimestamp).toBeUndefined();
});

const different: [string, csi.v1.ICreateVolumeRequest, RegExp][] = [
  ['another pool', { parameters: { pool: 'fast' } }, /exists with pool default, but fast is requested/],
  [
    'another access',
    { volumeCapabilities: [{ block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } }] },
    /access Exclusive, but Shared/,
  ],
  ['more', { capacityRange: range(2048 * MiB) }, /capacity 1Gi, but at least 2Gi/],
  ['less', { capacityRange: range(0, 512 * MiB) }, /capacity 1Gi, but at most 512Mi/],
  ['another segment', { accessibilityRequirements: { requisite: [{ segments: { [SEGMENT_KEY]: 's2' } }] } }, /segment default, but s2/],
];
for (const [what, request, message] of different) {
  test(`ALREADY_EXISTS when the volume of that name is not what is requested: ${what}`, async () => {
    const { create, api } = world();
    putVolume(api, 'v', { nodeName: 'a', address: { shelf: 1, slot: 0 } });
    await expect(create(request)).rejects.toMatchObject({ code: Code.ALREADY_EXISTS, message: expect.stringMatching(message) });
  });
}

test('a volume on a new node that the watch has not shown is on the segment of that node, also when it is found again', async () => {
  const { api, deps } = world();
  putNode(api, 'a', { segment: 's2' });
  putVolume(api, 'v', ready.spec, ready.status);
  const service = controllerService({ ...deps, nodes: lateWatch });
  const accessibleTopology = [{ segments: { [SEGMENT_KEY]: 's2' } }];
  const request = { name: 'v', volumeCapabilities: [mount], accessibilityRequirements: { requisite: accessibleTopology } };
  expect((await service.createVolume(request as never, call())).volume).toMatchObject({ volumeId: 'v', accessibleTopology });
});

test('ALREADY_EXISTS when the name belongs to an external target', async () => {
  const { create, api } = world();
  putVolume(api, 'v', { external: { shelf: 1, slot: 0 } });
  await expect(create()).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
});

test('a name whose volume is being deleted is tried again later', async () => {
  const { create, api } = world();
  putVolume(api, 'v');
  await api.delete(AOE_VOLUMES, 'v');
  await expect(create()).rejects.toMatchObject({ code: Code.ABORTED });
});

test('what the API server refuses is an invalid argument; when it does not answer, the caller tries again', async () => {
  const { create, api } = world();
  api.failNext('create', new KubeError(422, 'Invalid', 'spec.pool: too long'));
  await expect(create()).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT, message: expect.stringContaining('too long') });
  api.failNext('create', new KubeError(503, 'Unreachable', 'connection refused'));
  await expect(create()).rejects.toMatchObject({ code: Code.UNAVAILABLE });
});

test('an encrypted volume has room for its header, and the size that was asked for is what its user gets', async () => {
  const { create, volume } = world({ ...ready, status: { ...ready.status, capacity: '80Mi' } });
  const request = { parameters: { encrypted: 'true' }, capacityRange: range(64 * MiB, 64 * MiB) };
  const made = await create(request);
  expect(Number(made.volume?.capacityBytes)).toBe(64 * MiB);
  expect(volume()?.spec).toMatchObject({ capacity: '80Mi', encryption: 'LUKS2' });
  expect(Number((await create(request)).volume?.capacityBytes)).toBe(64 * MiB);
  await expect(create({ capacityRange: range(64 * MiB) })).rejects.toMatchObject({
    code: Code.ALREADY_EXISTS,
    message: expect.stringMatching(/encryption LUKS2, but none/),
  });
});

test('a volume has the time of takeovers of its StorageClass, and a repeated call is answered when a person has changed it since', async () => {
  const { create, volume, deps } = world();
  const request = { parameters: { takeoverAfter: '300s' } };
  await create(request);
  expect(volume()?.spec.takeoverAfter).toBe('300s');
  await deps.kube.patch(AOE_VOLUMES, 'v', { spec: { takeoverAfter: 'Never' } });
  expect((await create(request)).volume?.volumeId).toBe('v');
  expect(volume()?.spec.takeoverAfter).toBe('Never');
});

test('while automatic takeover is off, no volume with a time for it is made; Never is kept for later', async () => {
  const { create, api, volume } = world(ready, { hasAutomaticTakeover: false });
  const request = { parameters: { takeoverAfter: '300s' } };
  await expect(create(request)).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringMatching(/^StorageClass parameter takeoverAfter: .* set takeover\.enabled=true in the chart/),
  });
  expect(api.all('AoEVolume')).toStrictEqual([]);
  await create({ parameters: { takeoverAfter: 'Never' } });
  expect(volume()?.spec.takeoverAfter).toBe('Never');
});

test('a volume that was made before automatic takeover was turned off is found again', async () => {
  for (const reaction of [ready, undefined]) {
    const { create, api, volume } = world(reaction, { hasAutomaticTakeover: false });
    putVolume(api, 'v', { takeoverAfter: '300s', ...ready.spec }, reaction?.status);
    const again = create({ parameters: { takeoverAfter: '300s' } });
    // One that is not exported yet is waited for.
    if (reaction) expect((await again).volume?.volumeId).toBe('v');
    else await expect(again).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(volume()?.spec.takeoverAfter).toBe('300s');
  }
});

test('a volume with a wrong time of takeovers is not made', async () => {
  const { create, api } = world();
  const refused = { code: Code.INVALID_ARGUMENT, message: expect.stringMatching(/takeoverAfter: "5 minutes" is neither/) };
  await expect(create({ parameters: { takeoverAfter: '5 minutes' } })).rejects.toMatchObject(refused);
  expect(api.all('AoEVolume')).toStrictEqual([]);
});

test('a volume with authenticated encryption has room for journal and tags, too', async () => {
  const { create, volume } = world({ ...ready, status: { ...ready.status, capacity: '84Mi' } });
  const request = { parameters: { encrypted: 'authenticated' }, capacityRange: range(64 * MiB) };
  const made = await create(request);
  expect(Number(made.volume?.capacityBytes)).toBeGreaterThanOrEqual(64 * MiB);
  expect(volume()?.spec.encryption).toBe('LUKS2Authenticated');
  const disk = parseQuantity(volume()?.spec.capacity ?? '0');
  expect(disk).toBeGreaterThan(81 * MiB);
  expect(disk).toBeLessThan(84 * MiB);
  await expect(create({ ...request, parameters: { encrypted: 'true' } })).rejects.toMatchObject({ code: Code.ALREADY_EXISTS });
});

test('encryption that is not understood, or that no node could begin, is INVALID_ARGUMENT', async () => {
  const { create } = world();
  await expect(create({ parameters: { encrypted: 'yes' } })).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringMatching(/encrypted is "yes": write "true", "authenticated" or "false"/),
  });
  const shared = { volumeCapabilities: [{ block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } }] };
  await expect(create({ ...shared, parameters: { encrypted: 'true' } })).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringMatching(/ReadWriteMany cannot be encrypted/),
  });
  await expect(create({ parameters: { encrypted: 'toString' } })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  const readers = { volumeCapabilities: [{ mount: {}, accessMode: { mode: Mode.MULTI_NODE_READER_ONLY } }] };
  for (const each of [shared, readers])
    await expect(create({ ...each, parameters: { encrypted: 'authenticated' } })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  expect((await create({ parameters: { encrypted: 'false' } })).volume?.volumeId).toBe('v');
});
