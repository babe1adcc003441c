import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { BackendError, type Instant } from '../backends/backend.ts';
import { FakeBackend } from '../testing/fake-backend.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { harness, UID } from '../testing/volume-harness.ts';
import { ensureData } from './data.ts';

test('lost data is never made again', async () => {
  const it = await harness();
  await it.reconcile();
  it.backend.volumes.clear();
  await it.reconcile();
  await it.reconcile();
  expect(it.backend.volumes.size).toBe(0);
  expect(it.condition('Provisioned')?.reason).toBe('BackingLost');
  expect(it.volume().status?.capacity).toBe('10Mi');
  expect(it.kube.events.map(({ reason }) => reason)).toStrictEqual(['BackingLost']);
});

test('a pool in trouble is reported with its reason', async () => {
  const it = await harness();
  it.backend.failure = new BackendError('PoolFull', 'no room');
  await it.reconcile();
  expect(it.condition('Provisioned')?.reason).toBe('PoolFull');
  expect(it.condition('Exported')?.reason).toBe('NotProvisioned');
  it.backend.failure = undefined;
  await it.reconcile();
  expect(it.condition('Exported')?.status).toBe('True');
});

const { signal } = new AbortController();
const MiB = 1 << 20;

/** A volume that asks for 20 MiB; `reported` is the size in its status. */
function wanting20(reported?: string): AoEVolume {
  const status = reported === undefined ? undefined : { capacity: reported };
  return { metadata: { name: 'v1', uid: 'u-1' }, spec: { pool: 'fast', capacity: '20Mi' }, status } as never;
}

/** A backend that holds the data of the volume, in this size. */
function holding(bytes: number): FakeBackend {
  const backend = new FakeBackend();
  backend.volumes.set('u-1', { uid: 'u-1', name: 'fake/u-1', bytes });
  return backend;
}

test('data that was made before is looked for, and never made', async () => {
  const backend = new FakeBackend();
  expect(await ensureData(wanting20('20Mi'), backend, 'open', signal)).toStrictEqual({ kind: 'lost', path: '/dev/fake/u-1' });
  expect(backend.calls).toStrictEqual(['open']);
});

test('new data is made and wiped, and how far it was wiped is part of the result', async () => {
  const backend = new FakeBackend();
  backend.unwiped = true;
  const made = await ensureData(wanting20(), backend, 'create', signal);
  expect(made).toStrictEqual({ kind: 'available', path: '/dev/fake/u-1', name: 'fake/u-1', bytes: 20 * MiB, made: true });
  expect(backend.calls).toStrictEqual(['create', 'wipe']);
  backend.volumes.set('u-1', { uid: 'u-1', name: 'fake/u-1', bytes: 20 * MiB, cleanness: 'ends' });
  expect(await ensureData(wanting20('20Mi'), backend, 'open', signal)).toMatchObject({ made: false, cleanness: 'ends' });
});

test('what the backend refuses is a result, and any other error is thrown', async () => {
  expect(await ensureData(wanting20(), undefined, 'create', signal)).toStrictEqual({ kind: 'no-pool' });
  const backend = new FakeBackend();
  backend.failure = new BackendError('PoolFull', 'no room');
  expect(await ensureData(wanting20(), backend, 'create', signal)).toStrictEqual({ kind: 'failed', error: backend.failure });
  backend.failure = new Error('a bug');
  await expect(ensureData(wanting20(), backend, 'create', signal)).rejects.toThrow('a bug');
});

test('data that became smaller than it was is not available', async () => {
  const shrunk = await ensureData(wanting20('10Mi'), holding(9 * MiB), 'open', signal);
  expect(shrunk).toStrictEqual({ kind: 'shrunk', name: 'fake/u-1', bytes: 9 * MiB, expected: 10 * MiB });
});

describe('adoption', () => {
  const adopting = (reported?: string): AoEVolume => {
    const volume = wanting20(reported);
    return { ...volume, spec: { ...volume.spec, adopt: 'old' } };
  };
  const ownerOf = async () => undefined;

  it('takes what the spec names, also beside data of an earlier AoEVolume of this name, and makes and wipes nothing', async () => {
    const backend = new FakeBackend();
    backend.volumes.set('u-0', { uid: 'u-0', volume: 'v1', name: 'fake/u-0', bytes: 1 });
    backend.adoptable.set('old', 20 * MiB);
    const adopted = { kind: 'available', path: '/dev/fake/u-1', name: 'fake/u-1', bytes: 20 * MiB, adopted: 'fake/old' };
    expect(await ensureData(adopting(), backend, 'create', signal, { ownerOf })).toStrictEqual({ ...adopted, made: true });
    expect(backend.calls).toStrictEqual(['adopt old']);
    expect(await ensureData(adopting('20Mi'), backend, 'open', signal, { ownerOf })).toStrictEqual({ ...adopted, made: false });
  });

  it('is not done a second time: lost data is reported as lost', async () => {
    const backend = new FakeBackend();
    backend.adoptable.set('old', 20 * MiB);
    expect(await ensureData(adopting('20Mi'), backend, 'open', signal, { ownerOf })).toStrictEqual({ kind: 'lost', path: '/dev/fake/u-1' });
    expect(backend.calls).toStrictEqual(['open']);
  });

  it('makes no empty volume when it is refused', async () => {
    const backend = new FakeBackend();
    const refused = await ensureData(adopting(), backend, 'create', signal, { ownerOf });
    expect(refused).toMatchObject({ kind: 'failed', error: { reason: 'NothingToAdopt' } });
    expect(backend.volumes.size).toBe(0);
  });
});

