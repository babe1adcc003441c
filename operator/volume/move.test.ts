import type { AoEPool } from '../../api/pool.ts';
import { MiB } from '../../api/quantity.ts';
import { AOE_POOLS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, MOVE_TO, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { cluster, FOUND, signal, UID, type World } from '../testing/move-cluster.ts';

describe('a volume whose disks are in another node', () => {
  it('is placed there with another address and another serial number, by one write, and waits for the agent there', async () => {
    const it = cluster();
    const before = it.api.patches;
    await it.reconcile();
    // And one that notes its old address in the pool.
    expect(it.api.patches).toBe(before + 2);
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-2', pool: 'p', moves: 1, address: { shelf: 1, slot: 1 } });
    expect(it.live()?.metadata.annotations).toStrictEqual({});
    expect(it.ready()).toMatchObject({ status: 'False', reason: 'Waiting', message: 'waiting for the agent on storage-2' });
    expect(it.live()?.status).toMatchObject({ phase: 'Pending', address: 'e1.1', reserved: '1Gi' });
    expect(it.api.events).toMatchObject([
      {
        reason: 'Moved',
        message: 'moved from node storage-1, pool p, e1.0 to node storage-2, pool p, e1.1, with serial number 111111112222333344-1',
      },
    ]);
    await it.reconcile();
    expect(it.reasons()).toStrictEqual(['Moved']);
    expect(it.live()?.spec.moves).toBe(1);
  });

  it('can be moved to another pool of that node, and a second time', async () => {
    const it = cluster({
      annotations: { [MOVE_TO]: 'storage-2/p' },
      spec: { pool: 'q', moves: 4 },
      entry: { displacedVolumes: [{ ...FOUND, moves: 4 }] },
    });
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-2', pool: 'p', moves: 5 });
  });

  it('is moved although its data was given up', async () => {
    const status = { initiators: { observedGeneration: 1, nodes: ['worker'] }, holder: { node: 'worker', raw: 'lock' } };
    const it = cluster({ annotations: { [MOVE_TO]: 'storage-2', [GIVE_UP]: 'storage-1' }, status });
    await it.reconcile();
    expect(it.live()?.spec.nodeName).toBe('storage-2');
    expect(it.live()?.metadata.annotations).toStrictEqual({});
    await it.reconcile();
    expect(it.reasons()).toStrictEqual(['Moved']);
  });

  it('leaves its address to nobody while its old node may come back and serve it there, also when another operator leads', async () => {
    const it = cluster();
    await it.reconcile();
    const abandoned = () => it.api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned;
    expect(abandoned()).toStrictEqual([{ uid: UID, volume: 'v', node: 'storage-1', addresses: [{ shelf: 1, slot: 0 }] }]);
    const v = it.live() as AoEVolume;
    // The range goes round: behind the last address comes that from before the move.
    const other = (name: string, slot: number | undefined, age: string): void => {
      const metadata = { name, uid: name, creationTimestamp: age, finalizers: slot === undefined ? [] : [VOLUME_FINALIZER] };
      const { address: _, nodeName: __, moves: ___, ...spec } = v.spec;
      const placed = slot === undefined ? {} : { nodeName: 'storage-2', address: { shelf: 1, slot } };
      it.api.put({ ...v, kind: 'AoEVolume', metadata, spec: { ...spec, capacity: '1Mi', ...placed }, status: {} } as never);
    };
    other('last', 254, '2026-11-30T00:00:00Z');
    other('new', undefined, '2026-11-30T00:00:01Z');
    await it.make().reconcile('new', signal);
    expect(it.api.read<AoEVolume>(AOE_VOLUMES, 'new')?.spec.address).toStrictEqual({ shelf: 1, slot: 2 });
  });

  it('is not noted as one that was given up while there is no other address for it', async () => {
    const it = cluster();
    for (let slot = 1; slot < 255; slot++) {
      const spec = { ...it.live()?.spec, nodeName: 'storage-3', address: { shelf: 1, slot } };
      it.api.put({ kind: 'AoEVolume', metadata: { name: `v${slot}`, finalizers: [VOLUME_FINALIZER] }, spec } as never);
    }
    await it.reconcile();
    expect(it.ready()).toMatchObject({
      reason: 'MoveWaits',
      message: expect.stringMatching(/^the move to node storage-2 waits: every address/),
    });
    expect(it.api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned).toBeUndefined();
  });

  it('is remembered for each node that it lost: one of them comes back before another', async () => {
    const entry = { uid: UID, volume: 'v', node: 'storage-0', addresses: [{ shelf: 1, slot: 9 }] };
    const it = cluster();
    await it.api.patch(AOE_POOLS, 'p', { status: { abandoned: [entry] } }, { subresource: 'status' });
    await it.reconcile();
    expect(it.api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned).toStrictEqual([
      entry,
      { ...entry, node: 'storage-1', addresses: [{ shelf: 1, slot: 0 }] },
    ]);
  });

  it('gets no address of another volume, and not its own again', async () => {
    const it = cluster();
    const other = it.live() as AoEVolume;
    for (let slot = 1; slot < 255; slot++) {
      const metadata = { ...other.metadata, name: `o${slot}`, uid: `o${slot}`, annotations: {} };
      it.api.put({ ...other, metadata, spec: { ...other.spec, address: { shelf: 1, slot } }, status: {} });
    }
    await it.reconcile();
    expect(it.ready()).toMatchObject({ reason: 'MoveWaits', message: expect.stringContaining('every address of shelves 1-1 is taken') });
    it.api.remove(AOE_VOLUMES, 'o7');
    await it.reconcile();
    expect(it.live()?.spec.address).toStrictEqual({ shelf: 1, slot: 7 });
  });

  const waits: [string, World, RegExp, requeueAfterMs?: number][] = [
    [
      'it is attached',
      { spec: { initiators: { nodes: ['worker'] } } },
      /attached to node worker: delete the pods.*aoe\.dev\/give-up=storage-1/,
    ],
    [
      'a host outside has it',
      { spec: { initiators: { macs: ['02:00:00:00:00:01'] } } },
      /given to 02:00:00:00:00:01: .*remove spec\.initiators\.macs/,
    ],
    [
      'the old target admitted a node',
      { status: { initiators: { observedGeneration: 1, nodes: ['worker'], macs: [] } } },
      /storage-1 admitted worker when it was last heard of: .*give-up=storage-1/,
    ],
    ['a node had the lock', { status: { holder: { node: 'worker', raw: 'x' } } }, /storage-1 had a lock of worker .*give-up=storage-1/],
    ['a VolumeAttachment is there', { attachedUID: UID }, /VolumeAttachment csi-123 says that it is attached to node worker/, 15_000],
    [
      'its data is not there',
      { entry: { displacedVolumes: [{ ...FOUND, uid: 'another' }] } },
      /storage-2 has not found the data in the pool/,
    ],
    ['the agent there reports nothing as data', { entry: { displacedVolumes: undefined as never } }, /has not found the data/],
    ['the data has the name of another volume', { entry: { displacedVolumes: [{ ...FOUND, volume: 'w' }] } }, /made for AoEVolume w/],
    [
      'the data is an older copy',
      { spec: { moves: 2 }, status: { moves: 2 }, entry: { displacedVolumes: [{ ...FOUND, moves: 1 }] } },
      /older copy: .*up to move 1.*connect the disks of node storage-1 instead$/,
    ],
    [
      'the data is what its last node was lost with before it opened it',
      { spec: { moves: 1 }, status: { moves: 0 }, entry: { displacedVolumes: [FOUND] } },
      /older copy: .*connect the disks of node storage-1 instead, or if these are they, note 1 beside the data/,
    ],
    [
      'the data is half a copy',
      { entry: { displacedVolumes: [{ ...FOUND, copy: '0123abcd' }] } },
      /half a copy.*connect the disks of node storage-1 instead/,
    ],
    [
      'the data was cut',
      { entry: { displacedVolumes: [{ ...FOUND, bytes: 1023 * MiB }] } },
      /1072693248 bytes instead of 1Gi: it is incomplete/,
    ],
    ['the pool is not ready there', { entry: { ready: false, message: 'no such group' } }, /storage-2: no such group/],
    ['that node does not have the pool', { entry: { name: 'storage-3' } }, /storage-2 has not reported pool p/],
    ['the agent there is silent', { silent: true }, /the agent on storage-2 is silent/],
    ['that node is in maintenance', { maintenance: true }, /storage-2 is in maintenance/],
    ['that node is on another segment', { spec: { segments: ['rack-9'] } }, /storage-2 is on segment default/],
    [
      'there is no room for a growth that is under way',
      { spec: { capacity: '5Gi' }, status: { reserved: '5Gi' } },
      /4Gi more are needed, and 3Gi are free there: set spec\.capacity back to 1Gi/,
    ],
  ];
  for (const [what, world, why, requeueAfterMs] of waits) {
    it(`stays where it was while ${what}, and says so`, async () => {
      const it = cluster(world);
      const { spec } = it.live() as AoEVolume;
      for (let pass = 0; pass < 2; pass++) {
        expect(await it.reconcile()).toStrictEqual(requeueAfterMs === undefined ? undefined : { requeueAfterMs });
        expect(it.live()?.spec).toStrictEqual(spec);
      }
      expect(it.live()?.metadata.annotations).toStrictEqual({ [MOVE_TO]: 'storage-2' });
      expect(it.ready()).toMatchObject({ status: 'False', reason: 'MoveWaits', message: expect.stringMatching(why) });
      expect(it.ready()?.message).toMatch(/^the move to pool p on node storage-2 waits: /);
      expect(it.reasons()).toStrictEqual(['MoveWaits']);
    });
  }

  it('is moved as soon as what was missing is there', async () => {
    const it = cluster({ attachedUID: 'of another volume', entry: { displacedVolumes: [] } });
    await it.reconcile();
    expect(it.ready()?.reason).toBe('MoveWaits');
    const pool = it.api.read<AoEPool>({ kind: 'AoEPool' }, 'p') as AoEPool;
    it.api.put({ ...pool, status: { nodes: [{ name: 'storage-2', ready: true, size: '4Gi', displacedVolumes: [FOUND] }] } });
    await it.reconcile();
    expect(it.live()?.spec.nodeName).toBe('storage-2');
  });

  const place = (to: string): Record<string, string> => ({ [MOVE_TO]: to });
  const refused: [string, World, RegExp][] = [
    ['only its AoENode exists', { exists: ['AoENode'] }, /AoENode storage-1 still exists/],
    ['no node is named', { annotations: place('') }, /write NODE or NODE\/POOL/],
    ['only a pool is named', { annotations: place('/p') }, /write NODE or NODE\/POOL/],
    ['more than node and pool is named', { annotations: place('storage-2/p/x') }, /write NODE or NODE\/POOL/],
    ['an unknown node is named', { annotations: place('storage-9') }, /node storage-9 does not exist/],
    ['an unknown pool is named', { annotations: place('storage-2/r') }, /AoEPool r does not exist/],
    ['its own node is named', { annotations: place('storage-1') }, /placed on node storage-1 already/],
    ['it has no place', { spec: { nodeName: undefined as never, address: undefined as never } }, /no storage node yet/],
    ['its data was never made', { status: { capacity: undefined as never } }, /no data was ever made/],
    ['it is being deleted', { deleted: true }, /being deleted/],
    ['its target is not ours', { spec: { external: { shelf: 9, slot: 9 }, pool: undefined as never } }, /outside of this project/],
  ];
  for (const [what, world, why] of refused) {
    it(`is not moved when ${what}: the annotation is removed, and nothing else changes`, async () => {
      const it = cluster(world);
      const { spec } = it.live() as AoEVolume;
      await it.reconcile();
      expect(it.api.events[0]).toMatchObject({ reason: 'MoveRefused', message: expect.stringMatching(why) });
      expect(it.live()?.metadata.annotations).toStrictEqual({});
      const { nodeName, address, moves } = it.live()?.spec ?? {};
      if (spec.nodeName !== undefined) expect([nodeName, address, moves]).toStrictEqual([spec.nodeName, spec.address, undefined]);
      expect(it.ready()?.reason).not.toBe('MoveWaits');
    });
  }

  it('is not moved when a host gets it at this moment', async () => {
    const it = cluster();
    const { list } = it.api;
    Object.assign(it.api, {
      list: async (type: { kind: string }) => {
        await it.api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: ['worker'] } } });
        return list(type);
      },
    });
    await expect(it.reconcile()).rejects.toMatchObject({ code: 409 });
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-1', initiators: { nodes: ['worker'] } });
    Object.assign(it.api, { list });
    await it.reconcile();
    expect(it.ready()?.message).toMatch(/attached to node worker/);
  });

  for (const hasEffect of [false, true]) {
    it(`is moved once when the operator loses the answer to its write, which had ${hasEffect ? 'its' : 'no'} effect`, async () => {
      for (const restarts of [false, true]) {
        const it = cluster();
        it.api.failNext('patch', new KubeError(504, 'Timeout', 'no answer'), { hasEffect });
        await expect(it.reconcile()).rejects.toThrow('no answer');
        await (restarts ? it.make().reconcile('v', signal) : it.reconcile());
        expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-2', moves: 1 });
        expect(it.ready()?.reason).toBe('Waiting');
      }
    });
  }
});

