import type { KubeNode } from '../../api/kube-node.ts';
import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_POOLS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, MOVE_FINALIZER, VOLUME_FINALIZER } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { AddressRange } from '../placement/address-range.ts';
import { indexesOf } from '../testing/indexes.ts';
import { VolumeReconciler } from './reconciler.ts';
import { isUnmade } from './unmade.ts';

const signal = new AbortController().signal;
const MINUTE = 60_000;
const OURS = { driver: DRIVER_NAME, volumeHandle: 'v' };
const BY_CSI = { 'aoe.dev/created-by': 'csi' };

/** Volume v, which the operator has placed on node a, and two nodes with room for it. */
function cluster({ metadata = {}, spec = {}, status = {} }: Partial<Record<'metadata' | 'spec' | 'status', object>> = {}) {
  const api = new FakeApi();
  const silent = new Set<string>();
  let now = 0;
  const node = (name: string, ready = true): void => {
    const conditions = [{ type: 'Ready', status: ready ? 'True' : 'Unknown', lastTransitionTime: '2026-01-01T00:00:00Z' }];
    api.put({ kind: 'Node', metadata: { name }, status: { conditions } } as never);
  };
  for (const name of ['a', 'b']) {
    node(name);
    api.put({ apiVersion: API_VERSION, kind: 'AoENode', metadata: { name } });
  }
  const nodes = ['a', 'b'].map((name) => ({ name, ready: true, size: '10Gi', granularity: '4Mi' }));
  const pool = (entries: object[] = nodes) =>
    api.put({ apiVersion: API_VERSION, kind: 'AoEPool', metadata: { name: 'p' }, spec: {}, status: { nodes: entries } } as never);
  pool();
  const basic = { capacity: '6Gi', pool: 'p', access: 'Exclusive', deletionPolicy: 'Delete', initiators: {} };
  api.put({
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', uid: 'u', finalizers: [VOLUME_FINALIZER], annotations: BY_CSI, ...metadata },
    spec: { ...basic, nodeName: 'a', address: { shelf: 1, slot: 0 }, ...spec },
    status,
  } as never);
  const start = () =>
    new VolumeReconciler({
      copies: { at: () => undefined },
      kube: api,
      volumes: api.store<AoEVolume>('AoEVolume'),
      ...indexesOf(() => api.all<AoEVolume>('AoEVolume')),
      pools: api.store<AoEPool>('AoEPool'),
      nodes: api.store<AoENode>('AoENode'),
      kubeNodes: api.store<KubeNode>('Node'),
      snapshots: api.store<AoESnapshot>('AoESnapshot'),
      agents: { silence: ({ metadata: { name } }) => (silent.has(name) ? `the agent on ${name} is silent` : undefined) },
      events: api,
      range: new AddressRange('1'),
      statusDelayMs: 0,
      now: () => now,
      log: createLog('test', 'silent'),
    });
  let operator = start();
  const live = () => api.read<AoEVolume>(AOE_VOLUMES, 'v');
  return {
    ...{ api, node, pool, silent, live },
    persistentVolume: (name: string, csi: object) => api.put({ kind: 'PersistentVolume', metadata: { name }, spec: { csi } } as never),
    /** Another process leads now. */
    restart: () => {
      operator = start();
    },
    reconcile: () => operator.reconcile('v', signal),
    /** Time passes, and the operator looks as often as it has asked for. */
    pass: async (minutes: number): Promise<void> => {
      for (const end = now + minutes * MINUTE; ; now = Math.min(end, now + 30_000)) {
        await operator.reconcile('v', signal);
        if (now === end) return;
      }
    },
    report: (own: object) => api.patch(AOE_VOLUMES, 'v', { status: own }, { subresource: 'status' }),
    ready: () => live()?.status?.conditions?.find(({ type }) => type === 'Ready'),
    abandoned: () => api.read<AoEPool>(AOE_POOLS, 'p')?.status?.abandoned,
    reasons: () => api.events.map(({ reason }) => reason),
  };
}

const provisioned = (reason: string) => ({
  conditions: [{ type: 'Provisioned', status: 'False', reason, message: `because of ${reason}`, lastTransitionTime: '' }],
});
const AT_A = { uid: 'u', volume: 'v', node: 'a', addresses: [{ shelf: 1, slot: 0 }] };

