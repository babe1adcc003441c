import { harness, MAC, UID } from '../testing/volume-harness.ts';

test('initiators are admitted, and reported with the generation that named them', async () => {
  const it = await harness();
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
  expect(it.volume().status?.initiators).toStrictEqual({ observedGeneration: 2, nodes: ['worker'], macs: [MAC.worker] });
  it.spec({ initiators: { nodes: [] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
});

test('the local link is admitted for this node only', async () => {
  const it = await harness();
  it.spec({ access: 'Shared', initiators: { nodes: ['storage', 'other'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual(['02:00:00:00:00:01', MAC.other, MAC.local].sort());
});

test('an Exclusive volume keeps the admitted host when the spec names two', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.spec({ initiators: { nodes: ['worker', 'other'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
  expect(it.volume().status?.initiators?.observedGeneration).toBe(2);
  expect(it.condition('Exported')?.reason).toBe('TooManyInitiators');
  it.spec({ initiators: { nodes: ['other'], macs: ['02:00:00:00:77:77'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('a node without interfaces is named and not reported as admitted, and one that had some keeps its access', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['stranger'] } });
  await it.reconcile();
  expect(it.volume().status?.initiators?.nodes).toStrictEqual([]);
  expect(it.condition('Exported')?.message ?? '').toMatch(/node stranger is not admitted/);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.kube.put({ kind: 'AoENode', metadata: { name: 'worker' }, spec: {} } as never);
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('a pod beside its volume keeps the disk when the local link is gone from the AoENode', async () => {
  const it = await harness();
  const volumes = it.make();
  it.spec({ initiators: { nodes: ['storage'] } });
  await it.reconcile(volumes);
  const { macs } = it.target.volumes.get(UID)?.volume ?? {};
  expect(macs?.includes(MAC.local)).toBeTruthy();
  const eth1 = { name: 'eth1', mac: '02:00:00:00:00:01', mtu: 9000 };
  it.kube.put({ kind: 'AoENode', metadata: { name: 'storage' }, spec: {}, status: { interfaces: [eth1] } } as never);
  await it.reconcile(volumes);
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual(macs);
});

test('a MAC that two nodes claim is not admitted', async () => {
  const it = await harness();
  it.kube.put({
    kind: 'AoENode',
    metadata: { name: 'twin' },
    spec: {},
    status: { interfaces: [{ name: 'e', mac: MAC.worker, mtu: 1500 }] },
  } as never);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
  expect(it.condition('Exported')?.message ?? '').toMatch(/AoENodes twin and worker both claim it/);
});

test('nobody is cut off by an old view of the volume', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const old = structuredClone(it.volume());
  old.spec.initiators = {};
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([MAC.worker]);
});

test('only nodes that have an Exclusive volume must take its lock before they write', async () => {
  const it = await harness();
  const needs = async (change: object): Promise<boolean | undefined> => {
    it.spec(change);
    await it.reconcile();
    return it.target.volumes.get(UID)?.volume.writesNeedLock;
  };
  expect(await needs({ initiators: { nodes: ['worker'] } })).toBe(true);
  expect(await needs({ initiators: { macs: ['02:00:00:00:77:77'] } })).toBe(false);
  expect(await needs({ initiators: {} })).toBe(true);
  expect(await needs({ access: 'Shared' })).toBe(false);
});

test('a target that does not know writes that need the lock is not called again and again', async () => {
  const it = await harness();
  it.target.features = [];
  it.target.stop();
  await it.connected(false);
  it.target.start();
  await it.connected(true);
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  const before = it.target.calls.length;
  await it.reconcile();
  expect(it.target.calls.slice(before)).toStrictEqual([]);
});
