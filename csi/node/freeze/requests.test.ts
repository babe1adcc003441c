import type { AoESnapshot } from '../../../api/snapshot.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { KubeObject } from '../../../kube/mod.ts';
import { FakeApi } from '../../../kube/testing/fake-api.ts';
import { FakeClock } from '../../../kube/testing/fake-clock.ts';
import { FakeFreezer, FakeKernel } from '../testing/fake-freezer.ts';
import { FakeNode } from '../testing/fakes.ts';
import { FreezeRequests } from './requests.ts';
import { FreezeSessions } from './sessions.ts';

const { signal } = new AbortController();
const DEVICE = '152:16';

async function harness({ kind = 'mount' }: { kind?: 'mount' | 'block' | 'none' } = {}) {
  const node = new FakeNode();
  const kernel = new FakeKernel();
  kernel.mounted.add(DEVICE);
  const api = new FakeApi();
  const volume = { metadata: { name: 'v1', uid: 'uid-1' }, spec: { nodeName: 'storage' } } as unknown as AoEVolume;
  node.volumes.items.set('v1', volume);
  await node.driver.attach('e7.3');
  await node.recordStaged();
  if (kind === 'mount') await node.mounter.mount('/dev/etherd/e7.3', '/staging/v1', { type: 'ext4', options: [] });
  if (kind === 'block') await node.mounter.mount('/dev/etherd/e7.3', '/pod/v1', { options: ['bind'] });
  const ask = (freeze: object | undefined, more: object = {}, name = 's1') =>
    api.put({
      kind: 'AoESnapshot',
      metadata: { name, uid: `${name}-uid` },
      spec: { volumeName: 'v1', freeze: true },
      status: { nodeName: 'storage', volumeUID: 'uid-1', ...stored(name)?.status, freeze, ...more },
    } as never);
  const stored = (name = 's1') => api.read<AoESnapshot & KubeObject>({ kind: 'AoESnapshot' }, name);
  /** A plugin that has just been started. */
  const plugin = async () => {
    const freezer = new FakeFreezer(kernel);
    const { log } = node.deps;
    const freezes = new FreezeSessions({ freezer, records: freezer, limitMs: 30_000, clock: new FakeClock().machine(), log });
    await freezes.recover(signal);
    const store = api.store<AoESnapshot & KubeObject>('AoESnapshot');
    const own = (name: string) => {
      const found = store.get(name);
      return found?.status?.freeze?.nodeName === node.deps.nodeName ? found : undefined;
    };
    const requests = new FreezeRequests({ ...node.deps, freezes }, api as never, { get: own, list: () => store.list() });
    return { freezes, reconcile: (name = 's1') => requests.reconcile(name, signal) };
  };
  const asked = (id: string, stage: string) => ({ id, stage, nodeName: node.deps.nodeName });
  return { node, kernel, api, ask, asked, stored, plugin };
}

test('the file system is frozen when the agent asks, and thawed when it asks for that', async () => {
  const it = await harness();
  const { reconcile } = await it.plugin();
  it.ask(it.asked('f1', 'Freezing'));
  await reconcile();
  const { nodeName } = it.node.deps;
  expect(it.stored()?.status?.frozen).toEqual({ id: 'f1', nodeName, state: 'Frozen' });
  expect(it.kernel.frozen).toEqual(new Set([DEVICE]));
  await reconcile();
  it.ask(it.asked('f1', 'Thawing'));
  await reconcile();
  expect(it.stored()?.status?.frozen).toEqual({ id: 'f1', nodeName, state: 'Thawed', throughout: true });
  expect(it.kernel.frozen.size).toBe(0);
});

test('a plugin that was restarted meanwhile says that the freeze did not last, and does not freeze again', async () => {
  const it = await harness();
  it.ask(it.asked('f1', 'Freezing'));
  await (await it.plugin()).reconcile();
  const next = await it.plugin();
  await next.reconcile();
  await next.freezes.end('v1', 'test', signal);
  expect(it.kernel.frozen.size).toBe(0);
  it.ask(it.asked('f1', 'Thawing'));
  await next.reconcile();
  expect(it.stored()?.status?.frozen).toMatchObject({
    state: 'Thawed',
    throughout: false,
    message: expect.stringMatching('was restarted'),
  });
});