/** The operator has reserved room for all of spec.capacity. */
const reserved = (): AoEVolume => {
  const volume = wanting20('10Mi');
  return { ...volume, status: { ...volume.status, reserved: '20Mi' } };
};

test('a claim that grew keeps its data, at the size that it has, whether the backend cannot grow it or fails to', async () => {
  const backend = holding(10 * MiB);
  const cannot = await ensureData(reserved(), backend, 'open', signal);
  const message = 'pool fast cannot make volumes larger';
  expect(cannot).toMatchObject({ kind: 'available', bytes: 10 * MiB, growthProblem: { reason: 'NotGrown', message } });
  for (const [reason, said] of [
    ['PoolFull', 'NoRoomToGrow'],
    ['BackendFailed', 'NotGrown'],
  ] as const) {
    backend.growth = { grow: () => Promise.reject(new BackendError(reason, 'no luck')) };
    const failed = await ensureData(reserved(), backend, 'open', signal);
    expect(failed).toMatchObject({ bytes: 10 * MiB, growthProblem: { reason: said, message: 'no luck' } });
  }
});

test('a claim that grew gets a larger backing volume where the backend can grow it', async () => {
  const backend = holding(10 * MiB);
  backend.allowGrowth();
  const grown = await ensureData(reserved(), backend, 'open', signal);
  expect(grown).toMatchObject({ kind: 'available', bytes: 20 * MiB });
  expect(grown).not.toHaveProperty('growthProblem');
});

test('data that was made before its claim grew, and was not reported yet, keeps its size, and then grows', async () => {
  for (const unwiped of [false, true]) {
    const backend = holding(10 * MiB);
    if (unwiped) backend.volumes.set('u-1', { uid: 'u-1', name: 'fake/u-1', bytes: 10 * MiB, unwiped });
    const barrier = 'it is exported first';
    const made = await ensureData(wanting20(), backend, 'create', signal, { barrier });
    expect(made).toMatchObject({ kind: 'available', bytes: 10 * MiB });
    backend.allowGrowth();
    const barred = await ensureData(wanting20(), backend, 'create', signal, { barrier });
    expect(barred).toMatchObject({ bytes: 10 * MiB, growthProblem: { reason: 'NotGrown', message: barrier } });
    expect(await ensureData(wanting20(), backend, 'create', signal)).toMatchObject({ kind: 'available', bytes: 20 * MiB });
  }
});

test('data does not grow beyond what the operator has reserved, nor while something is in the way', async () => {
  const backend = holding(10 * MiB);
  backend.allowGrowth();
  const waits = await ensureData(wanting20('10Mi'), backend, 'open', signal);
  expect(waits).toMatchObject({ kind: 'available', bytes: 10 * MiB });
  expect(waits).not.toHaveProperty('growthProblem');
  const barred = await ensureData(reserved(), backend, 'open', signal, { barrier: 'the target is away' });
  expect(barred).toMatchObject({ bytes: 10 * MiB, growthProblem: { reason: 'NotGrown', message: 'the target is away' } });
  expect(backend.calls).not.toContain('grow');
});

test('a claim that grew is still served, at its size, and says so; also by a target that forgot it', async () => {
  const it = await harness();
  await it.reconcile();
  it.spec({ capacity: '20Mi' });
  it.reserve('20Mi');
  await it.reconcile();
  for (const step of ['served', 'forgotten']) {
    if (step === 'forgotten') {
      it.target.stop();
      await it.connected(false);
      it.target.volumes.clear();
      it.target.start();
      await it.connected(true);
      await it.reconcile();
    }
    expect(it.target.volumes.size).toBe(1);
    expect(it.volume().status?.capacity).toBe('10Mi');
    expect([it.condition('Exported')?.status, it.condition('Provisioned')?.status]).toStrictEqual(['True', 'True']);
    expect(it.condition('Provisioned')?.reason).toBe('NotGrown');
    expect(it.condition('Provisioned')?.message).toMatch(/still has 10Mi instead of the 20Mi of spec.capacity: pool default cannot/);
  }
});