describe('a claim whose storage node is lost before its disk was made', () => {
  it('gets its disk on another node after some minutes, at another address', async () => {
    const it = cluster();
    it.node('a', false);
    await it.pass(4);
    expect(it.ready()?.message).toMatch(
      /^node a has not been Ready .* when that lasts for 5 minutes, it is placed on another node of its pool/,
    );
    expect(it.live()?.spec.nodeName).toBe('a');
    await it.pass(1);
    expect(it.live()?.spec).toMatchObject({ nodeName: 'b', address: { shelf: 1, slot: 1 }, moves: 1, pool: 'p' });
    expect(it.ready()).toMatchObject({ reason: 'Waiting', message: 'waiting for the agent on b' });
    expect(it.abandoned(), 'its first node may serve it from its own state').toStrictEqual([AT_A]);
    expect(it.api.events.at(-1)).toMatchObject({
      reason: 'PlacedAgain',
      message: expect.stringMatching(/^placed on node b, pool p, e1\.1, .* as no disk was made on node a, .*: node a has not been Ready/),
    });
  });

  it('is looked after as long as it has no disk, since no watch shows that an agent has fallen silent', async () => {
    const it = cluster();
    expect((await it.reconcile())?.requeueAfterMs).toBeLessThanOrEqual(MINUTE);
    it.silent.add('a');
    await it.pass(5);
    expect(it.live()?.spec.nodeName).toBe('b');
    await it.report({ capacity: '6Gi', moves: 1 });
    expect(await it.reconcile()).toBeUndefined();
  });

  for (const reason of ['BackendFailed', 'PoolNotReady', 'PoolMissing']) {
    it(`also when only the pool of that node fails: ${reason}`, async () => {
      const it = cluster({ status: provisioned(reason) });
      await it.pass(5);
      expect(it.live()?.spec.nodeName).toBe('b');
      expect(it.api.events.at(-1)?.message).toMatch(new RegExp(`because of ${reason}$`));
      expect(it.ready()?.reason, 'what was said of the first place no longer counts').toBe('Waiting');
      await it.pass(60);
      expect(it.live()?.spec.moves).toBe(1);
    });
  }

  const stays: [string, Parameters<typeof cluster>[0]][] = [
    ['its disk was made', { status: { capacity: '6Gi' } }],
    ['a host was named that may have had it', { spec: { initiators: { macs: ['02:00:00:00:00:01'] } } }],
    ['a person created it, who may have chosen the node', { metadata: { annotations: {} } }],
    ['it adopts what is on its node', { spec: { adopt: 'lv' } }],
    ['it begins with a snapshot, which the other node has', { spec: { source: { snapshot: 's' } } }],
    ['a host has its lock', { status: { holder: { node: 'worker', raw: 'lock' } } }],
    ['a node is admitted', { status: { initiators: { observedGeneration: 1, nodes: ['worker'] } } }],
    ['a MAC address is admitted', { status: { initiators: { observedGeneration: 1, macs: ['02:00:00:00:00:01'] } } }],
    ['it is deleted, and its agent is there', { metadata: { deletionTimestamp: 'now' }, status: provisioned('BackendFailed') }],
  ];
  for (const [what, world] of stays) {
    it(`stays where it is when ${what}`, async () => {
      const it = cluster(world);
      if (!world?.status || !('conditions' in world.status)) it.node('a', false);
      const snapshot = { phase: 'Ready', nodeName: 'b', pool: 'p', capacity: '1Gi' };
      it.api.put({ kind: 'AoESnapshot', metadata: { name: 's' }, spec: { volumeName: 'w' }, status: snapshot } as never);
      await it.pass(20);
      expect(it.live()?.spec).toMatchObject({ nodeName: 'a', address: { shelf: 1, slot: 0 } });
      expect([it.live()?.metadata.finalizers, it.abandoned()]).toStrictEqual([[VOLUME_FINALIZER], undefined]);
    });
  }

  it('does not count as such while a move of it is under way', () => {
    for (const [world, is] of [
      [{}, true],
      [{ spec: { move: { id: 'm', stage: 'Copying', nodeName: 'b', pool: 'p' } } }, false],
      [{ metadata: { finalizers: [VOLUME_FINALIZER, MOVE_FINALIZER] } }, false],
    ] as const) {
      const volume = cluster(world).live();
      expect(volume && isUnmade(volume), JSON.stringify(world)).toBe(is);
    }
  });

  for (const [name, csi, node] of [
    ['v', OURS, 'a'],
    ['made-by-hand', OURS, 'a'],
    ['v', { ...OURS, driver: 'other' }, 'b'],
    ['v', { ...OURS, volumeHandle: 'w' }, 'b'],
  ] as const) {
    it(`ends up on node ${node} with PersistentVolume ${name} of ${csi.driver}, ${csi.volumeHandle}: it may be from a backup without its status`, async () => {
      const it = cluster();
      it.persistentVolume(name, csi);
      it.node('a', false);
      await it.pass(20);
      expect([it.live()?.spec.nodeName, it.abandoned()]).toStrictEqual([node, node === 'a' ? undefined : [AT_A]]);
      if (node === 'a')
        expect(it.ready()?.message).toMatch(new RegExp(`but PersistentVolume ${name} names it.* not placed on another node$`));
    });
  }

  it('stays there while its disk is being wiped, and when the trouble is over in time', async () => {
    const it = cluster({ status: provisioned('Wiping') });
    await it.pass(20);
    for (let reboots = 0; reboots < 3; reboots++) {
      it.node('a', false);
      await it.pass(4);
      it.node('a');
      await it.pass(1);
    }
    expect(it.live()?.spec.nodeName).toBe('a');
  });

  it('waits for a node that has room', async () => {
    const it = cluster();
    it.pool([{ name: 'b', ready: true, size: '1Gi', granularity: '4Mi' }]);
    it.node('a', false);
    await it.pass(20);
    expect([it.live()?.spec.nodeName, it.abandoned()]).toStrictEqual(['a', undefined]);
    expect(it.ready()?.message).toMatch(/ made for the volume there yet; it is placed on another node once one can have it: .*6Gi.*1Gi/);
    it.pool([{ name: 'b', ready: true, size: '10Gi', granularity: '4Mi' }]);
    await it.pass(1);
    expect(it.live()?.spec.nodeName).toBe('b');
  });

  it('waits for an address, says so, and is not noted as one that was given up', async () => {
    for (const isAway of [true, false]) {
      const it = cluster(isAway ? {} : { status: provisioned('BackendFailed') });
      for (let slot = 1; slot < 255; slot++) {
        const spec = { pool: 'q', capacity: '1Gi', nodeName: 'b', address: { shelf: 1, slot }, initiators: {} };
        it.api.put({ kind: 'AoEVolume', metadata: { name: `v${slot}`, finalizers: [VOLUME_FINALIZER] }, spec } as never);
      }
      if (isAway) it.node('a', false);
      await it.pass(5.5);
      expect([it.live()?.spec.nodeName, it.abandoned()]).toStrictEqual(['a', undefined]);
      expect(it.ready()).toMatchObject({
        reason: isAway ? 'StorageNodeNotReady' : 'MoveWaits',
        message: expect.stringMatching(
          /^(node a has not been Ready|because of BackendFailed).*once one can have it: every address of shelves 1-1 is taken/,
        ),
      });
      await it.api.delete(AOE_VOLUMES, 'v7');
      await it.api.patch(AOE_VOLUMES, 'v7', { metadata: { finalizers: [] } });
      await it.pass(0.5);
      expect(it.live()?.spec).toMatchObject({ nodeName: 'b', address: { shelf: 1, slot: 7 } });
      expect(it.abandoned()).toStrictEqual([AT_A]);
    }
  });

  it('does not get room that another volume got while its address was being noted', async () => {
    const it = cluster();
    it.node('a', false);
    await it.pass(4.5);
    const { patch } = it.api;
    Object.assign(it.api, {
      patch: async (type: { kind: string }, ...rest: [string, object, object]) => {
        const done = await patch(type, ...rest);
        if (type.kind === 'AoEPool') it.pool([{ name: 'b', ready: true, size: '1Gi', granularity: '4Mi' }]);
        return done;
      },
    });
    await it.pass(1);
    expect(it.live()?.spec.nodeName).toBe('a');
  });

  it('waits longer at each place, so that what can be made nowhere does not go round', async () => {
    const it = cluster({ status: provisioned('BackendFailed') });
    await it.pass(5);
    await it.report({ moves: 1, ...provisioned('BackendFailed') });
    await it.pass(9);
    expect(it.live()?.spec).toMatchObject({ nodeName: 'b', moves: 1 });
    await it.pass(1.5);
    expect(it.live()?.spec).toMatchObject({ nodeName: 'a', moves: 2 });
  });

  it('keeps the disk that its agent reports at the last moment, also when it is deleted', async () => {
    for (const isDeleted of [false, true]) {
      const it = cluster();
      it.node('a', false);
      if (isDeleted) await it.api.delete(AOE_VOLUMES, 'v');
      await it.pass(4.5);
      const { get } = it.api;
      Object.assign(it.api, {
        get: async (type: { kind: string }, name: string) => {
          if (type.kind === 'AoEPool') await it.report({ capacity: '6Gi' });
          return get(type, name);
        },
      });
      await expect(it.pass(1)).rejects.toMatchObject({ code: 409 });
      await it.pass(20);
      expect(it.live()?.spec).toMatchObject({ nodeName: 'a', address: { shelf: 1, slot: 0 } });
      expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    }
  });

  it('is placed once, whichever write the operator is killed at', async () => {
    for (const failures of [['before the pool'], ['after the pool'], ['after the pool', 'before the volume'], ['answer lost']]) {
      const it = cluster();
      it.node('a', false);
      await it.pass(4.5);
      const { patch } = it.api;
      let due = true;
      Object.assign(it.api, {
        patch: async (type: { kind: string }, ...rest: [string, object, object]) => {
          const [before, after] = type.kind === 'AoEPool' ? ['before the pool', 'after the pool'] : ['before the volume', 'answer lost'];
          const killed = new KubeError(503, 'Unreachable', 'killed');
          if (due && failures.includes(before ?? '')) throw killed;
          const done = await patch(type, ...rest);
          if (due && failures.includes(after ?? '')) throw killed;
          return done;
        },
      });
      await expect(it.pass(1), failures.join()).rejects.toThrow('killed');
      due = false;
      it.restart();
      await it.pass(12);
      expect(it.live()?.spec, failures.join()).toMatchObject({ nodeName: 'b', address: { shelf: 1, slot: 1 }, moves: 1 });
      expect(it.abandoned(), failures.join()).toStrictEqual([AT_A]);
    }
  });
});

