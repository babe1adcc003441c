import { pino } from 'pino';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeSpec } from '../../api/volume.ts';
import { BackendError } from '../backends/backend.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { runController } from '../testing/run-controller.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { OneAtATime } from './one-at-a-time.ts';
import { MoveReconciler } from './reconciler.ts';

const UID = '11111111-2222-3333-4444-555555555555';
const MAC = '02:00:00:00:05:01';
const { signal } = new AbortController();
type SpecMove = NonNullable<AoEVolumeSpec['move']>;
const MOVE: SpecMove = { id: '0123abcd', stage: 'Copying', nodeName: 'here', pool: 'p' };
const SERVED = { type: 'Exported', status: 'False', reason: 'ServedForMove', message: '', lastTransitionTime: '' } as const;

/** The agent on node `here`; the volume is on node `there`. */
function harness({ spec = {}, move = MOVE, served = true }: { spec?: Partial<AoEVolumeSpec>; move?: SpecMove; served?: boolean } = {}) {
  const kube = new FakeKube();
  const backend = new FakeBackend();
  /** Of other pools than p. */
  const backends = new Map<string, FakeBackend>();
  const copier = new FakeCopier();
  const target = { connected: true, problem: '', known: true, supports: () => true, state: () => undefined, unexport: async () => {} };
  kube.put({ kind: 'AoEPool', metadata: { name: 'p' }, spec: { backend: 'lvm' } } as never);
  const put = (change: Partial<AoEVolumeSpec> = {}, metadata: object = {}): void => {
    const status = { capacity: '4Mi', ...(served ? { conditions: [SERVED] } : {}) };
    const base = { capacity: '4Mi', pool: 'q', nodeName: 'there', address: { shelf: 1, slot: 3 }, initiators: {} };
    const now = kube.volume('v')?.status as object;
    kube.put({
      kind: 'AoEVolume',
      metadata: { name: 'v', uid: UID, ...metadata },
      spec: { ...base, move, ...spec, ...change },
      status: { ...status, ...now },
    } as never);
  };
  put();
  const store = kube.store<AoEVolume>('AoEVolume');
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  /** An agent that has just been started. */
  const agent = () =>
    new MoveReconciler({
      ...{ node: 'here', kube, moves: store, pools: kube.store('AoEPool'), target, copier },
      backendOf: ({ metadata }) => backends.get(metadata.name) ?? backend,
      ...{ interfaces: () => [{ name: 'eth1', mac: MAC }], bytesPerSecond: 7, oneAtATime: new OneAtATime(), signal: stop.signal },
      log: pino({ level: 'silent' }),
    });
  const work = agent();
  const report = () => store.get('v')?.status?.move;
  const until = async (is: () => boolean): Promise<void> => {
    while (!is()) await new Promise(setImmediate);
  };
  return {
    kube,
    agent,
    work,
    backend,
    backends,
    copier,
    target,
    put,
    report,
    until,
    idle: () => work.idle(),
    reconcile: () => work.reconcile('v', signal),
  };
}

const data = (more: object = {}) => ({ uid: UID, volume: 'v', name: 'fake/v', bytes: 4 << 20, ...more });

