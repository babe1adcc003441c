import type { AoEVolume } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { BackendError } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import { harness, UID } from '../testing/volume-harness.ts';

test('a config string that another program set is respected, and blocks the deletion', async () => {
  const it = await harness();
  await it.reconcile();
  it.target.setConfigString(UID, 'net.corvus.apple \u0001');
  await it.tick();
  await it.reconcile();
  expect(it.volume().status?.holder).toStrictEqual({ name: '"net.corvus.apple \\x01"', raw: 'net.corvus.apple \\x01' });
  it.remove();
  await it.reconcile();
  expect(it.condition('Exported')?.message ?? '').toMatch(/deletion waits: its config string was set by other software/);
  expect(it.backend.volumes.size).toBe(1);
});

test('a deleted volume goes from the segment, then from the pool, then from the API', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  await it.reconcile();
  expect(it.target.volumes.size).toBe(0);
  expect(it.backend.volumes.size).toBe(0);
  expect(it.kube.volume()).toBeUndefined();
});

test('a volume is removed only when the copier no longer writes to it: a disk that hangs is waited for, and named', async () => {
  const it = await harness();
  it.copier.disks.set(`/dev/fake/${UID}`, [0, 0]);
  it.spec({ source: { snapshot: 's' } });
  const taken = { nodeName: 'other', pool: 'thin', capacity: '10Mi', createdAt: 'x', copyAddress: { shelf: 9, slot: 1 } };
  it.kube.put({ kind: 'AoESnapshot', metadata: { name: 's', uid: 's-uid' }, spec: { volumeName: 'x' }, status: taken } as never);
  await it.reconcile();
  const [id = ''] = it.copier.jobs.keys();
  it.copier.hanging.add(id);
  it.remove();
  await it.reconcile();
  const message = `deletion waits: the copier waits: job ${id} does not end: the destination hangs`;
  expect(it.condition('Provisioned')).toMatchObject({ reason: 'RemovalFailed', message });
  expect(it.backend.volumes.size).toBe(1);
  it.copier.hanging.clear();
  await it.reconcile();
  expect([it.kube.volume(), it.backend.volumes.size, it.copier.jobs.size]).toStrictEqual([undefined, 0, 0]);
});

test('a deleted volume in use stays, and says who uses it', async () => {
  const it = await harness();
  it.spec({ initiators: { nodes: ['worker'] } });
  await it.reconcile();
  it.lock('worker');
  it.remove();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(1);
  expect(it.condition('Exported')?.message ?? '').toMatch(/deletion waits: attached to worker/);
  it.spec({ initiators: {} });
  await it.reconcile();
  expect(it.kube.volume()).toBeUndefined();
  expect(it.backend.volumes.size).toBe(0);
});

test('a deleted volume with policy Retain keeps its data', async () => {
  const it = await harness();
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile();
  it.remove();
  await it.reconcile();
  expect([...it.backend.retained]).toStrictEqual([UID]);
  expect(it.kube.volume()).toBeUndefined();
});

test('data that a move has copied here is retained without the mark of half a copy, so that it can be adopted', async () => {
  const it = await harness();
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile();
  it.spec({ moves: 1, move: { id: '0123abcd', stage: 'Switched', nodeName: 'old', pool: 'p' } });
  const backing = it.backend.volumes.get(UID);
  if (backing) it.backend.volumes.set(UID, { ...backing, copy: '0123abcd/0' });
  it.remove();
  await it.reconcile();
  expect(it.backend.calls.slice(-3)).toStrictEqual(['noteMoves 1', 'finishCopy', 'retain']);
  expect(it.kube.volume()).toBeUndefined();
});

test('the mark of half a copy is taken off before data is retained, also when the disk does not answer for a while', async () => {
  const it = await harness();
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile();
  const { status } = it.volume();
  it.spec({ moves: 1, move: { id: '0123abcd', stage: 'Switched', nodeName: 'old', pool: 'p' } });
  it.kube.put({ ...it.volume(), status: { ...status, capacity: undefined } } as never);
  it.remove();
  it.target.stop();
  await it.connected(false);
  it.target.volumes.clear();
  it.target.start();
  await it.connected(true);
  const backing = it.backend.volumes.get(UID);
  if (backing) it.backend.volumes.set(UID, { ...backing, copy: '0123abcd/0' });
  it.backend.calls.length = 0;
  it.backend.unmeasured = 'it does not answer';
  await it.reconcile();
  expect([it.kube.volume() === undefined, it.backend.calls]).toStrictEqual([false, []]);
  it.backend.unmeasured = undefined;
  await it.reconcile();
  expect([it.kube.volume(), it.backend.calls]).toStrictEqual([undefined, ['noteMoves 1', 'finishCopy', 'retain']]);
});