describe('a deleted volume whose disk was never made', () => {
  it('goes without its node after some minutes, and its address rests', async () => {
    for (const annotations of [BY_CSI, {}]) {
      const it = cluster({ metadata: { annotations } });
      it.node('a', false);
      await it.api.delete(AOE_VOLUMES, 'v');
      await it.pass(4);
      expect(it.ready()?.message).toMatch(/no disk was made .* when that lasts for 5 minutes, it is deleted without that node/);
      await it.pass(1);
      expect(it.live()).toBeUndefined();
      expect(it.abandoned()).toStrictEqual([AT_A]);
      expect(it.reasons()).toStrictEqual(['StorageNodeNotReady', 'DeletedUnmade']);
    }
  });

  for (const [name, csi, stays] of [
    ['v', OURS, true],
    ['made-by-hand', OURS, true],
    ['v', { ...OURS, driver: 'other' }, false],
  ] as const) {
    it(`${stays ? 'stays' : 'goes'} when there is a PersistentVolume ${name} of ${csi.driver}: it may have come back from a backup`, async () => {
      const it = cluster({ metadata: { annotations: {} } });
      it.persistentVolume(name, csi);
      it.node('a', false);
      await it.api.delete(AOE_VOLUMES, 'v');
      await it.pass(20);
      expect(it.live()?.metadata.finalizers).toStrictEqual(stays ? [VOLUME_FINALIZER] : undefined);
      if (stays) expect(it.ready()?.message).toMatch(new RegExp(`but PersistentVolume ${name} names it.* only when that is gone$`));
    });
  }

  it('says why it stays also when its node is there, and only its agent is silent', async () => {
    const it = cluster();
    it.persistentVolume('v', OURS);
    it.silent.add('a');
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.pass(20);
    expect(it.ready()).toMatchObject({
      reason: 'StorageNodeNotReady',
      message: expect.stringMatching(/the agent on a is silent: .*PersistentVolume v names it.* only when that is gone$/),
    });
  });

  it('stays when the address cannot be noted, when its disk was made after all, or a host may have it', async () => {
    const it = cluster();
    it.node('a', false);
    await it.api.delete(AOE_VOLUMES, 'v');
    await it.pass(4.5);
    it.api.failNext('patch', new KubeError(409, 'Conflict', 'the pool was changed'));
    await expect(it.pass(1)).rejects.toThrow('the pool was changed');
    expect(it.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    for (const world of [{ status: { capacity: '6Gi' } }, { spec: { initiators: { macs: ['02:00:00:00:00:01'] } } }]) {
      const other = cluster(world);
      other.node('a', false);
      await other.api.delete(AOE_VOLUMES, 'v');
      await other.pass(20);
      expect(other.live()?.metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    }
  });
});