test('a freeze ends when the agent asks for nothing more, for another one, or the snapshot is deleted', async () => {
  const it = await harness();
  const { reconcile, freezes } = await it.plugin();
  it.ask(it.asked('f1', 'Freezing'));
  await reconcile();
  it.ask(it.asked('f2', 'Freezing'));
  await reconcile();
  expect(it.stored()?.status?.frozen).toMatchObject({ id: 'f2', state: 'Frozen' });
  it.ask({ id: 'f2', stage: 'Done' });
  await reconcile();
  await freezes.end('v1', 'test', signal);
  expect(it.kernel.frozen.size).toBe(0);
  expect(await freezes.thaw('f2')).toBeDefined();

  it.ask(it.asked('f3', 'Freezing'));
  await reconcile();
  it.api.remove({ kind: 'AoESnapshot' }, 's1');
  await reconcile();
  await freezes.end('v1', 'test', signal);
  expect(it.kernel.frozen.size).toBe(0);
});

test('what becomes of one snapshot does not end the freeze of another of the same volume', async () => {
  const it = await harness();
  const { reconcile, freezes } = await it.plugin();
  const { volumes } = it.node.deps;
  const get = volumes.get.bind(volumes);
  it.ask(it.asked('f1', 'Freezing'));
  await reconcile();
  for (const end of ['deleted', 'asks for another', 'nobody waits'] as const) {
    it.ask(it.asked(`${end} 1`, 'Freezing'), { frozen: undefined }, 's2');
    volumes.get = async (...args) => {
      // The agent gives up while the node answers.
      if (end === 'nobody waits') it.ask({ id: 'later', stage: 'Done' }, {}, 's2');
      return get(...args);
    };
    await reconcile('s2');
    if (end !== 'nobody waits')
      expect(it.stored('s2')?.status?.frozen).toMatchObject({ state: 'Failed', message: expect.stringMatching('for another snapshot') });
    if (end === 'deleted') it.api.remove({ kind: 'AoESnapshot' }, 's2');
    if (end === 'asks for another') it.ask(it.asked(`${end} 2`, 'Freezing'), {}, 's2');
    await reconcile('s2');
    expect(it.kernel.frozen, end).toEqual(new Set([DEVICE]));
  }
  expect(await freezes.thaw('f1')).toBeUndefined();
});

test('when the answer cannot be written because nobody waits for it, nothing stays frozen', async () => {
  const it = await harness();
  const { reconcile, freezes } = await it.plugin();
  it.ask(it.asked('f1', 'Freezing'));
  const before = it.stored();
  const { volumes } = it.node.deps;
  const get = volumes.get.bind(volumes);
  // The agent gives up while the file system is being frozen.
  volumes.get = async (...args) => {
    it.ask({ id: 'f1', stage: 'Done' });
    return get(...args);
  };
  expect(before?.status?.freeze?.stage).toBe('Freezing');
  await reconcile();
  await freezes.end('v1', 'test', signal);
  expect(it.stored()?.status?.frozen).toBeUndefined();
  expect(it.kernel.frozen.size).toBe(0);
});

test('a volume that is not mounted has not to be frozen, unless it is staged meanwhile; a raw block device cannot be', async () => {
  const none = await harness({ kind: 'none' });
  const { reconcile, freezes } = await none.plugin();
  none.ask(none.asked('f1', 'Freezing'));
  await reconcile();
  expect(none.stored()?.status?.frozen?.state).toBe('NotMounted');
  await freezes.end('v1', 'NodeStageVolume was called', signal);
  none.ask(none.asked('f1', 'Thawing'));
  await reconcile();
  expect(none.stored()?.status?.frozen).toMatchObject({ state: 'Thawed', throughout: false });

  const block = await harness({ kind: 'block' });
  block.ask(block.asked('f1', 'Freezing'));
  await (await block.plugin()).reconcile();
  expect(block.stored()?.status?.frozen).toMatchObject({ state: 'Unsupported', message: expect.stringMatching('raw block device') });
});

test('only the agent of the storage node of the volume can ask, and not while a call of the kubelet is under way', async () => {
  const it = await harness();
  const { reconcile } = await it.plugin();
  it.ask(it.asked('f1', 'Freezing'), { nodeName: 'other' });
  await reconcile();
  expect(it.stored()?.status?.frozen).toMatchObject({ state: 'Failed', message: expect.stringMatching('is not on node other') });
  it.ask(it.asked('f2', 'Freezing'), { nodeName: 'storage', volumeUID: 'uid-2' });
  await reconcile();
  expect(it.stored()?.status?.frozen).toMatchObject({ id: 'f2', state: 'Failed', message: expect.stringMatching('created again') });
  await it.node.deps.jobs.run('v1', 'NodeUnpublishVolume', async () => {
    it.ask(it.asked('f3', 'Freezing'), { nodeName: 'storage', volumeUID: 'uid-1' });
    await reconcile();
  });
  expect(it.stored()?.status?.frozen).toMatchObject({
    id: 'f3',
    state: 'Failed',
    message: expect.stringMatching('NodeUnpublishVolume is still'),
  });
  expect(it.kernel.frozen.size).toBe(0);
});
