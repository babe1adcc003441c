import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BREAK_LOCK } from '../../api/volume.ts';
import { harness, UID } from '../testing/volume-harness.ts';

type Harness = Awaited<ReturnType<typeof harness>>;
const annotation = (it: Harness) => it.volume().metadata.annotations?.[BREAK_LOCK];

async function locked(it: Harness, node: string): Promise<void> {
  it.spec({ initiators: { nodes: [node] } });
  await it.reconcile();
  it.lock(node);
  await it.tick();
  await it.reconcile();
  it.kube.events.length = 0;
}

test('breaking the lock of a node shuts it out first, then clears the lock, and is told of', async (t) => {
  const it = await harness(t);
  await locked(it, 'worker');
  const before = it.target.calls.length;
  it.annotate({ [BREAK_LOCK]: 'worker', other: 'stays' });
  await it.reconcile();
  assert.deepEqual(it.volume().spec.initiators.nodes, undefined);
  assert.deepEqual(it.target.volumes.get(UID)?.volume.macs, []);
  assert.deepEqual(it.target.calls.slice(before), ['setAccess', 'replaceConfigString']);
  assert.equal(it.target.configString(UID), '');
  assert.deepEqual(it.volume().metadata.annotations, { other: 'stays' });
  assert.deepEqual(
    it.kube.events.map(({ reason }) => reason),
    ['LockBroken', 'Fenced', 'LockCleared'],
  );
});

test('a holder that is not the one named keeps lock and access', async (t) => {
  const it = await harness(t);
  await locked(it, 'worker');
  for (const named of ['other', 'work', '', 'worker ']) {
    it.annotate({ [BREAK_LOCK]: named });
    await it.reconcile();
    assert.equal(annotation(it), undefined);
    assert.deepEqual(it.volume().spec.initiators.nodes, ['worker']);
    assert.match(it.target.configString(UID), /node=worker/);
  }
  assert.deepEqual([...new Set(it.kube.events.map(({ reason }) => reason))], ['LockNotBroken']);
  assert.match(it.kube.events[0]?.message ?? '', /held by node worker since .*, not held by "other"/);
});

test('nothing is broken where there is no lock', async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { nodes: ['worker'] } });
  it.annotate({ [BREAK_LOCK]: 'worker' });
  await it.reconcile();
  // The first pass exports it; only then is its string known.
  await it.reconcile();
  assert.equal(annotation(it), undefined);
  assert.deepEqual(it.volume().spec.initiators.nodes, ['worker']);
  assert.match(it.kube.events[0]?.message ?? '', /the lock is free/);
});

test("a stranger's string is cleared when it is given as a whole, and hosts that stay are named", async (t) => {
  const it = await harness(t);
  it.spec({ initiators: { macs: ['02:00:00:00:77:77'] } });
  await it.reconcile();
  it.target.setConfigString(UID, 'net.corvus.apple \u0001');
  await it.tick();
  await it.reconcile();
  const raw = it.volume().status?.holder?.raw ?? '';
  it.annotate({ [BREAK_LOCK]: raw.slice(0, -1) });
  await it.reconcile();
  assert.notEqual(it.target.configString(UID), '');
  it.annotate({ [BREAK_LOCK]: raw });
  await it.reconcile();
  assert.equal(it.target.configString(UID), '');
  assert.equal(annotation(it), undefined);
  const last = it.kube.events.at(-1);
  assert.equal(last?.reason, 'LockBroken');
  assert.match(last?.message ?? '', /02:00:00:00:77:77 may still use the volume/);
});

test('a volume that waits for its deletion is freed by breaking the lock', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.target.setConfigString(UID, 'somebody');
  await it.tick();
  it.remove();
  await it.reconcile();
  assert.equal(it.backend.volumes.size, 1);
  it.annotate({ [BREAK_LOCK]: 'somebody' });
  await it.reconcile();
  assert.equal(it.backend.volumes.size, 0);
});

test('the annotation waits while the target is away, and is compared with what is there then', async (t) => {
  const it = await harness(t);
  await locked(it, 'worker');
  it.target.stop();
  await it.connected(false);
  it.annotate({ [BREAK_LOCK]: 'worker' });
  await it.reconcile();
  assert.equal(annotation(it), 'worker');
  it.target.start();
  await it.connected(true);
  it.lock('other');
  await it.tick();
  await it.reconcile();
  assert.equal(annotation(it), undefined);
  assert.deepEqual(it.volume().spec.initiators.nodes, ['worker']);
  assert.ok(it.kube.events.some(({ reason }) => reason === 'LockNotBroken'));
});