test('a tail that an earlier version has exported is data when the volume is retained, by the status, or by its target', async () => {
  const [EXPORTED, TAIL] = [10 << 20, 4 << 20];
  for (const [capacity, served, isExposed] of [
    ['14Mi', EXPORTED, true],
    ['10Mi', EXPORTED + TAIL, true],
    ['10Mi', EXPORTED, false],
    // More than there ever was: the data became smaller.
    ['20Mi', EXPORTED, false],
  ] as const) {
    for (const failing of ['nothing', 'the backend', 'the disk', 'the target'] as const) {
      const it = await harness();
      it.spec({ deletionPolicy: 'Retain' });
      await it.reconcile();
      const backing = it.backend.volumes.get(UID);
      if (backing) it.backend.volumes.set(UID, { ...backing, bytes: EXPORTED, tail: TAIL });
      const state = it.target.volumes.get(UID);
      if (state) it.target.volumes.set(UID, { ...state, bytes: served });
      it.kube.put({ ...it.volume(), status: { ...it.volume().status, capacity } } as never);
      // The target tells its state again.
      it.target.stop();
      await it.connected(false);
      it.target.start();
      await it.connected(true);
      it.remove();
      it.backend.calls.length = 0;
      if (failing === 'the backend') it.backend.failure = new BackendError('BackendFailed', 'not now');
      if (failing === 'the disk') it.backend.unmeasured = 'it does not answer';
      if (failing === 'the target') it.target.failing.set('unexport', new TargetError('unavailable', 'gone'));
      await it.reconcile();
      expect(it.kube.volume() === undefined, failing).toBe(failing === 'nothing');
      it.backend.failure = undefined;
      it.backend.unmeasured = undefined;
      if (failing !== 'nothing') await it.reconcile();
      expect(it.kube.volume()).toBeUndefined();
      expect(new Set(it.backend.calls)).toStrictEqual(new Set(isExposed ? ['exportTail', 'retain'] : ['retain']));
    }
  }
});

test('an adopted volume is given back unless its policy is Delete, and one that was never adopted is never removed', async () => {
  for (const [deletionPolicy, adopts, wanted] of [
    [undefined, true, 'retain'],
    ['Retain', true, 'retain'],
    ['Delete', true, 'remove'],
    ['Delete', false, 'retain'],
  ] as const) {
    const it = await harness();
    it.spec({ adopt: 'old', deletionPolicy });
    if (adopts) it.backend.adoptable.set('old', 10 << 20);
    await it.reconcile();
    expect(it.condition('Provisioned')?.reason).toBe(adopts ? 'Provisioned' : 'NothingToAdopt');
    it.remove();
    await it.reconcile();
    expect(it.backend.calls.at(-1)).toBe(wanted);
    expect(it.kube.volume()).toBeUndefined();
  }
});

test('a deletion follows the policy that the API server has, not an old view of it', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  const old = structuredClone(it.volume());
  it.spec({ deletionPolicy: 'Retain' });
  await it.reconcile(it.make({ get: () => old, list: () => [old] }));
  expect([...it.backend.retained]).toStrictEqual([UID]);
});

test('a deletion waits for the target, whatever the lock was', async () => {
  const it = await harness();
  await it.reconcile();
  it.target.stop();
  await it.connected(false);
  it.remove();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(1);
  expect(it.condition('Exported')?.reason).toBe('TargetUnavailable');
});

test('a deleted volume that was never made does not wait for a pool that is missing; one that was made does', async () => {
  const missing = new BackendError('PoolMissing', 'no such group');
  const never = await harness();
  never.backend.failure = missing;
  await never.reconcile();
  never.remove();
  await never.reconcile();
  expect(never.kube.volume()).toBeUndefined();
  const made = await harness();
  await made.reconcile();
  made.backend.failure = missing;
  made.remove();
  expect(await made.reconcile()).toStrictEqual({ requeueAfterMs: 5000 });
  expect(made.condition('Provisioned')?.message ?? '').toMatch(/deletion waits: no such group/);
});

test('a failure of unexport is tried again until it works', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  it.target.failing.set('unexport', new TargetError('unavailable', 'gone'));
  await it.reconcile();
  await it.reconcile();
  expect(it.kube.volume()).toBeUndefined();
});

test('a volume that others write to meanwhile is removed once, and only the write of the finalizer is repeated', async () => {
  const it = await harness();
  await it.reconcile();
  it.remove();
  const conflict = new KubeError(409, 'Conflict', 'the object has been modified');
  for (let writes = 0; writes < 3; writes++) it.kube.failNext('patch', conflict);
  await it.reconcile();
  expect(it.kube.volume()).toBeUndefined();
  expect(it.backend.calls.filter((call) => call === 'remove')).toHaveLength(1);
});

