import { pino } from 'pino';
import type { AoESnapshot, AoESnapshotStatus } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { KubeError, type KubeObject, TimeoutError } from '../../kube/mod.ts';
import { BackendError } from '../backends/backend.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FileSystemFreeze } from './freeze.ts';
import { failedBy } from './outcome.ts';
import { SnapshotRecords } from './records.ts';

const PLACE = { pool: 'fast', volumeUID: 'v-uid', isRecorded: true };
const SINCE = new Date('2026-11-28T08:00:00Z');
type Answer = Partial<NonNullable<AoESnapshotStatus['frozen']>>;

/** The node plugin answers these, in this order; none: it does not answer. */
function harness(answers: (Answer | undefined)[], volume: object = { initiators: { nodes: ['n1'] } }) {
  const kube = new FakeKube();
  const caller = new AbortController();
  const log = pino({ level: 'silent' });
  const steps: string[] = [];
  const spec = { pool: 'fast', nodeName: 'storage', capacity: '1Mi', access: 'Exclusive' };
  const putVolume = (more: object): void =>
    void kube.put({ kind: 'AoEVolume', metadata: { name: 'v1', uid: 'v-uid' }, spec: { ...spec, ...more } } as never);
  putVolume(volume);
  kube.put({ kind: 'AoESnapshot', metadata: { name: 's1', uid: 's-uid' }, spec: { volumeName: 'v1', freeze: true } } as never);
  const store = kube.store<AoESnapshot & KubeObject>('AoESnapshot');
  const stored = () => store.get('s1') as AoESnapshot & KubeObject & { kind: string };
  const asked = () => stored()?.status?.freeze;
  const waitFor = async <R>(_name: string, predicate: (now: AoESnapshot | undefined) => R | undefined | false): Promise<R> => {
    const freeze = asked();
    steps.push(`${freeze?.stage} ${freeze?.nodeName}`);
    const answer = answers.shift();
    const frozen = answer && { id: freeze?.id ?? '', nodeName: 'n1', state: 'Frozen', ...answer };
    if (frozen) kube.put({ ...stored(), status: { ...stored().status, frozen } } as never);
    const result = predicate(store.get('s1'));
    if (!result) throw new TimeoutError('it did not come');
    return result;
  };
  const records = new SnapshotRecords({ node: 'storage', kube, snapshots: store, log });
  const clock = { now: 0 };
  const freeze = new FileSystemFreeze({
    now: () => clock.now,
    records,
    snapshots: { waitFor: waitFor as never },
    volumes: kube.store<AoEVolume>('AoEVolume'),
    log,
  });
  /** `entered`: called when it was not refused before the turn of the pool. */
  const take = async (make: () => Promise<void> = async () => {}, entered: () => Promise<void> = async () => {}) => {
    const held = async (work: () => Promise<void>) => {
      steps.push('held');
      await work();
      steps.push('released');
      return SINCE;
    };
    const instant = freeze.during(held, stored(), PLACE, caller.signal);
    await entered();
    return await instant(make);
  };
  return { kube, clock, answers, caller, steps, stored, asked, take, putVolume };
}

test('the file system is frozen before the volume is held, and thawed after its release', async () => {
  const it = harness([{ state: 'Frozen' }, { state: 'Thawed', throughout: true }]);
  expect(await it.take(async () => void it.steps.push('made'))).toBe(SINCE);
  expect(it.steps).toEqual(['Freezing n1', 'held', 'made', 'released', 'Thawing n1']);
  expect(it.asked()).toMatchObject({ stage: 'Done', message: expect.stringMatching('was frozen on node n1 from') });
  expect(it.asked()?.nodeName).toBeUndefined();
});

test('a freeze that did not last, or that failed, is no instant', async () => {
  const gone = harness([{ state: 'Frozen' }, { state: 'Thawed', throughout: false, message: 'a freeze lasts 30 s at most' }]);
  await expect(gone.take()).rejects.toMatchObject({ reason: 'NotFrozen', message: /a freeze lasts 30 s at most/ });
  expect(gone.asked()).toMatchObject({ stage: 'Done', message: 'the attempt has failed' });
  const failed = harness([{ state: 'Failed', message: 'busy' }]);
  await expect(failed.take()).rejects.toMatchObject({ reason: 'NotFrozen', message: 'node n1: busy' });
  expect(failed.steps).toEqual(['Freezing n1']);
  const block = harness([{ state: 'Unsupported', message: 'raw' }]);
  await expect(block.take()).rejects.toMatchObject({ reason: 'FreezeUnsupported' });
});

test('an answer to an earlier attempt, or of another node, does not count, and none is not waited for for ever', async () => {
  for (const answer of [{ id: 'earlier' }, { nodeName: 'n2' }, undefined]) {
    const it = harness([answer]);
    await expect(it.take()).rejects.toMatchObject({ reason: 'NotFrozen', message: /node n1 did not freeze the file system within 30 s/ });
    expect(it.asked()?.stage).toBe('Done');
  }
  const it = harness([{ state: 'Frozen' }, { state: 'Frozen' }]);
  await expect(it.take()).rejects.toMatchObject({ message: /did not thaw/ });
});

