import { BREAK_LOCK } from '../../api/volume.ts';
import { harness, UID } from '../testing/volume-harness.ts';

type Harness = Awaited<ReturnType<typeof harness>>;
const annotation = (it: Harness) => it.volume().metadata.annotations?.[BREAK_LOCK];

async function locked(it: Harness, node: string): Promise<void> {
  await it.admitHolder(node);
  it.kube.events.length = 0;
}

test('breaking the lock of a node cuts it off first, then clears the lock, and is reported', async () => {
  const it = await harness();
  await locked(it, 'worker');
  const before = it.target.calls.length;
  it.annotate({ [BREAK_LOCK]: 'worker', other: 'stays' });
  await it.reconcile();
  expect(it.volume().spec.initiators.nodes).toBeUndefined();
  expect(it.target.volumes.get(UID)?.volume.macs).toStrictEqual([]);
  expect(it.target.calls.slice(before)).toStrictEqual(['setAccess', 'replaceConfigString']);
  expect(it.target.configString(UID)).toBe('');
  expect(it.volume().metadata.annotations).toStrictEqual({ other: 'stays' });
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['LockBroken', 'Fenced', 'LockCleared']);
});

test('a holder that is not the one named keeps lock and access', async () => {
  const it = await harness();
  await locked(it, 'worker');
  for (const named of ['other', 'work', '', 'worker ']) {
    it.annotate({ [BREAK_LOCK]: named });
    await it.reconcile();
    expect(annotation(it)).toBeUndefined();
    expect(it.volume().spec.initiators.nodes).toStrictEqual(['worker']);
    expect(it.target.configString(UID)).toMatch(/node=worker/);
  }
  expect([...new Set(it.kube.events.map(({ reason }) => reason))]).toStrictEqual(['LockNotBroken']);
  expect(it.kube.events[0]?.message ?? '').toMatch(/held by node worker since .*, not held by "other"/);
});

test('nothing is broken where there is no lock', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  it.annotate({ [BREAK_LOCK]: 'worker' });
  await it.reconcile();
  // The first pass exports it; only then is its string known.
  await it.reconcile();
  expect(annotation(it)).toBeUndefined();
  expect(it.volume().spec.initiators.nodes).toStrictEqual(['worker']);
  expect(it.kube.events[0]?.message ?? '').toMatch(/the lock is free/);
});

test('a config string of another program is cleared when the annotation has all of it, and hosts that stay are named', async () => {
  const it = await harness();
  it.spec({ initiators: { macs: ['02:00:00:00:77:77'] } });
  await it.reconcile();
  it.target.setConfigString(UID, 'net.corvus.apple \u0001');
  await it.tick();
  await it.reconcile();
  const raw = it.volume().status?.holder?.raw ?? '';
  it.annotate({ [BREAK_LOCK]: raw.slice(0, -1) });
  await it.reconcile();
  expect(it.target.configString(UID)).not.toBe('');
  it.annotate({ [BREAK_LOCK]: raw });
  await it.reconcile();
  expect(it.target.configString(UID)).toBe('');
  expect(annotation(it)).toBeUndefined();
  const last = it.kube.events.at(-1);
  expect(last?.reason).toBe('LockBroken');
  expect(last?.message ?? '').toMatch(/02:00:00:00:77:77 may still use the volume/);
});

test('a volume that waits for its deletion is freed by breaking the lock', async () => {
  const it = await harness();
  await it.reconcile();
  it.target.setConfigString(UID, 'somebody');
  await it.tick();
  it.remove();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(1);
  it.annotate({ [BREAK_LOCK]: 'somebody' });
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(0);
});

test('the annotation waits while the target is away, and is compared with what is there then', async () => {
  const it = await harness();
  await locked(it, 'worker');
  it.target.stop();
  await it.connected(false);
  it.annotate({ [BREAK_LOCK]: 'worker' });
  await it.reconcile();
  expect(annotation(it)).toBe('worker');
  it.target.start();
  await it.connected(true);
  it.lock('other');
  await it.tick();
  await it.reconcile();
  expect(annotation(it)).toBeUndefined();
  expect(it.volume().spec.initiators.nodes).toStrictEqual(['worker']);
  expect(it.kube.events.some(({ reason }) => reason === 'LockNotBroken')).toBe(true);
});
