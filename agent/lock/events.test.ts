import { harness, UID } from '../testing/volume-harness.ts';

type Harness = Awaited<ReturnType<typeof harness>>;
const reasons = ({ kube }: Harness) => kube.events.map(({ reason }) => reason);

test('a lock that is taken and given back is reported, once each', async () => {
  const it = await harness();
  await it.admitHolder('worker');
  await it.reconcile();
  expect(it.condition('Locked')?.message).toBe('held by node worker since 2026-01-01T00:00:00Z');
  it.target.setConfigString(UID, '');
  await it.tick();
  await it.reconcile();
  await it.reconcile();
  expect(reasons(it)).toStrictEqual(['LockTaken', 'LockReleased']);
  expect(it.kube.events[1]?.message ?? '').toMatch(/node worker since 2026-01-01/);
  expect(it.condition('Locked')?.reason).toBe('Free');
});

test('a takeover is reported from the fence to the next lock: first the access goes, then the lock', async () => {
  const it = await harness();
  await it.admitHolder('worker');
  expect(it.volume().status?.holder?.name).toBe('worker');
  it.spec({ initiators: { nodes: ['other'] } });
  await it.reconcile();
  expect(it.target.configString(UID)).toBe('');
  expect(it.volume().status?.holder).toBeUndefined();
  const order = it.target.calls.filter((call) => call === 'setAccess' || call === 'replaceConfigString');
  expect(order.slice(-2)).toStrictEqual(['setAccess', 'replaceConfigString']);
  it.lock('other');
  await it.tick();
  await it.reconcile();
  expect(reasons(it)).toStrictEqual(['LockTaken', 'Fenced', 'LockCleared', 'LockTaken']);
  expect(it.kube.events[1]?.message ?? '').toMatch(
    /node worker, which has held the lock since 2026-01-01.*spec\.initiators names other now/,
  );
});

test('a lock that changes hands between two reconciles is reported with both holders', async () => {
  const it = await harness();
  it.spec({ access: 'Shared', initiators: { nodes: ['worker', 'other'] } });
  await it.reconcile();
  for (const node of ['worker', 'other']) {
    it.lock(node);
    await it.tick();
    await it.reconcile();
  }
  expect(it.kube.events[1]?.message ?? '').toMatch(/held by node other since .* before that, by node worker/);
});

test('what is said of the lock depends on the access', async () => {
  const it = await harness();
  for (const [access, reason] of [
    ['Shared', 'Shared'],
    ['ReadOnlyMany', 'ReadOnly'],
    ['Exclusive', 'Free'],
  ] as const) {
    it.spec({ access });
    await it.reconcile();
    expect(it.condition('Locked')?.reason).toBe(reason);
  }
});

for (const [what, bytes] of [
  ['half written', 'aoe.dev/1 node=worker uid='],
  ['as long as can be', 'x'.repeat(1024)],
  ['of the Mac driver', 'net.corvus.apple 00:11:22:33:44:55'],
] as const) {
  test(`a string that is ${what} is respected, named and shown in the column`, async () => {
    const it = await harness();
    await it.reconcile();
    it.target.setConfigString(UID, bytes);
    await it.tick();
    await it.reconcile();
    expect(it.target.configString(UID)).toBe(bytes);
    expect(it.condition('Locked')?.reason).toBe('NotOurs');
    expect(it.volume().status?.holder?.name ?? '').toMatch(/^".{20,34}"$/);
    expect(reasons(it)).toStrictEqual(['LockTaken']);
  });
}

test('a lock of ours for another volume stays, and says so', async () => {
  const it = await harness();
  await it.reconcile();
  it.lock('worker', 'another-volume');
  await it.tick();
  await it.reconcile();
  expect(it.condition('Locked')?.reason).toBe('OtherVolume');
  expect(it.target.configString(UID)).toMatch(/volume=another-volume/);
});