test('when the snapshot cannot be made, the node is told that nothing is to be frozen any more', async () => {
  const it = harness([{ state: 'Frozen' }]);
  const problem = new BackendError('BackendFailed', 'lvcreate failed');
  await expect(it.take(() => Promise.reject(problem))).rejects.toBe(problem);
  expect(it.asked()?.stage).toBe('Done');
});

test('an error of the API server is a freeze that failed, with the pause of those; an abort stays one', async () => {
  const it = harness([{ state: 'Frozen' }]);
  const away = new KubeError(503, 'ServiceUnavailable', 'etcd is away');
  const error = await it.take(() => Promise.reject(away)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    name: 'NoInstantError',
    reason: 'NotFrozen',
    cause: away,
    message: expect.stringContaining('etcd is away'),
  });
  expect(failedBy(error).retryMs).toBe(60_000);
  const aborted = harness([{ state: 'Frozen' }]);
  const stop = new Error('the agent stops');
  const make = async () => {
    aborted.caller.abort(stop);
    aborted.caller.signal.throwIfAborted();
  };
  await expect(aborted.take(make)).rejects.toBe(stop);
});

test('a volume that is attached nowhere needs no freeze, unless it is attached meanwhile', async () => {
  const it = harness([], {});
  expect(await it.take()).toBe(SINCE);
  expect(it.asked()).toMatchObject({ stage: 'Done', message: expect.stringMatching('attached to no node') });
  const other = harness([], {});
  await expect(other.take(async () => other.putVolume({ initiators: { nodes: ['n1'] } }))).rejects.toMatchObject({
    reason: 'NotFrozen',
    message: /was attached to another node/,
  });
  const unmounted = harness([{ state: 'NotMounted' }, { state: 'Thawed', throughout: true }]);
  expect(await unmounted.take()).toBe(SINCE);
  expect(unmounted.asked()?.message).toMatch('was not mounted on node n1');
});

test('hosts that nobody can freeze are refused', async () => {
  for (const [volume, reason, message] of [
    [{ initiators: { macs: ['02:00:00:00:00:01'] } }, 'FreezeUnsupported', /by their MAC address/],
    [{ access: 'Shared', initiators: { nodes: ['n1'] } }, 'FreezeUnsupported', /has access Shared/],
    [{ initiators: { nodes: ['n1', 'n2'] } }, 'NotFrozen', /on its way from one node to another/],
  ] as const)
    await expect(harness([], volume).take()).rejects.toMatchObject({ reason, message });
});

test('a snapshot that is deleted meanwhile is not waited for', async () => {
  const it = harness([{ state: 'Frozen' }]);
  const make = async () => it.kube.remove({ kind: 'AoESnapshot' }, 's1');
  await expect(it.take(make)).rejects.toMatchObject({ reason: 'NotFrozen', message: /was deleted/ });
});

test('a node that does not answer is asked for nothing for a while, longer each time, and nobody waits for it meanwhile', async () => {
  const it = harness([]);
  for (const minutes of [1, 2, 4, 8, 10, 10]) {
    const error = await it.take().catch((thrown: unknown) => thrown);
    expect(failedBy(error)).toMatchObject({
      verdict: { reason: 'NotFrozen', message: expect.stringMatching('did not freeze the file system within 30 s') },
      retryMs: minutes * 60_000,
    });
    it.clock.now += minutes * 60_000 - 1;
    it.steps.length = 0;
    let hasEntered = false;
    const entered = async () => {
      hasEntered = true;
    };
    const refused = await it.take(undefined, entered).catch((thrown: unknown) => thrown);
    expect(failedBy(refused)).toMatchObject({ verdict: { message: expect.stringMatching('it is asked again at 20') }, retryMs: 1 });
    expect([it.steps, hasEntered], 'it was refused before the turn').toEqual([[], false]);
    it.clock.now++;
  }
  // Any answer ends that.
  it.answers.push({ state: 'Failed', message: 'busy' });
  await expect(it.take()).rejects.toMatchObject({ message: 'node n1: busy', retryMs: undefined });
  await expect(it.take()).rejects.toMatchObject({ message: expect.stringMatching('within 30 s'), retryMs: 60_000 });
});

test('snapshots that wait for the turn at the same time do not wait for a silent node one after the other', async () => {
  const it = harness([]);
  const first = Promise.withResolvers<void>();
  const second = it.take(undefined, () => first.promise);
  await expect(it.take()).rejects.toMatchObject({ message: expect.stringMatching('within 30 s') });
  first.resolve();
  await expect(second).rejects.toMatchObject({ message: expect.stringMatching('asked again at') });
  expect(it.steps).toEqual(['Freezing n1']);
});
