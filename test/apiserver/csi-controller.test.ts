import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AOE_NODES, AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube } from '../../kube/mod.ts';
import { Code, csi, fromInt64, int64, RpcClient } from '../../rpc/mod.ts';
import { answered } from './answered.ts';
import { FakeAgent, GRAIN } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { Program } from './programs.ts';
import { ApiServer, freePorts, unavailable } from './server.ts';

const { v1 } = csi;
const { Mode } = v1.VolumeCapability.AccessMode;
const GIB = 1024 ** 3;
const [OPERATOR = '', CONTROLLER = ''] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
const SEGMENT = 'aoe.dev/segment';

const mount = (mode: number = Mode.SINGLE_NODE_WRITER, fsType = '') => ({ mount: { fsType }, accessMode: { mode } });
const block = (mode: number = Mode.SINGLE_NODE_WRITER) => ({ block: {}, accessMode: { mode } });
const range = (least: number, most = 0) => ({ requiredBytes: int64(least), limitBytes: int64(most) });

describe.skipIf(unavailable)('csi controller with a real API server', () => {
  const directory = mkdtempSync(join(tmpdir(), 'csi-'));
  const socket = join(directory, 'csi.sock');
  const stop = new AbortController();
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let controller: Program;
  let agent: FakeAgent;
  let agentRuns: Promise<void>;
  let client: RpcClient<csi.v1.Controller>;

  beforeAll(async () => {
    server = await ApiServer.start();
    kube = server.kube();
    agent = new FakeAgent(kube);
    agentRuns = agent.run(stop.signal);
    await makePool(kube, 'default');
    await makePool(kube, 'blue');
    await Promise.all([announceNode(kube, 'storage-1'), announceNode(kube, 'worker-1'), announceNode(kube, 'storage-2', 'blue')]);
    await reportPool(kube, 'default', { name: 'storage-1', ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
    await reportPool(kube, 'blue', { name: 'storage-2', ready: true, size: '10Gi', free: '10Gi', granularity: '4Mi' });
    const common = [`--kubeconfig=${server.kubeconfig}`];
    operator = new Program('operator/main.ts', [...common, `--http=${OPERATOR}`, '--namespace=default']);
    controller = new Program('csi/main.ts', ['controller', ...common, `--http=${CONTROLLER}`, `--endpoint=unix://${socket}`]);
    await Promise.all([operator.ready(OPERATOR), controller.ready(CONTROLLER)]);
    client = new RpcClient(v1.Controller, v1, socket);
  });

  afterAll(async () => {
    client?.close();
    stop.abort();
    await agentRuns;
    await Promise.all([operator?.kill(), controller?.kill()]);
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const create = (name: string, request: csi.v1.ICreateVolumeRequest = {}, timeoutMs = 60_000) =>
    client.call('createVolume', { name, capacityRange: range(GIB), volumeCapabilities: [mount()], ...request }, { timeoutMs });
  const publish = (volumeId: string, nodeId: string, request: csi.v1.IControllerPublishVolumeRequest = {}, timeoutMs = 60_000) =>
    client.call('controllerPublishVolume', { volumeId, nodeId, volumeCapability: mount(), ...request }, { timeoutMs });
  const unpublish = (volumeId: string, nodeId = '') =>
    client.call('controllerUnpublishVolume', { volumeId, nodeId }, { timeoutMs: 60_000 });
  const remove = (volumeId: string, timeoutMs = 60_000) => client.call('deleteVolume', { volumeId }, { timeoutMs });
  const live = (name: string) => kube.get<AoEVolume>(AOE_VOLUMES, name);
  const refuses = (call: Promise<unknown>, code: number, message: RegExp) =>
    expect(call).rejects.toSatisfy((error: Error & { code: number }) => {
      expect(error.code, error.message).toBe(code);
      expect(error.message).toMatch(message);
      expect(error.message).not.toMatch(/\n\s+at /);
      return true;
    });

  it('makes a volume from a claim, the same one when asked again, and deletes it', async () => {
    const parameters = { 'csi.storage.k8s.io/pvc/name': 'data', 'csi.storage.k8s.io/pvc/namespace': 'shop' };
    const started = performance.now();
    const { volume: made } = await create('pvc-1', { parameters, capacityRange: range(GIB + 1) });
    console.log(`CreateVolume took ${Math.round(performance.now() - started)} ms`);
    expect(made?.volumeId).toBe('pvc-1');
    expect(fromInt64(made?.capacityBytes)).toBe(GIB + GRAIN);
    expect(made?.accessibleTopology?.map(({ segments }) => segments)).toStrictEqual([{ [SEGMENT]: 'default' }]);
    const object = await live('pvc-1');
    expect(object?.spec.capacity).toBe(String(GIB + 1));
    expect(object?.metadata.annotations?.['aoe.dev/claim']).toBe('shop/data');
    expect((await create('pvc-1', { capacityRange: range(GIB + 1) })).volume?.volumeId).toBe('pvc-1');
    expect((await live('pvc-1'))?.metadata.uid).toBe(object?.metadata.uid);
    await remove('pvc-1');
    expect(await live('pvc-1')).toBeUndefined();
    await remove('pvc-1');
  });

  it('makes a volume larger, and what there is no room for can be taken back', async () => {
    await create('pvc-grows');
    const expand = (bytes: number) =>
      client.call(
        'controllerExpandVolume',
        { volumeId: 'pvc-grows', capacityRange: range(bytes), volumeCapability: mount() },
        { timeoutMs: 60_000 },
      );
    const { capacityBytes, nodeExpansionRequired } = await expand(2 * GIB);
    expect([fromInt64(capacityBytes), nodeExpansionRequired]).toStrictEqual([2 * GIB, true]);
    expect((await live('pvc-grows'))?.status).toMatchObject({ capacity: '2Gi', reserved: '2Gi' });
    expect(fromInt64((await expand(2 * GIB)).capacityBytes)).toBe(2 * GIB);
    await refuses(expand(1024 * GIB), Code.OUT_OF_RANGE, /does not grow: pool default on .* has .* free, and 1022Gi more are needed/);
    expect((await live('pvc-grows'))?.spec.capacity, 'nothing is under way').toBe('2Gi');
    expect(fromInt64((await expand(3 * GIB)).capacityBytes)).toBe(3 * GIB);
    await remove('pvc-grows');
  });

  it('refuses a repeat that asks for something else', async () => {
    await create('pvc-2');
    await refuses(
      create('pvc-2', { capacityRange: range(2 * GIB) }),
      Code.ALREADY_EXISTS,
      /exists with capacity 1Gi, but at least 2Gi is requested/,
    );
    await refuses(create('pvc-2', { parameters: { pool: 'blue' } }), Code.ALREADY_EXISTS, /exists with pool default/);
    await refuses(create('pvc-2', { volumeCapabilities: [block(Mode.MULTI_NODE_MULTI_WRITER)] }), Code.ALREADY_EXISTS, /access Exclusive/);
    const elsewhere = { requisite: [{ segments: { [SEGMENT]: 'blue' } }] };
    await refuses(
      create('pvc-2', { accessibilityRequirements: elsewhere }),
      Code.ALREADY_EXISTS,
      /exists with segment default, but blue is requested/,
    );
    await remove('pvc-2');
  });

  const wrong: [string, csi.v1.ICreateVolumeRequest, number, RegExp][] = [
    ['no name', { name: '' }, Code.INVALID_ARGUMENT, /^name is missing/],
    ['no capabilities', { volumeCapabilities: [] }, Code.INVALID_ARGUMENT, /volume_capabilities is missing/],
    ['a filesystem on many nodes', { volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)] }, Code.INVALID_ARGUMENT, /ReadWriteMany/],
    ['a volume that nobody can fill', { volumeCapabilities: [mount(Mode.MULTI_NODE_READER_ONLY)] }, Code.INVALID_ARGUMENT, /stay empty/],
    ['another filesystem', { volumeCapabilities: [mount(Mode.SINGLE_NODE_WRITER, 'btrfs')] }, Code.INVALID_ARGUMENT, /use ext4 or xfs/],
    ['neither block nor mount', { volumeCapabilities: [{ accessMode: { mode: 1 } }] }, Code.INVALID_ARGUMENT, /block or mount/],
    ['an unknown access mode', { volumeCapabilities: [mount(Mode.UNKNOWN)] }, Code.INVALID_ARGUMENT, /not supported/],
    ['an unknown parameter', { parameters: { poool: 'x' } }, Code.INVALID_ARGUMENT, /poool is not known: use pool/],
    ['an unknown pool', { parameters: { pool: 'fast' } }, Code.INVALID_ARGUMENT, /AoEPool fast does not exist: there are blue, default/],
    [
      'a source that is not there',
      { volumeContentSource: { snapshot: { snapshotId: 's' } } },
      Code.NOT_FOUND,
      /AoESnapshot s does not exist/,
    ],
    ['a negative size', { capacityRange: range(-1) }, Code.INVALID_ARGUMENT, /cannot be negative/],
    ['a minimum over the maximum', { capacityRange: range(2 * GIB, GIB) }, Code.OUT_OF_RANGE, /at least 2147483648 and at most/],
    ['a size that rounding makes too big', { capacityRange: range(GIB + 1, GIB + 2) }, Code.OUT_OF_RANGE, /multiples of 4Mi/],
    [
      'more than the pool has',
      { capacityRange: range(101 * GIB) },
      Code.RESOURCE_EXHAUSTED,
      /no node of pool default has 101Gi free: 100Gi on storage-1/,
    ],
    [
      'a segment without storage',
      { accessibilityRequirements: { requisite: [{ segments: { [SEGMENT]: 'red' } }] } },
      Code.RESOURCE_EXHAUSTED,
      /is on segment default/,
    ],
    [
      'a topology of somebody else',
      { accessibilityRequirements: { requisite: [{ segments: { zone: 'a' } }] } },
      Code.INVALID_ARGUMENT,
      /topology key zone/,
    ],
  ];
  for (const [what, request, code, message] of wrong) {
    it(`refuses ${what}, and leaves nothing behind`, async () => {
      await refuses(create('pvc-wrong', request), code, message);
      expect(await live('pvc-wrong')).toBeUndefined();
    });
  }

  it('does not stick to a place that turns out to be full', async () => {
    agent.full.add('pvc-full');
    await refuses(create('pvc-full'), Code.RESOURCE_EXHAUSTED, /AoEVolume pvc-full: vg0 has nothing free/);
    agent.full.delete('pvc-full');
    await agent.volumes.waitFor('pvc-full', (now) => (now ? undefined : true), { timeoutMs: 60_000 });
    expect((await create('pvc-full')).volume?.volumeId).toBe('pvc-full');
    await remove('pvc-full');
  });

  it('makes names that no resource can have into some that can, each its own', async () => {
    const [a, b] = await Promise.all([create('Größe / 1'), create('Größe / 2')]);
    expect(a.volume?.volumeId ?? '').toMatch(/^[a-z0-9-]+$/);
    expect(a.volume?.volumeId).not.toBe(b.volume?.volumeId);
    expect((await create('Größe / 1')).volume?.volumeId).toBe(a.volume?.volumeId);
    await Promise.all([remove(a.volume?.volumeId ?? ''), remove(b.volume?.volumeId ?? '')]);
  });

  it('keeps within the limit when the size is left to it', async () => {
    const { volume: made } = await create('pvc-limit', { capacityRange: range(0, 10 * 1024 * 1024) });
    expect(fromInt64(made?.capacityBytes)).toBe(2 * GRAIN);
    await remove('pvc-limit');
  });

  it('goes to the segment that is asked for', async () => {
    const accessibilityRequirements = { requisite: [{ segments: { [SEGMENT]: 'blue' } }] };
    const { volume: made } = await create('pvc-blue', { accessibilityRequirements, parameters: { pool: 'blue' } });
    expect(made?.accessibleTopology?.[0]?.segments?.[SEGMENT]).toBe('blue');
    await refuses(publish('pvc-blue', 'worker-1'), Code.FAILED_PRECONDITION, /on segment blue .* node worker-1 is on segment default/);
    await remove('pvc-blue');
  });

  it('attaches an Exclusive volume to one node at a time, and names the holder', async () => {
    await create('pvc-3');
    const { publishContext } = await publish('pvc-3', 'worker-1');
    const object = await live('pvc-3');
    expect(publishContext).toStrictEqual({
      address: object?.status?.address,
      serial: object?.status?.serial,
      volumeUID: object?.metadata.uid,
      access: 'Exclusive',
      external: 'false',
    });
    expect(object?.status?.initiators?.nodes).toStrictEqual(['worker-1']);
    expect((await publish('pvc-3', 'worker-1')).publishContext).toStrictEqual(publishContext);
    await refuses(publish('pvc-3', 'storage-1'), Code.FAILED_PRECONDITION, /pvc-3 is held by node worker-1: it is Exclusive/);
    await refuses(remove('pvc-3'), Code.FAILED_PRECONDITION, /in use by node worker-1/);
    await unpublish('pvc-3', 'storage-1');
    expect((await live('pvc-3'))?.spec.initiators.nodes).toStrictEqual(['worker-1']);
    await unpublish('pvc-3', 'worker-1');
    expect((await live('pvc-3'))?.status?.initiators?.nodes ?? []).toStrictEqual([]);
    await unpublish('pvc-3', 'worker-1');
    await publish('pvc-3', 'storage-1');
    await unpublish('pvc-3');
    await remove('pvc-3');
  });

  it('attaches a Shared volume to many nodes', async () => {
    const shared = block(Mode.MULTI_NODE_MULTI_WRITER);
    await create('pvc-shared', { volumeCapabilities: [shared] });
    await refuses(publish('pvc-shared', 'worker-1', { volumeCapability: mount() }), Code.INVALID_ARGUMENT, /is a block device/);
    await publish('pvc-shared', 'worker-1', { volumeCapability: shared });
    await publish('pvc-shared', 'storage-1', { volumeCapability: shared });
    expect((await live('pvc-shared'))?.status?.initiators?.nodes?.toSorted()).toStrictEqual(['storage-1', 'worker-1']);
    await refuses(publish('pvc-shared', 'worker-1', { volumeCapability: mount() }), Code.ALREADY_EXISTS, /is a block device/);
    await unpublish('pvc-shared');
    await remove('pvc-shared');
  });

  it('does not attach what is given to a MAC address by hand', async () => {
    await create('pvc-mac');
    await kube.patch(AOE_VOLUMES, 'pvc-mac', { spec: { initiators: { macs: ['02:00:00:00:00:07'] } } });
    await refuses(publish('pvc-mac', 'worker-1'), Code.FAILED_PRECONDITION, /02:00:00:00:00:07 by spec.initiators.macs/);
    await refuses(remove('pvc-mac'), Code.FAILED_PRECONDITION, /02:00:00:00:00:07/);
    await kube.patch(AOE_VOLUMES, 'pvc-mac', { spec: { initiators: { macs: null } } });
    await remove('pvc-mac');
  });

  it('attaches the target of somebody else', async () => {
    const spec: AoEVolume['spec'] = {
      access: 'Exclusive',
      initiators: {},
      deletionPolicy: 'Delete',
      external: { shelf: 70, slot: 2, serial: 'VB7' },
    };
    await kube.create(AOE_VOLUMES, { ...volume('vblade'), spec });
    const { publishContext } = await publish('vblade', 'worker-1');
    expect(`${publishContext?.address} ${publishContext?.serial} ${publishContext?.external}`).toBe('e70.2 VB7 true');
    await refuses(publish('vblade', 'storage-1'), Code.FAILED_PRECONDITION, /held by node worker-1/);
    await unpublish('vblade', 'worker-1');
    await kube.delete(AOE_VOLUMES, 'vblade');
  });

  it('answers NOT_FOUND for volumes and nodes that are not there', async () => {
    await create('pvc-4');
    await refuses(publish('pvc-none', 'worker-1'), Code.NOT_FOUND, /no AoEVolume pvc-none/);
    await refuses(publish('pvc-4', 'worker-9'), Code.NOT_FOUND, /node worker-9 has no AoENode/);
    await refuses(publish('Not A Name', 'worker-1'), Code.NOT_FOUND, /no AoEVolume Not A Name/);
    const validate = client.call('validateVolumeCapabilities', { volumeId: 'pvc-none', volumeCapabilities: [mount()] });
    await refuses(validate, Code.NOT_FOUND, /pvc-none/);
    await unpublish('pvc-none', 'worker-1');
    await remove('Not A Name');
    await remove('pvc-4');
  });

  it('refuses a second operation for a volume while one is under way', async () => {
    await create('pvc-5');
    agent.down.add('storage-1');
    const first = answered(() => publish('pvc-5', 'worker-1', {}, 15_000));
    const waits = refuses(
      first,
      Code.DEADLINE_EXCEEDED,
      /still waiting for agent and target on storage-1 to admit node worker-1: exported/,
    );
    while (!(await live('pvc-5'))?.spec.initiators.nodes) await new Promise((resolve) => setTimeout(resolve, 20));
    await refuses(unpublish('pvc-5', 'worker-1'), Code.ABORTED, /ControllerPublishVolume is still under way/);
    await waits;
    await agent.up('storage-1');
    await publish('pvc-5', 'worker-1');
    await unpublish('pvc-5', 'worker-1');
    await remove('pvc-5');
  });

  it('says what a new volume waits for, keeps it, and finds it again', async () => {
    agent.down.add('storage-1');
    await refuses(
      answered(() => create('pvc-6', {}, 10_000)),
      Code.DEADLINE_EXCEEDED,
      /still waiting for its export: waiting for the agent on storage-1/,
    );
    expect(await live('pvc-6')).toBeTruthy();
    await agent.up('storage-1');
    await create('pvc-6');
    await remove('pvc-6');
  });

  it('says at once when the storage node is gone', async () => {
    await create('pvc-7');
    await kube.delete(AOE_NODES, 'storage-1');
    agent.down.add('storage-1');
    await refuses(
      publish('pvc-7', 'worker-1'),
      Code.UNAVAILABLE,
      /node storage-1, which holds the data, does not exist any more: .* aoe\.dev.give-up=storage-1/,
    );
    await announceNode(kube, 'storage-1');
    await reportPool(kube, 'default', { name: 'storage-1', ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
    await agent.up('storage-1');
    await unpublish('pvc-7');
    await remove('pvc-7');
  });

  it('lets go of a volume that is in trouble', async () => {
    await kube.create(AOE_VOLUMES, volume('conflict'));
    agent.conflicts.add('conflict');
    await refuses(publish('conflict', 'worker-1'), Code.UNAVAILABLE, /a stranger answers/);
    expect((await live('conflict'))?.spec.initiators.nodes).toStrictEqual(['worker-1']);
    await unpublish('conflict', 'worker-1');
    agent.conflicts.delete('conflict');
    await remove('conflict');
  });

  it('lists volumes in pages that survive deletions', async () => {
    const names = ['list-1', 'list-2', 'list-3'];
    await Promise.all(names.map((name) => create(name)));
    await publish('list-3', 'worker-1');
    const first = await client.call('listVolumes', { maxEntries: 2 });
    expect(first.entries?.length).toBe(2);
    await remove(first.entries?.[1]?.volume?.volumeId ?? '');
    const second = await client.call('listVolumes', { maxEntries: 2, startingToken: first.nextToken });
    expect(second.entries?.map((entry) => entry.volume?.volumeId)).toStrictEqual(['list-3']);
    expect(second.nextToken).toBe('');
    expect(second.entries?.[0]?.status?.publishedNodeIds).toStrictEqual(['worker-1']);
    const { abnormal, message } = second.entries?.[0]?.status?.volumeCondition ?? {};
    expect({ abnormal, message }).toStrictEqual({ abnormal: false, message: expect.any(String) });
    await refuses(client.call('listVolumes', { startingToken: 'invalid-token' }), Code.ABORTED, /list again/);
    const one = await client.call('controllerGetVolume', { volumeId: 'list-3' });
    expect(one.status?.publishedNodeIds).toStrictEqual(['worker-1']);
    await unpublish('list-3');
    await Promise.all(names.map((name) => remove(name)));
  });

  it('reports the free space of a pool on a segment', async () => {
    const capacity = async (request: csi.v1.IGetCapacityRequest) => {
      const answer = await client.call('getCapacity', request);
      return [fromInt64(answer.availableCapacity) / GIB, fromInt64(answer.maximumVolumeSize?.value) / GIB];
    };
    const on = (segment: string) => ({ accessibleTopology: { segments: { [SEGMENT]: segment } } });
    expect(await capacity(on('default'))).toStrictEqual([100, 100]);
    expect(await capacity(on('blue'))).toStrictEqual([0, 0]);
    expect(await capacity({ ...on('blue'), parameters: { pool: 'blue', 'csi.storage.k8s.io/fstype': 'xfs' } })).toStrictEqual([10, 10]);
    expect(await capacity({ parameters: { pool: 'nowhere' } })).toStrictEqual([0, 0]);
    await create('pvc-8', { capacityRange: range(40 * GIB) });
    expect(await capacity({})).toStrictEqual([60, 60]);
    await remove('pvc-8');
  });

  it('makes a hundred volumes at once', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `burst-${i}`);
    const started = performance.now();
    await Promise.all(names.map((name) => create(name, {}, 180_000)));
    console.log(`100 × CreateVolume at once: ${Math.round(performance.now() - started)} ms`);
    await refuses(create('burst-100'), Code.RESOURCE_EXHAUSTED, /free: 0 on storage-1/);
    const removing = performance.now();
    await Promise.all(names.map((name) => remove(name, 180_000)));
    console.log(`100 × DeleteVolume at once: ${Math.round(performance.now() - removing)} ms`);
  });

  it('leaves nothing behind', async () => {
    const { items } = await kube.list<AoEVolume>(AOE_VOLUMES);
    expect(items.map(({ metadata }) => metadata.name)).toStrictEqual([]);
    expect(agent.errors).toStrictEqual([]);
  });

  it('says that the API server is away, in a way that makes the caller come back', async () => {
    await server.killApi();
    await refuses(create('pvc-9', {}, 10_000), Code.UNAVAILABLE, /^CreateVolume: .*cannot be reached/);
    await refuses(remove('pvc-9', 10_000), Code.UNAVAILABLE, /^DeleteVolume: .*cannot be reached/);
  });
});