test('a volume is not removed a second time while the watch still shows it; another one of its name is made', async () => {
  const it = await harness();
  const late = it.kube.lateStore<AoEVolume>('AoEVolume');
  late.catchUp();
  const volumes = it.make(late);
  await it.reconcile(volumes);
  it.remove();
  late.catchUp();
  await it.reconcile(volumes);
  expect(it.kube.volume()).toBeUndefined();
  await it.reconcile(volumes);
  expect(it.backend.calls).toStrictEqual(['create', 'remove']);
  it.kube.put({ kind: 'AoEVolume', metadata: { name: 'v1', uid: 'another', finalizers: ['aoe.dev/backing-volume'] }, spec: {} } as never);
  it.spec({});
  late.catchUp();
  await it.reconcile(volumes);
  expect(it.backend.calls).toStrictEqual(['create', 'remove', 'create']);
});

const persistentVolume = (name: string, csi: object = { driver: 'aoe.dev', volumeHandle: 'v1' }) =>
  ({ kind: 'PersistentVolume', metadata: { name }, spec: { csi } }) as never;

describe('the data of a deleted volume that a PersistentVolume names', () => {
  for (const name of ['v1', 'by-hand']) {
    it(`stays, and so does the export: PersistentVolume ${name}`, async () => {
      const it = await harness();
      await it.reconcile();
      it.kube.put(persistentVolume(name));
      it.remove();
      expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
      expect(it.backend.volumes.size).toBe(1);
      expect(it.target.volumes.size).toBe(1);
      expect(it.condition('Exported')).toMatchObject({
        status: 'True',
        reason: 'NamedByPersistentVolume',
        message: `deletion waits: PersistentVolume ${name} names the volume, so its data is kept; to remove it, delete the PersistentVolume, or run: kubectl annotate --overwrite aoev v1 aoe.dev/delete-data=${UID}`,
      });
    });
  }

  it('is removed when the PersistentVolume is gone', async () => {
    const it = await harness();
    await it.reconcile();
    it.kube.put(persistentVolume('v1'));
    it.remove();
    await it.reconcile();
    it.kube.remove({ kind: 'PersistentVolume' }, 'v1');
    await it.reconcile();
    expect([it.kube.volume(), it.backend.volumes.size]).toStrictEqual([undefined, 0]);
  });

  it('is removed when the annotation has the UID of the AoEVolume, and not with another value', async () => {
    const it = await harness();
    await it.reconcile();
    it.kube.put(persistentVolume('v1'));
    it.remove();
    for (const value of ['', 'v1', 'another-uid']) {
      it.annotate({ 'aoe.dev/delete-data': value });
      await it.reconcile();
      expect(it.backend.volumes.size).toBe(1);
    }
    it.annotate({ 'aoe.dev/delete-data': UID });
    await it.reconcile();
    expect([it.kube.volume(), it.backend.volumes.size]).toStrictEqual([undefined, 0]);
  });

  it('stays while PersistentVolumes cannot be read', async () => {
    const it = await harness();
    await it.reconcile();
    it.remove();
    it.kube.failNext('list', new KubeError(403, 'Forbidden', 'persistentvolumes is forbidden'));
    expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 5_000 });
    expect(it.backend.volumes.size).toBe(1);
    expect(it.condition('Exported')?.reason).toBe('PersistentVolumesUnknown');
    expect(it.condition('Exported')?.message).toMatch(/^deletion waits: .*persistentvolumes is forbidden/);
    await it.reconcile();
    expect(it.backend.volumes.size).toBe(0);
  });

  it('is not of this volume when the PersistentVolume is of another driver, or names another volume', async () => {
    const it = await harness();
    await it.reconcile();
    it.kube.put(persistentVolume('v1', { driver: 'example.com', volumeHandle: 'v1' }));
    it.kube.put(persistentVolume('pv', { driver: 'aoe.dev', volumeHandle: 'v10' }));
    it.kube.put({ kind: 'PersistentVolume', metadata: { name: 'nfs' }, spec: {} } as never);
    it.remove();
    await it.reconcile();
    expect(it.kube.volume()).toBeUndefined();
  });

  it('is retained with policy Retain, without a wait', async () => {
    const it = await harness();
    it.spec({ deletionPolicy: 'Retain' });
    await it.reconcile();
    it.kube.put(persistentVolume('v1'));
    it.remove();
    await it.reconcile();
    expect([...it.backend.retained]).toStrictEqual([UID]);
    expect(it.kube.volume()).toBeUndefined();
  });
});