test('an AoEVolume that is restored with another UID gets no new data while the old is there, and goes on when that is gone', async () => {
  const it = await harness();
  const old = await it.backend.create({ uid: 'old', name: 'v1', bytes: 10 * MiB });
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 15_000 });
  expect(it.condition('Provisioned')).toMatchObject({ status: 'False', reason: 'OrphanOfSameName' });
  expect(it.condition('Provisioned')?.message).toMatch(/^there is data of an earlier AoEVolume of this name, in fake\/old \(UID old\)/);
  expect(it.condition('Exported')?.reason).toBe('NotProvisioned');
  expect([...it.backend.volumes.values()]).toStrictEqual([old]);
  expect(it.target.volumes.size).toBe(0);
  await it.backend.remove('old');
  await it.reconcile();
  expect(it.condition('Exported')?.status).toBe('True');
});

test('the deletion of an AoEVolume that was refused leaves the old data alone', async () => {
  const it = await harness();
  await it.backend.create({ uid: 'old', name: 'v1', bytes: 10 * MiB });
  await it.reconcile();
  it.remove();
  await it.reconcile();
  expect(it.kube.volume()).toBeUndefined();
  expect([...it.backend.volumes.keys()]).toStrictEqual(['old']);
});

describe('a volume that is made of a snapshot', () => {
  const volume = { ...wanting20(), spec: { ...wanting20().spec, nodeName: 'n', source: { snapshot: 's' } } };
  const ready = {
    metadata: { name: 's', uid: 's-uid' },
    spec: { volumeName: 'x' },
    status: { nodeName: 'n', pool: 'fast', capacity: '10Mi' },
  } as never as AoESnapshot;
  const at: Instant = async (make) => {
    await make();
    return new Date();
  };
  const from = (snapshot: AoESnapshot | undefined) => (name: string) => (name === 's' ? snapshot : undefined);

  it('is not created empty: it waits until the snapshot is there, whole, and fits', async () => {
    const backend = new FakeBackend();
    for (const [snapshot, why] of [
      [undefined, /does not exist/],
      [{ ...ready, metadata: { ...ready.metadata, deletionTimestamp: 'now' } }, /not ready/],
      [{ ...ready, status: { ...ready.status, capacity: undefined } }, /not ready/],
      [{ ...ready, status: { ...ready.status, pool: 'slow' } }, /runs without a copier/],
      [{ ...ready, status: { ...ready.status, nodeName: 'm' } }, /runs without a copier/],
      [{ ...ready, status: { ...ready.status, capacity: '21Mi' } }, /has 21Mi, more than the 20Mi/],
      [ready, /is gone/],
    ] as [AoESnapshot | undefined, RegExp][]) {
      const result = await ensureData(volume, backend, 'create', signal, { snapshot: from(snapshot) });
      expect(result).toMatchObject({ kind: 'no-source', message: expect.stringMatching(why) });
    }
    expect(backend.calls).not.toContain('create');
  });

  it('is copied from a snapshot beside it that shares no blocks, once that is whole itself', async () => {
    const backend = new FakeBackend();
    Object.assign(backend.snapshots, { restore: undefined });
    const copier = new FakeCopier();
    const expose = async () => ({ path: '/dev/fake/snap', bytes: 10 * MiB });
    const copies = { copier, interfaces: () => [], expose, survey: async () => [], bytesPerSecond: 0 };
    const copying = { type: 'Taken', status: 'False', reason: 'Copying', message: '' };
    const taken = (conditions: object[]) =>
      from({ ...ready, status: { ...ready.status, createdAt: 'x', conditions } } as never as AoESnapshot);
    const early = await ensureData(volume, backend, 'create', signal, { snapshot: taken([copying]), copies });
    expect(early).toMatchObject({ kind: 'no-source', message: expect.stringMatching(/still being copied/) });
    const result = await ensureData(volume, backend, 'create', signal, { snapshot: taken([]), copies });
    expect(result).toMatchObject({ kind: 'copying', bytesTotal: 10 * MiB });
    expect([...copier.jobs.values()][0]?.job.source).toStrictEqual({ kind: 'local', path: '/dev/fake/snap' });
  });

  it('gets the data of the snapshot, and is opened without it from then on', async () => {
    const backend = new FakeBackend();
    await backend.snapshots.take({ uid: 's-uid', name: 's', volumeUID: 'x' }, at);
    const made = await ensureData(volume, backend, 'create', signal, { snapshot: from(ready) });
    expect(made).toMatchObject({ kind: 'available', bytes: 20 * MiB, made: true });
    expect(backend.calls).toStrictEqual(['open']);
    backend.snapshots.whole.clear();
    const provisioned = { ...volume, status: { capacity: '20Mi' } };
    expect(await ensureData(provisioned, backend, 'open', signal)).toMatchObject({ kind: 'available', made: false });
  });
});

