import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { BackendError } from '../backends/backend.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { runController } from '../testing/run-controller.ts';
import { harness, MAC, UID } from '../testing/volume-harness.ts';
import { waitUntil } from '../testing/wait-until.ts';

function removals({ calls }: FakeBackend): number {
  return calls.filter((call) => call === 'remove').length;
}

function exported(volume: unknown) {
  return (volume as AoEVolume | undefined)?.status?.conditions?.find(({ type }) => type === 'Exported');
}

test('volumes that are removed from a pool that hangs do not keep others of the node from being attached', async () => {
  const AT_ONCE = 16;
  const it = await harness();
  const volumes = it.make();
  await it.reconcile(volumes);
  const hung = new FakeBackend();
  const pool = Promise.withResolvers<void>();
  hung.removing = pool.promise;
  it.backends.set('hung', hung);
  it.kube.put({ kind: 'AoEPool', metadata: { name: 'hung' }, spec: { backend: 'lvm' } } as never);
  const names = Array.from({ length: AT_ONCE }, (_, index) => `gone-${index}`);
  for (const name of names) {
    await hung.create({ uid: `uid-${name}`, name, bytes: 1 << 20 });
    const metadata = { name, uid: `uid-${name}`, finalizers: [VOLUME_FINALIZER], deletionTimestamp: '2026-01-01T00:00:00Z' };
    const spec = { ...it.volume().spec, pool: 'hung', address: { shelf: 9, slot: 9 } };
    it.kube.put({ kind: 'AoEVolume', metadata, spec, status: { capacity: '1Mi' } } as never);
  }
  const controller = runController(volumes, { concurrency: AT_ONCE, release: pool.resolve });
  volumes.subscribe((event) => event.type === 'data' && controller.enqueue(event.volume));
  for (const name of names) controller.enqueue(name);
  await waitUntil(() => removals(hung) === AT_ONCE);
  it.spec({ initiators: { nodes: ['worker'] } });
  controller.enqueue('v1');
  await waitUntil(() => it.target.volumes.get(UID)?.volume.macs.includes(MAC.worker) === true);
  // Asked again, none is removed a second time, and none is gone for the API.
  for (const name of names) controller.enqueue(name);
  await waitUntil(() => names.every((name) => exported(it.kube.volume(name))?.reason === 'Removing'));
  expect([removals(hung), hung.volumes.size]).toStrictEqual([AT_ONCE, AT_ONCE]);
  pool.resolve();
  await waitUntil(() => names.every((name) => it.kube.volume(name) === undefined));
  expect([removals(hung), hung.volumes.size]).toStrictEqual([AT_ONCE, 0]);
});

describe('a removal that takes long', () => {
  /** Volume v1 is being removed, and no reconcile waits for that any more. */
  async function slow() {
    const it = await harness();
    const volumes = it.make();
    await it.reconcile(volumes);
    const pool = Promise.withResolvers<void>();
    it.backend.removing = pool.promise;
    it.remove();
    expect(await it.reconcile(volumes)).toBeUndefined();
    return { ...it, volumes, pool };
  }

  it('is reported as such, is not begun a second time, and ends with the finalizer', async () => {
    const it = await slow();
    expect(await it.reconcile(it.volumes)).toBeUndefined();
    expect(it.condition('Exported')).toMatchObject({ status: 'False', reason: 'Removing', message: 'the volume is being deleted' });
    expect(it.condition('Provisioned')).toMatchObject({ status: 'True', reason: 'Provisioned' });
    expect(it.volume().metadata.finalizers).toStrictEqual([VOLUME_FINALIZER]);
    expect(it.world.dataSettled).toStrictEqual([]);
    it.pool.resolve();
    await it.volumes.idle();
    expect([it.world.dataSettled, it.volume().metadata.finalizers]).toStrictEqual([['v1'], [VOLUME_FINALIZER]]);
    expect(await it.reconcile(it.volumes)).toBeUndefined();
    expect([it.kube.volume(), removals(it.backend)]).toStrictEqual([undefined, 1]);
  });

  it('and fails says why, as any other, and is tried again', async () => {
    const it = await slow();
    it.pool.reject(new BackendError('BackendFailed', 'lvremove failed'));
    await it.volumes.idle();
    it.backend.removing = undefined;
    expect(await it.reconcile(it.volumes)).toStrictEqual({ requeueAfterMs: 5000 });
    expect(it.condition('Provisioned')).toMatchObject({ reason: 'RemovalFailed', message: 'deletion waits: lvremove failed' });
    const again = Promise.withResolvers<void>();
    it.backend.removing = again.promise;
    for (const _ of [1, 2]) await it.reconcile(it.volumes);
    expect(it.condition('Provisioned')?.reason, 'until that is known').toBe('RemovalFailed');
    again.resolve();
    await it.volumes.idle();
    await it.reconcile(it.volumes);
    expect([it.kube.volume(), removals(it.backend)]).toStrictEqual([undefined, 2]);
  });

  it('and ends while the target is away, or once a PersistentVolume names the volume, is over all the same', async () => {
    const it = await slow();
    it.target.stop();
    await it.connected(false);
    it.kube.put({ kind: 'PersistentVolume', metadata: { name: 'v1' }, spec: { csi: { driver: 'aoe.dev', volumeHandle: 'v1' } } } as never);
    it.pool.resolve();
    await it.volumes.idle();
    await it.reconcile(it.volumes);
    expect([it.kube.volume(), removals(it.backend)]).toStrictEqual([undefined, 1]);
  });

  it('is finished by the next agent, also when its data is gone already', async () => {
    for (const isGone of [false, true]) {
      const it = await slow();
      if (isGone) it.backend.volumes.clear();
      it.backend.removing = undefined;
      await it.reconcile(it.make());
      expect([it.kube.volume(), it.backend.volumes.size]).toStrictEqual([undefined, 0]);
      it.pool.resolve();
    }
  });

  it('is not that of another volume of its name', async () => {
    const it = await slow();
    const [old] = it.backend.volumes.values();
    // Somebody has removed the finalizer by hand.
    it.kube.remove({ kind: 'AoEVolume' }, 'v1');
    it.kube.put({ kind: 'AoEVolume', metadata: { name: 'v1', uid: 'another', finalizers: [VOLUME_FINALIZER] }, spec: {} } as never);
    it.spec({});
    await it.reconcile(it.volumes);
    expect(it.condition('Provisioned')?.reason).toBe('OrphanOfSameName');
    expect(it.backend.volumes.get(UID)).toBe(old);
    it.pool.resolve();
    await it.volumes.idle();
    await it.reconcile(it.volumes);
    expect([...it.backend.volumes.keys()]).toStrictEqual(['another']);
    expect(it.condition('Exported')?.status).toBe('True');
  });

  it('says nothing for a moment, as mostly it ends soon', async () => {
    const it = await harness();
    const volumes = it.make(undefined, { statusDelayMs: 60_000 });
    await it.reconcile(volumes);
    const pool = Promise.withResolvers<void>();
    it.backend.removing = pool.promise;
    it.remove();
    await it.reconcile(volumes);
    const { requeueAfterMs = 0 } = (await it.reconcile(volumes)) ?? {};
    expect(requeueAfterMs).toBeGreaterThan(50_000);
    expect(it.condition('Exported')?.reason).toBe('Exported');
    pool.resolve();
    await volumes.idle();
    await it.reconcile(volumes);
    expect(it.kube.volume()).toBeUndefined();
  });
});
