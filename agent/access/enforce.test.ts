import type { AoEVolume } from '../../api/volume.ts';
import type { TargetVolumeState } from '../target/api.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';
import { type AccessPlan, enforceAccess, isCurrent } from './enforce.ts';

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

const { signal } = new AbortController();
const STALE = { node: 'worker', nodeUID: 'n', volumeUID: UID, since: '2026-01-01T00:00:00Z' };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A target that serves the volume, with what it and the events were called for. */
function served(configString: string, macs: string[] = [MAC.worker]) {
  const target = new FakeTarget();
  const calls: string[] = [];
  const lockEvents = { fenced: () => void calls.push('Fenced'), cleared: () => void calls.push('LockCleared') };
  const volume = { uid: UID, shelf: 7, slot: 3, path: '/dev/x', serial: 's', readOnly: false, bytes: 0, macs, writesNeedLock: true };
  target.volumes.set(UID, { volume, bytes: 0, configString: bytes(configString), error: '' });
  const state = target.volumes.get(UID) as TargetVolumeState;
  return { target, calls, state, context: { target: Object.assign(target, { isAnswered: () => true }), lockEvents } };
}
const of = (initiators: object): AoEVolume => ({ metadata: { name: 'v1', uid: UID }, spec: { initiators } }) as never;

test('access goes before the lock, and each is reported', async () => {
  const { target, calls, state, context } = served('stale');
  const plan = {
    access: { macs: [], writesNeedLock: true },
    cutOff: [MAC.worker],
    staleLock: { lock: STALE, configString: bytes('stale') },
  };
  const result = await enforceAccess(context as never, of({}), plan, state, signal);
  expect(target.calls).toStrictEqual(['setAccess', 'replaceConfigString']);
  expect(calls).toStrictEqual(['Fenced', 'LockCleared']);
  expect([result.lockCleared, result.state.configString.length]).toStrictEqual([true, 0]);
});

test('a lock that changed hands after the plan was made is not cleared', async () => {
  const { target, calls, state, context } = served('the lock of the next holder');
  const plan = {
    access: { macs: [MAC.other], writesNeedLock: true },
    cutOff: [MAC.worker],
    staleLock: { lock: STALE, configString: bytes('stale') },
  };
  const result = await enforceAccess(context as never, of({}), plan, state, signal);
  expect(result.lockCleared).toBe(false);
  expect(target.configString(UID)).toBe('the lock of the next holder');
  expect(calls).toStrictEqual(['Fenced']);
});

test('access that is as it should be costs no call, in whatever case the target writes the MACs', async () => {
  const { target, state, context } = served('', [MAC.worker.toUpperCase()]);
  const plan = { access: { macs: [MAC.worker], writesNeedLock: true }, cutOff: [], staleLock: undefined };
  await enforceAccess(context as never, of({}), plan, state, signal);
  expect(target.calls).toStrictEqual([]);
});

test('the API server is asked only before somebody is cut off or a lock is cleared, and its answer decides', async () => {
  const access = { macs: [], writesNeedLock: true };
  const current = (plan: Partial<AccessPlan>, now: AoEVolume | undefined) =>
    isCurrent(of({ nodes: ['worker'] }), { access, cutOff: [], staleLock: undefined, ...plan }, async () => now, signal);
  const cut = { cutOff: [MAC.worker] };
  const lock = { staleLock: { lock: STALE, configString: bytes('stale') } };
  expect(await current({}, undefined)).toBe(true);
  for (const plan of [cut, lock]) {
    expect(await current(plan, of({ nodes: ['worker'] }))).toBe(true);
    expect(await current(plan, of({ nodes: ['other'] }))).toBe(false);
    expect(await current(plan, of({ nodes: ['worker'], macs: [MAC.other] }))).toBe(false);
    expect(await current(plan, undefined)).toBe(false);
  }
});