test('half a copy is never exported, even when the volume was whole once', async () => {
  const backend = new FakeBackend();
  const volume = { ...wanting20(), status: { capacity: '20Mi' } };
  await backend.create({ uid: volume.metadata.uid ?? '', name: 'v1', bytes: 20 * MiB, copy: 's-uid/1' });
  expect(await ensureData(volume, backend, 'open', signal)).toMatchObject({ kind: 'half-copy' });
});

test('a copy is reported while the volume waits for it, and the volume is exported once it is whole', async () => {
  const it = await harness();
  it.copier.read = () => [1, 2];
  it.copier.disks.set(`/dev/fake/${UID}`, [0, 0]);
  it.spec({ source: { snapshot: 's' } });
  const taken = { nodeName: 'other', pool: 'thin', capacity: '10Mi', createdAt: 'x', copyAddress: { shelf: 9, slot: 1 } };
  it.kube.put({ kind: 'AoESnapshot', metadata: { name: 's', uid: 's-uid' }, spec: { volumeName: 'x' }, status: taken } as never);
  expect(await it.reconcile()).toStrictEqual({ requeueAfterMs: 2_000 });
  expect(it.volume().status?.copy).toStrictEqual({ phase: 'Waiting', bytesDone: 0, bytesTotal: 10 * MiB, macs: ['02:00:00:00:00:01'] });
  it.copier.advance();
  await it.reconcile();
  expect(it.condition('Provisioned')).toMatchObject({
    reason: 'Copying',
    message: 'the data is copied from AoESnapshot s in pool thin on node other: 5Mi of 10Mi copied',
  });
  expect([it.target.volumes.size, it.kube.events]).toStrictEqual([0, []]);
  for (let step = 0; step < 3; step++) it.copier.advance();
  await it.reconcile();
  expect([it.volume().status?.copy, it.volume().status?.capacity]).toStrictEqual([undefined, '10Mi']);
  expect([it.target.volumes.size, it.copier.jobs.size]).toStrictEqual([1, 0]);
});

test('a wipe that takes long is reported, is no failure, and the deletion of the volume stops it', async () => {
  const it = await harness();
  const volumes = it.make();
  it.backend.unwiped = true;
  it.backend.wiping = new Promise(() => {});
  expect(await it.reconcile(volumes)).toStrictEqual({ requeueAfterMs: 30_000 });
  expect(it.condition('Provisioned')).toMatchObject({ status: 'False', reason: 'Wiping' });
  expect(it.kube.events).toStrictEqual([]);
  expect(it.target.volumes.size).toBe(0);
  it.remove();
  await it.reconcile(volumes);
  await it.tick();
  expect(it.world.dataSettled).toStrictEqual(['v1']);
  await it.reconcile(volumes);
  expect([it.kube.volume(), it.backend.volumes.size]).toStrictEqual([undefined, 0]);
});

describe('a tail', () => {
  const withTail = (bytes: number): FakeBackend => {
    const backend = holding(bytes);
    backend.volumes.set('u-1', { uid: 'u-1', name: 'fake/u-1', bytes, tail: 4 * MiB });
    return backend;
  };

  it('is behind new data where the target exports the size that it is told', async () => {
    const backend = new FakeBackend();
    expect(await ensureData(wanting20(), backend, 'create', signal, { tail: true })).toMatchObject({ bytes: 20 * MiB, tail: true });
    expect(backend.volumes.get('u-1')?.tail).toBe(4 * MiB);
  });

  it('that was exported by an agent of an earlier version, by the status, or by its target, becomes data', async () => {
    const reported = withTail(20 * MiB);
    expect(await ensureData(wanting20('24Mi'), reported, 'open', signal)).toMatchObject({ kind: 'available', bytes: 24 * MiB });
    expect(reported.calls).toContain('exportTail');
    const served = withTail(20 * MiB);
    const result = await ensureData(wanting20('20Mi'), served, 'open', signal, { served: 24 * MiB });
    expect(result).toMatchObject({ kind: 'available', bytes: 24 * MiB });
  });

  it('does not make up for data that became smaller', async () => {
    for (const bytes of [0, 10 * MiB]) {
      const backend = withTail(bytes);
      expect(await ensureData(wanting20('20Mi'), backend, 'open', signal)).toMatchObject({ kind: 'shrunk', bytes });
      expect(backend.calls).not.toContain('exportTail');
    }
  });
});