describe('a volume whose storage node is there', () => {
  const there = (world: World = {}) =>
    cluster({ ...world, exists: ['Node', 'AoENode'], entry: { displacedVolumes: [], displacedBytes: '0', ...world.entry } });

  it('is copied: the move is written, with a finalizer, and nobody can have the volume meanwhile', async () => {
    const it = there();
    await it.reconcile();
    expect(it.live()?.spec).toMatchObject({ nodeName: 'storage-1', move: { stage: 'Copying', nodeName: 'storage-2', pool: 'p' } });
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER, 'aoe.dev/move']);
    expect(it.live()?.metadata.annotations).toStrictEqual({ [MOVE_TO]: 'storage-2' });
    expect(it.ready()).toMatchObject({ status: 'False', reason: 'Moving' });
    expect(it.ready()?.message).toMatch(/moved to pool p on node storage-2.*kubectl annotate aoev v aoe.dev\/move-to-/);
    expect(it.live()?.status?.phase).toBe('Pending');
    expect(it.reasons()).toStrictEqual(['Moving']);
  });

  it('takes room at both places while it is moved', async () => {
    const it = there({ entry: { size: '1Gi' } });
    await it.reconcile();
    const other = {
      ...(it.live() as AoEVolume),
      metadata: { name: 'w', annotations: { [MOVE_TO]: 'storage-2' }, finalizers: [VOLUME_FINALIZER] },
    };
    const { move: _, ...spec } = other.spec;
    it.api.put({ ...other, kind: 'AoEVolume', spec: { ...spec, address: { shelf: 1, slot: 5 } } });
    await it.make().reconcile('w', signal);
    expect(it.api.events.at(-1)).toMatchObject({
      reason: 'MoveRefused',
      message: expect.stringContaining('it needs 1Gi there, and 0 are free'),
    });
  });

  it('is not moved within its volume group, where two logical volumes would have one name', async () => {
    const it = there({ annotations: { [MOVE_TO]: 'storage-1/q' } });
    for (const name of ['p', 'q']) {
      const status = { nodes: [{ name: 'storage-1', ready: true, size: '9Gi' }] };
      it.api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name }, spec: { volumeGroup: 'vg' }, status } as never);
    }
    await it.reconcile();
    expect(it.api.events[0]).toMatchObject({ reason: 'MoveRefused', message: expect.stringContaining('in volume group vg, as pool p') });
  });

  const refused: [string, World, RegExp][] = [
    ['a node has it', { spec: { initiators: { nodes: ['worker'] } } }, /attached to node worker.*then annotate again/],
    ['a host outside has it', { spec: { initiators: { macs: ['02:00:5e:10:00:01'] } } }, /given to 02:00:5e:10:00:01/],
    ['the target still admits a node', { status: { initiators: { observedGeneration: 1, nodes: ['worker'] } } }, /still admits worker/],
    ['a lock is held', { status: { holder: { raw: 'x' } } }, /"x" has its lock/],
    ['a VolumeAttachment names it', { attachedUID: UID }, /VolumeAttachment csi-123 says.*then annotate again/],
    ['it is to go where it is', { annotations: { [MOVE_TO]: 'storage-1' } }, /placed in pool p on node storage-1 already/],
    ['the node is unknown', { annotations: { [MOVE_TO]: 'storage-9' } }, /node storage-9 does not exist/],
    ['the pool is unknown', { annotations: { [MOVE_TO]: 'storage-2/r' } }, /AoEPool r does not exist/],
    ['the pool is not on that node', { annotations: { [MOVE_TO]: 'storage-1/q' } }, /storage-1 has not reported pool q/],
    ['there is no room', { entry: { size: '512Mi' } }, /it needs 1Gi there, and 512Mi are free/],
    ['the node is in maintenance', { maintenance: true }, /in maintenance/],
    ['the agent there is silent', { silent: true }, /the agent on storage-2 is silent/],
    ['data of it is there', { entry: { displacedVolumes: [FOUND] } }, /there is data of this volume in that pool already/],
    ['it is being grown', { spec: { capacity: '2Gi' } }, /being grown from 1Gi to 2Gi/],
    ['its data was adopted', { spec: { adopt: 'projects' } }, /adopted \(spec\.adopt: projects\).*only disks are moved/],
    ['it is not served', { status: { conditions: [] } }, /node storage-1 does not serve it now/],
  ];
  for (const [what, world, why] of refused) {
    it(`is not moved when ${what}: the annotation is removed, and nothing else changes`, async () => {
      const it = there(world);
      const { spec } = it.live() as AoEVolume;
      await it.reconcile();
      expect(it.api.events[0]).toMatchObject({ reason: 'MoveRefused', message: expect.stringMatching(why) });
      expect(it.live()?.metadata.annotations).toStrictEqual({});
      expect(it.live()?.spec).toStrictEqual(spec);
    });
  }

  it('is not moved while a snapshot of it is not taken yet', async () => {
    const it = there();
    it.api.put({ apiVersion: API_VERSION, kind: 'AoESnapshot', metadata: { name: 's' }, spec: { volumeName: 'v' } } as never);
    await it.reconcile();
    expect(it.api.events[0]).toMatchObject({
      reason: 'MoveRefused',
      message: expect.stringContaining('AoESnapshot s of it is not taken yet'),
    });
  });
});
