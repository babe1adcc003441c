import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness, UID } from '../testing/volume-harness.ts';

type Harness = Awaited<ReturnType<typeof harness>>;
const reasons = ({ kube }: Harness) => kube.events.map(({ reason }) => reason);

/** Lets a node in, and has it take the lock. */
async function locked(it: Harness, node: string): Promise<void> {
  it.spec({ initiators: { nodes: [node] } });
  await it.reconcile();
  it.lock(node);
  await it.tick();
  await it.reconcile();
}

test('a lock that is taken and given back is told of, once each', async (t) => {
  const it = await harness(t);
  await locked(it, 'worker');
  await it.reconcile();
  assert.equal(it.condition('Locked')?.message, 'held by node worker since 2026-01-01T00:00:00Z');
  it.target.setConfigString(UID, '');
  await it.tick();
  await it.reconcile();
  await it.reconcile();
  assert.deepEqual(reasons(it), ['LockTaken', 'LockReleased']);
  assert.match(it.kube.events[1]?.message ?? '', /node worker since 2026-01-01/);
  assert.equal(it.condition('Locked')?.reason, 'Free');
});

test('a takeover is told from the fence to the next lock: first the access goes, then the lock', async (t) => {
  const it = await harness(t);
  await locked(it, 'worker');
  assert.equal(it.volume().status?.holder?.name, 'worker');
  it.spec({ initiators: { nodes: ['other'] } });
  await it.reconcile();
  assert.equal(it.target.configString(UID), '');
  assert.equal(it.volume().status?.holder, undefined);
  const order = it.target.calls.filter((call) => call === 'setAccess' || call === 'replaceConfigString');
  assert.deepEqual(order.slice(-2), ['setAccess', 'replaceConfigString']);
  it.lock('other');
  await it.tick();
  await it.reconcile();
  assert.deepEqual(reasons(it), ['LockTaken', 'Fenced', 'LockCleared', 'LockTaken']);
  assert.match(it.kube.events[1]?.message ?? '', /node worker, which has held the lock since 2026-01-01.*spec\.initiators names other now/);
});

test('a lock that changes hands between two looks is told with both holders', async (t) => {
  const it = await harness(t);
  it.spec({ access: 'Shared', initiators: { nodes: ['worker', 'other'] } });
  await it.reconcile();
  for (const node of ['worker', 'other']) {
    it.lock(node);
    await it.tick();
    await it.reconcile();
  }
  assert.match(it.kube.events[1]?.message ?? '', /held by node other since .* before that, by node worker/);
});

test('what is said of the lock depends on the access', async (t) => {
  const it = await harness(t);
  for (const [access, reason] of [
    ['Shared', 'Shared'],
    ['ReadOnlyMany', 'ReadOnly'],
    ['Exclusive', 'Free'],
  ] as const) {
    it.spec({ access });
    await it.reconcile();
    assert.equal(it.condition('Locked')?.reason, reason);
  }
});

for (const [what, bytes] of [
  ['half written', 'aoe.dev/1 node=worker uid='],
  ['as long as can be', 'x'.repeat(1024)],
  ['of the Mac driver', 'net.corvus.apple 00:11:22:33:44:55'],
] as const) {
  test(`a string that is ${what} is respected, named and shown in the column`, async (t) => {
    const it = await harness(t);
    await it.reconcile();
    it.target.setConfigString(UID, bytes);
    await it.tick();
    await it.reconcile();
    assert.equal(it.target.configString(UID), bytes);
    assert.equal(it.condition('Locked')?.reason, 'NotOurs');
    assert.match(it.volume().status?.holder?.name ?? '', /^".{20,34}"$/);
    assert.deepEqual(reasons(it), ['LockTaken']);
  });
}

test('a lock of ours for another volume stays, and says so', async (t) => {
  const it = await harness(t);
  await it.reconcile();
  it.lock('worker', 'another-volume');
  await it.tick();
  await it.reconcile();
  assert.equal(it.condition('Locked')?.reason, 'OtherVolume');
  assert.match(it.target.configString(UID), /volume=another-volume/);
});