describe('the agent to whose node a volume is moved', () => {
  it('makes a marked backing volume, says how it reads, and copies once it may read', async () => {
    const it = harness({ served: false });
    await it.reconcile();
    expect(it.backend.volumes.get(UID)?.copy).toMatch(/^0123abcd\/[0-9a-f]{8}$/);
    expect(it.report()).toMatchObject({ id: MOVE.id, nodeName: 'here', phase: 'Waiting', macs: [MAC], bytesTotal: 4 << 20 });
    expect(it.report()?.message).toMatch('agent on node there does not let it be read yet');
    expect(it.copier.jobs.size).toBe(0);
    const ready = harness();
    await ready.reconcile();
    const [job] = [...ready.copier.jobs.values()];
    expect(job?.job).toMatchObject({
      source: { kind: 'aoe', shelf: 1, slot: 3, serial: '11111111222233334444', interfaces: ['eth1'] },
      bytes: 4 << 20,
      bytesPerSecond: 7,
    });
    if (job) job.state.phase = 'verified';
    await ready.reconcile();
    expect(ready.report()?.phase).toBe('Verified');
    expect(ready.backend.volumes.get(UID)?.copy, 'it counts only once the volume has its place here').toBeDefined();
  });

  it('writes into nothing that it has not made for this move', async () => {
    for (const found of [data(), data({ copy: 'ffffffff/0' })]) {
      const it = harness();
      it.backend.volumes.set(UID, found);
      await it.reconcile();
      expect(it.copier.jobs.size).toBe(0);
      expect(it.report()?.message).toMatch(/remove it on node here/);
      expect(it.backend.volumes.get(UID)).toStrictEqual(found);
    }
  });

  it('copies again in the new size when a growth ends that was under way when the move began', async () => {
    const it = harness();
    await it.reconcile();
    const [first] = it.copier.jobs.keys();
    it.kube.put({ ...it.kube.volume('v'), kind: 'AoEVolume', status: { ...it.kube.volume('v')?.status, capacity: '8Mi' } } as never);
    await it.reconcile();
    expect(it.report()).toMatchObject({ phase: 'Waiting', bytesTotal: 8 << 20, message: expect.stringContaining('has grown to 8Mi') });
    await it.reconcile();
    expect(it.backend.volumes.get(UID)).toMatchObject({ bytes: 8 << 20, copy: expect.stringMatching(/^0123abcd\//) });
    expect([...it.copier.jobs.values()].map(({ job }) => job.bytes)).toStrictEqual([8 << 20]);
    expect([...it.copier.jobs.keys()]).not.toContain(first);
  });

  it('does nothing when the API server says that the move is at another stage already', async () => {
    const it = harness();
    const live = { metadata: { name: 'v', uid: UID }, spec: { move: { ...MOVE, stage: 'Switched', nodeName: 'there' } } };
    Object.assign(it.kube, { get: async () => live });
    await it.reconcile();
    expect([it.backend.volumes.size, it.copier.jobs.size]).toStrictEqual([0, 0]);
  });

  it('is still served, and says how far the copy is, while a step waits for the pool or the pool fails', async () => {
    const it = harness();
    await it.reconcile();
    const [job] = it.copier.jobs.values();
    if (job) Object.assign(job.state, { phase: 'copying', copied: 1 << 20 });
    await it.reconcile();
    const before = it.report();
    expect(before).toMatchObject({ phase: 'Copying', macs: [MAC], bytesTotal: 4 << 20 });
    const turn = Promise.withResolvers<void>();
    it.backend.gate = turn.promise;
    await it.reconcile();
    expect(it.report()).toStrictEqual(before);
    turn.resolve();
    await it.idle();
    it.backend.failure = new BackendError('BackendFailed', 'vgs failed');
    // The step that waited ends first.
    for (const _ of [1, 2]) await it.reconcile();
    expect(it.report()).toStrictEqual({ ...before, phase: 'Waiting', message: 'vgs failed' });
  });

  it('says that the new backing volume is wiped only while that is so', async () => {
    const it = harness();
    const [turn, wiped] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    Object.assign(it.backend, { gate: turn.promise, wiping: wiped.promise, unwiped: true });
    await it.reconcile();
    expect(it.report()).toMatchObject({ phase: 'Waiting', message: 'the pool has not made the backing volume yet' });
    turn.resolve();
    await it.until(() => it.backend.calls.includes('wipe'));
    await it.reconcile();
    expect(it.report()?.message).toBe('the new backing volume is being wiped');
    wiped.resolve();
    await it.idle();
    await it.reconcile();
    expect(it.report()?.message ?? '').not.toMatch('wiped');
  });

  it('says what is wrong with the pool or the copier', async () => {
    const it = harness();
    it.copier.up = false;
    await it.reconcile();
    expect(it.report()?.message).toMatch('the copier on node here does not answer');
    it.kube.remove({ kind: 'AoEPool' }, 'p');
    await it.reconcile();
    expect(it.report()?.message).toMatch('AoEPool p does not exist');
  });
});

describe('the agent that is to remove the data of a move', () => {
  const REMOVING = { ...MOVE, stage: 'Removing' } as const;
  it('removes half a copy of this move, its job, and data that is older than that of the volume', async () => {
    const half = harness({ move: REMOVING });
    half.backend.volumes.set(UID, data({ copy: `${MOVE.id}/aa` }));
    await half.copier.start({
      id: `${UID}.aa`,
      volume: 'v',
      source: { kind: 'local', path: '/s' },
      destination: { path: '/d', zeroed: true },
      bytes: 512,
      bytesPerSecond: 0,
    });
    await half.reconcile();
    expect([half.backend.volumes.size, half.copier.jobs.size, half.report()?.phase]).toStrictEqual([0, 0, 'Removed']);
    const old = harness({ move: REMOVING, spec: { moves: 3 } });
    old.backend.volumes.set(UID, data({ moves: 2 }));
    await old.reconcile();
    expect([old.backend.volumes.size, old.report()?.phase]).toStrictEqual([0, 'Removed']);
    await old.reconcile();
    expect(old.report()?.phase).toBe('Removed');
  });

  const kept: [string, Partial<AoEVolumeSpec>, object, RegExp][] = [
    ['is not older', { moves: 3 }, { moves: 3 }, /is not older than the data of the volume/],
    ['was never moved away from', {}, {}, /is not older than the data of the volume/],
    ['is half a copy of something else', { moves: 3 }, { copy: 'ffffffff/0' }, /half a copy of another move/],
    ['is at the place of the volume', { moves: 3, nodeName: 'here', pool: 'p' }, { moves: 2 }, /the volume itself is placed there/],
  ];
  for (const [what, spec, found, why] of kept) {
    it(`keeps data that ${what}`, async () => {
      const it = harness({ move: REMOVING, spec });
      it.backend.volumes.set(UID, data(found));
      await it.reconcile();
      expect(it.backend.volumes.size).toBe(1);
      expect(it.report()?.message).toMatch(why);
    });
  }

  it('keeps it while the target does not answer or the earlier place is only switched, and leaves nothing outdated behind when a deletion retains the data', async () => {
    const it = harness({ move: REMOVING, spec: { moves: 1, deletionPolicy: 'Retain' } });
    it.backend.volumes.set(UID, data());
    it.target.connected = false;
    await it.reconcile();
    expect(it.report()?.message).toMatch('the target process does not answer');
    it.target.connected = true;
    it.put({ move: { ...MOVE, stage: 'Switched' } });
    await it.reconcile();
    expect(it.backend.volumes.size).toBe(1);
    it.put({}, { deletionTimestamp: '2026-11-28T09:00:00Z' });
    await it.reconcile();
    expect([it.backend.volumes.size, it.backend.retained.size]).toStrictEqual([0, 0]);
    expect(it.kube.read<AoEVolume & { kind: string }>(AOE_VOLUMES, 'v')?.status?.move?.phase).toBe('Removed');
  });
});

describe('a removal of what a move has left that takes long', () => {
  const REMOVING = { ...MOVE, stage: 'Removing' } as const;
  const moved = { move: REMOVING, spec: { moves: 3 } };

  it('does not keep the data of other moves from being copied or removed, and is begun once', async () => {
    const it = harness(moved);
    it.backend.volumes.set(UID, data({ moves: 2 }));
    const hung = new FakeBackend();
    const pool = Promise.withResolvers<void>();
    hung.removing = pool.promise;
    it.backends.set('hung', hung);
    it.kube.put({ kind: 'AoEPool', metadata: { name: 'hung' }, spec: { backend: 'lvm' } } as never);
    const AT_ONCE = 4;
    const names = Array.from({ length: AT_ONCE }, (_, index) => `slow-${index}`);
    const store = it.kube.store<AoEVolume>('AoEVolume');
    for (const name of names) {
      const uid = `uid-${name}`;
      hung.volumes.set(uid, { ...data({ moves: 2 }), uid, volume: name });
      const spec = { ...store.get('v')?.spec, move: { ...REMOVING, pool: 'hung' } };
      it.kube.put({ kind: 'AoEVolume', metadata: { name, uid }, spec, status: { capacity: '4Mi' } } as never);
    }
    const controller = runController(it.work, { concurrency: AT_ONCE, release: pool.resolve });
    it.work.subscribe((event) => 'volume' in event && controller.enqueue(event.volume));
    const removals = () => hung.calls.filter((call) => call === 'remove').length;
    for (const name of names) controller.enqueue(name);
    await waitUntil(() => removals() === AT_ONCE);
    controller.enqueue('v');
    await waitUntil(() => it.report()?.phase === 'Removed');
    for (const name of names) await it.work.reconcile(name, signal);
    expect([removals(), hung.volumes.size, it.backend.volumes.size]).toStrictEqual([AT_ONCE, AT_ONCE, 0]);
    expect(names.map((name) => store.get(name)?.status?.move)).toStrictEqual(names.map(() => undefined));
    pool.resolve();
    await waitUntil(() => names.every((name) => store.get(name)?.status?.move?.phase === 'Removed'));
    expect([removals(), hung.volumes.size]).toStrictEqual([AT_ONCE, 0]);
  });

  it('says why it failed, and is finished by the next agent', async () => {
    const it = harness(moved);
    it.backend.volumes.set(UID, data({ moves: 2 }));
    const pool = Promise.withResolvers<void>();
    it.backend.removing = pool.promise;
    expect(await it.reconcile()).toBeUndefined();
    pool.reject(new BackendError('BackendFailed', 'lvremove failed'));
    await it.idle();
    expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 10_000 });
    expect(it.report()).toMatchObject({ phase: 'Waiting', message: 'lvremove failed' });
    it.backend.removing = new Promise(() => {});
    await it.reconcile();
    it.backend.removing = undefined;
    await it.agent().reconcile('v', signal);
    expect([it.backend.volumes.size, it.report()?.phase]).toStrictEqual([0, 'Removed']);
  });

  it('ends when the move does, and nothing of a later move is removed by it', async () => {
    const it = harness(moved);
    it.backend.volumes.set(UID, data({ moves: 2 }));
    const stopped: unknown[] = [];
    it.backend.remove = (_uid, stop) =>
      new Promise((_, reject) => {
        stop?.addEventListener('abort', () => {
          stopped.push(stop.reason);
          reject(stop.reason);
        });
      });
    await it.reconcile();
    it.put({ move: undefined });
    expect(await it.reconcile()).toBeUndefined();
    expect(stopped).toStrictEqual([new Error('the move was ended')]);
    await it.idle();
    it.put({ move: { ...REMOVING, id: 'ffffffff' }, moves: 5 });
    expect(await it.reconcile()).toBeUndefined();
    expect([stopped.length, it.report(), it.backend.volumes.size]).toStrictEqual([1, undefined, 1]);
  });
});
