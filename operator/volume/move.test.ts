import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool, Displaced, PoolNode } from '../../api/pool.ts';
import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, type AoEVolumeSpec, type AoEVolumeStatus, GIVE_UP, MOVE_TO, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { AddressRange } from '../placement/address-range.ts';
import { indexesOf } from '../testing/indexes.ts';
import { VolumeReconciler } from './reconciler.ts';

const signal = new AbortController().signal;
const UID = '11111111-2222-3333-4444-555555555555';
const MiB = 1 << 20;
const FOUND: Displaced = { uid: UID, volume: 'v', bytes: 1024 * MiB };

interface World {
  annotations?: Record<string, string>;
  /** Objects of the old node, storage-1, that are still there. */
  exists?: ('Node' | 'AoENode')[];
  spec?: Partial<AoEVolumeSpec>;
  status?: Partial<AoEVolumeStatus>;
  /** What the agent on storage-2 reports of pool p. */
  entry?: Partial<PoolNode>;
  silent?: boolean;
  attachedUID?: string;
  maintenance?: boolean;
  deleted?: boolean;
}

/** A volume whose storage node, storage-1, is gone, and whose disks are in storage-2. */
function cluster({ annotations = { [MOVE_TO]: 'storage-2' }, exists = [], ...world }: World = {}) {
  const api = new FakeApi();
  for (const kind of exists) api.put({ apiVersion: API_VERSION, kind, metadata: { name: 'storage-1' } });
  api.put({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'storage-2' } });
  api.put({ apiVersion: API_VERSION, kind: 'AoENode', metadata: { name: 'storage-2' }, spec: { maintenance: world.maintenance } } as never);
  const entry = { name: 'storage-2', ready: true, size: '4Gi', displacedBytes: '1Gi', displacedVolumes: [FOUND], ...world.entry };
  const poolOf = (name: string, nodes: object[]) =>
    api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name }, spec: {}, status: { nodes } } as never);
  poolOf('p', [entry]);
  poolOf('q', [{ ...entry, displacedVolumes: [] }]);
  if (world.attachedUID !== undefined) {
    const metadata = { name: 'csi-123' };
    const status = { attached: true, attachmentMetadata: { volumeUID: world.attachedUID } };
    api.put({ kind: 'VolumeAttachment', metadata, spec: { attacher: 'aoe.dev', nodeName: 'worker' }, status } as never);
  }
  const told = (type: string) => ({ type, status: 'True' as const, reason: 'R', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' });
  const volume: AoEVolume = {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: {
      name: 'v',
      uid: UID,
      finalizers: [VOLUME_FINALIZER],
      annotations,
      ...(world.deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      capacity: '1Gi',
      pool: 'p',
      access: 'Exclusive',
      deletionPolicy: 'Delete',
      nodeName: 'storage-1',
      address: { shelf: 1, slot: 0 },
      initiators: {},
      ...world.spec,
    },
    status: {
      capacity: '1Gi',
      serial: '11111111222233334444',
      conditions: ['Provisioned', 'Exported'].map(told),
      ...world.status,
    },
  };
  api.put(volume);
  const stored = () => api.all<AoEVolume>('AoEVolume');
  const make = () =>
    new VolumeReconciler({
      copies: { at: () => undefined },
      kube: api,
      volumes: api.store<AoEVolume>('AoEVolume'),
      ...indexesOf(stored),
      pools: api.store<AoEPool>('AoEPool'),
      nodes: api.store<AoENode>('AoENode'),
      kubeNodes: api.store<KubeNode>('Node'),
      snapshots: api.store<AoESnapshot>('AoESnapshot'),
      agents: { silence: () => (world.silent ? 'the agent on storage-2 is silent' : undefined) },
      events: api,
      range: new AddressRange('1'),
      statusDelayMs: 0,
      log: createLog('test', 'silent'),
    });
  const reconciler = make();
  const live = () => api.read<AoEVolume>(AOE_VOLUMES, 'v');
  return {
    api,
    live,
    make,
    reconcile: () => reconciler.reconcile('v', signal),
    ready: () => live()?.status?.conditions?.find(({ type }) => type === 'Ready'),
    reasons: () => api.events.map(({ reason }) => reason),
  };
}

describe('a volume whose disks are in another node', () => {
  it('is placed there with another address and another serial number, by one write, and waits for the agent there', async () => {
    const it = cluster();
    const before = it.api.patches;
    await it.reconcile();
    expect(it.api.patches).toBe(before + 1);
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
      { spec: { moves: 2 }, entry: { displacedVolumes: [{ ...FOUND, moves: 1 }] } },
      /older copy: .*up to move 1/,
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
    [
      'the storage node exists',
      { exists: ['Node', 'AoENode'] },
      /node storage-1 exists, and data is not copied.*kubectl delete node storage-1/,
    ],
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
