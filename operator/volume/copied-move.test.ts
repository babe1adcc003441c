import type { AoEPool } from '../../api/pool.ts';
import { AOE_POOLS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, MOVE_FINALIZER, MOVE_TO, VOLUME_FINALIZER } from '../../api/volume.ts';
import { addressClaim, claimsOf } from '../placement/claims.ts';
import { cluster, FOUND, UID, type World } from '../testing/move-cluster.ts';

/** A volume that has its new place, storage-2, and is not served there yet; its earlier data is on storage-1. */
describe('a volume that was switched to its new place', () => {
  const MOVE = { id: '0123abcd', stage: 'Switched', nodeName: 'storage-1', pool: 'q' } as const;
  const switched = (world: World = {}) => {
    const it = cluster({
      annotations: {},
      ...world,
      spec: { nodeName: 'storage-2', moves: 1, move: MOVE, ...world.spec },
      status: { moves: 0, ...world.status },
    });
    const volume = it.live() as AoEVolume;
    it.api.put({ ...volume, metadata: { ...volume.metadata, finalizers: [VOLUME_FINALIZER, MOVE_FINALIZER] } });
    return it;
  };
  const without = async (it: ReturnType<typeof switched>, finalizers: string[]) =>
    it.api.patch(AOE_VOLUMES, 'v', { metadata: { finalizers } });

  it('keeps its earlier data while a deletion waits for the agent at the new place, and loses it after that', async () => {
    const it = switched({ deleted: true });
    await it.reconcile();
    expect(it.live()?.spec.move).toStrictEqual(MOVE);
    await without(it, [MOVE_FINALIZER]);
    await it.reconcile();
    expect(it.live()?.spec.move).toStrictEqual({ ...MOVE, stage: 'Removing' });
  });

  it('keeps its earlier data when a deletion retains data', async () => {
    const it = switched({ deleted: true, spec: { deletionPolicy: 'Retain' } });
    await without(it, [MOVE_FINALIZER, 'of/others']);
    await it.reconcile();
    await it.reconcile();
    expect(it.live()?.metadata.finalizers).toStrictEqual(['of/others']);
    expect(it.live()?.spec.move).toStrictEqual(MOVE);
    expect(it.reasons()).toStrictEqual(['MovedDataLeft']);
    expect(it.api.events[0]?.message).toMatch(/is kept: .*in pool q on node storage-1/);
  });

  it('keeps its earlier data when it is given up and deleted', async () => {
    const it = switched({ deleted: true, annotations: { [GIVE_UP]: 'storage-2' } });
    it.api.remove({ kind: 'Node' }, 'storage-2');
    it.api.remove({ kind: 'AoENode' }, 'storage-2');
    const { metadata } = it.live() as AoEVolume;
    await without(it, [...(metadata.finalizers ?? []), 'of/others']);
    await it.reconcile();
    await it.reconcile();
    expect(it.live()?.metadata.finalizers).toStrictEqual(['of/others']);
    expect(it.live()?.spec.move).toStrictEqual(MOVE);
    expect(it.reasons().filter((each) => each === 'DataAbandoned')).toHaveLength(1);
    expect(it.api.events[0]).toMatchObject({
      reason: 'DataAbandoned',
      message: expect.stringContaining('so does that of pool q on node storage-1'),
    });
  });

  /** The new node never comes back. The earlier one is there, and storage-3. */
  const lost = (to: string, world: World = {}) => {
    const it = switched({ annotations: { [MOVE_TO]: to }, ...world });
    for (const kind of ['Node', 'AoENode']) {
      it.api.remove({ kind }, 'storage-2');
      for (const name of ['storage-1', 'storage-3']) it.api.put({ apiVersion: API_VERSION, kind, metadata: { name } });
    }
    const entry = { name: 'storage-1', ready: true, size: '4Gi' };
    const disks = { ...entry, name: 'storage-3', displacedVolumes: [{ ...FOUND, copy: MOVE.id }] };
    for (const [name, nodes] of Object.entries({ p: [disks], q: [entry] }))
      it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name }, spec: {}, status: { nodes } } as never);
    return it;
  };

  it('says for as long as its earlier data is kept with how many moves that was served, also when its new disks are lost once more', async () => {
    const copying = { ...MOVE, stage: 'Copying', nodeName: 'storage-2', pool: 'p' } as const;
    const status = { moves: 5, move: { id: MOVE.id, nodeName: 'storage-2', phase: 'Verified' as const, bytesTotal: 1 << 30 } };
    const it = switched({
      annotations: { [MOVE_TO]: 'storage-2/p' },
      exists: ['Node', 'AoENode'],
      spec: { nodeName: 'storage-1', pool: 'q', moves: 5, move: copying },
      status,
    });
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-2', moves: 6, move: { ...MOVE, moves: 5, address: { shelf: 1, slot: 0 } } });
    const back = lost('storage-1/q', { spec: { moves: 7, move: { ...MOVE, moves: 5, address: { shelf: 1, slot: 1 } } } });
    await back.reconcile();
    // Neither that of the node that was lost, nor that at the earlier place.
    expect(back.live()?.spec).toMatchObject({
      ...{ nodeName: 'storage-1', moves: 8, address: { shelf: 1, slot: 2 } },
      move: { nodeName: 'storage-2', moves: 5, address: { shelf: 1, slot: 0 }, back: true },
    });
  });

  it('stays where it is when a growth has ended since its data was compared: the copy is made again in the new size', async () => {
    const copying = { ...MOVE, stage: 'Copying', nodeName: 'storage-2', pool: 'p' } as const;
    const spec = { nodeName: 'storage-1', pool: 'q', moves: 5, move: copying };
    for (const [bytesTotal, isSwitched] of [
      [1 << 30, false],
      [2 ** 31, true],
    ] as const) {
      const status = { capacity: '2Gi', moves: 5, move: { id: MOVE.id, nodeName: 'storage-2', phase: 'Verified' as const, bytesTotal } };
      const it = switched({ annotations: { [MOVE_TO]: 'storage-2/p' }, exists: ['Node', 'AoENode'], spec, status });
      await it.reconcile();
      expect(it.live()?.spec.move?.stage === 'Switched').toBe(isSwitched);
    }
  });

  it('is taken to have been moved once since, when an earlier operator has switched it', async () => {
    const it = lost('storage-1/q', { spec: { moves: 3 } });
    await it.reconcile();
    expect(it.live()?.spec.move).toMatchObject({ nodeName: 'storage-2', moves: 2, back: true });
  });

  it('leaves the address at its earlier place to nobody until that place is empty, or while its node, which is gone, may come back', async () => {
    const address = { shelf: 1, slot: 1 };
    const it = switched({ spec: { move: { ...MOVE, stage: 'Removing', address } } });
    expect(claimsOf(it.live() as AoEVolume)).toContain(addressClaim(address));
    it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'q' }, spec: {} } as never);
    for (const kind of ['Node', 'AoENode']) it.api.remove({ kind }, 'storage-1');
    await it.reconcile();
    expect(it.live()?.spec.move).toBeUndefined();
    expect(it.api.read<AoEPool>(AOE_POOLS, 'q')?.status?.abandoned).toStrictEqual([
      { uid: UID, volume: 'v', node: 'storage-1', addresses: [address] },
    ]);
  });

  it('goes back to its earlier data when a person asks for it after the new node was lost, and that data stays', async () => {
    const it = lost('storage-1/q');
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({
      ...{ nodeName: 'storage-1', pool: 'q', moves: 2, address: { shelf: 1, slot: 1 } },
      move: { id: MOVE.id, stage: 'Switched', nodeName: 'storage-2', pool: 'p', back: true },
    });
    expect(it.live()?.metadata.annotations).toStrictEqual({});
    const conditions = (it.live() as AoEVolume).status?.conditions;
    await it.api.patch(AOE_VOLUMES, 'v', { status: { moves: 2, conditions } }, { subresource: 'status' });
    // It came back meanwhile: what it has may be newer, so its agent is not asked to remove it.
    for (const kind of ['Node', 'AoENode']) it.api.put({ apiVersion: API_VERSION, kind, metadata: { name: 'storage-2' } });
    for (let pass = 0; pass < 3; pass++) await it.reconcile();
    expect(it.live()?.spec.move).toBeUndefined();
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    expect(it.reasons()).toStrictEqual(['Moved', 'MovedDataLeft']);
  });

  it('does not go back to its earlier data when hosts may have written since, unless that was given up', async () => {
    const it = lost('storage-1/q', { status: { moves: 1 } });
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-2', move: MOVE });
    expect(it.ready()).toMatchObject({ reason: 'MoveWaits', message: expect.stringContaining('hosts may have written there') });
    await it.api.patch(AOE_VOLUMES, 'v', { metadata: { annotations: { [GIVE_UP]: 'storage-2' } } });
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-1', pool: 'q', moves: 2 });
  });

  it('follows its new disks to another node, and the earlier data is kept until it is served there', async () => {
    const it = lost('storage-3');
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-3', pool: 'p', moves: 2, move: MOVE });
  });

  it('is not given a copy from before it went back to its earlier data', async () => {
    const it = lost('storage-3', { spec: { move: { ...MOVE, back: true } } });
    await it.reconcile();
    expect(it.live()?.spec.nodeName).toBe('storage-2');
    expect(it.ready()).toMatchObject({ reason: 'MoveWaits', message: expect.stringContaining('half a copy') });
  });

  it('loses the finalizer of a move that a person took away from the spec, and can be deleted', async () => {
    const it = switched();
    await it.api.patch(AOE_VOLUMES, 'v', { spec: { move: null } });
    await it.reconcile();
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    expect(it.reasons()).toStrictEqual(['MovedDataLeft']);
  });

  it('waits, once it was given up and deleted, until half a copy of it is removed', async () => {
    const copying = { ...MOVE, stage: 'Copying' } as const;
    const it = switched({ deleted: true, annotations: { [GIVE_UP]: 'storage-2' }, exists: ['Node'], spec: { move: copying } });
    for (const kind of ['Node', 'AoENode']) it.api.remove({ kind }, 'storage-2');
    await it.reconcile();
    expect(it.live()?.metadata.finalizers).toStrictEqual([MOVE_FINALIZER]);
    expect(it.live()?.spec.move?.stage).toBe('Removing');
    expect(it.ready()?.message).toMatch('the agent on storage-1 is to remove what a move left in pool q there');
  });

  it('says how it goes back when nobody has asked for that yet', async () => {
    const it = lost('storage-1/q', { annotations: {} });
    await it.reconcile();
    expect(it.ready()).toMatchObject({ reason: 'StorageNodeGone', message: expect.stringContaining('aoe.dev/move-to=storage-1/q') });
    expect(it.live()?.spec.move).toStrictEqual(MOVE);
  });

  for (const [stage, why] of [
    ['Switched', /not served on node storage-2 yet.*kubectl delete node storage-2/],
    ['Removing', /in pool q on node storage-1 is not removed yet.*kubectl delete node storage-1/],
  ] as const)
    it(`refuses a second move at stage ${stage} at once, so that pods get the volume`, async () => {
      const it = switched({ annotations: { [MOVE_TO]: 'storage-3' }, exists: ['Node'], spec: { move: { ...MOVE, stage } } });
      await it.reconcile();
      expect(it.live()?.metadata.annotations).toStrictEqual({});
      expect(it.live()?.spec.move).toStrictEqual({ ...MOVE, stage });
      expect(it.api.events[0]).toMatchObject({ reason: 'MoveRefused', message: expect.stringMatching(why) });
    });
});

it('a volume is not copied to a storage node without a node plugin whose Node says that it is on another segment', async () => {
  const world: World = {
    annotations: { [MOVE_TO]: 'storage-2/p' },
    exists: ['Node', 'AoENode'],
    spec: { pool: 'q' },
    entry: { displacedVolumes: [] },
  };
  const it = cluster(world);
  it.api.put({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'storage-2', labels: { 'aoe.dev/segment': 'red' } } });
  await it.reconcile();
  expect(it.live()?.spec.move).toBeUndefined();
  expect(it.api.events[0]).toMatchObject({
    reason: 'MoveRefused',
    message: expect.stringMatching(/storage-2 is on segment red, and node storage-1 on segment default/),
  });
});
