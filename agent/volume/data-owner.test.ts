import { harness } from '../testing/volume-harness.ts';

/** A volume that is to adopt what has the mark of the AoEVolume with UID `old`. */
async function adopting() {
  const it = await harness();
  it.spec({ adopt: 'old' });
  it.backend.adoptable.set('old', 10 << 20);
  return it;
}

test('what belongs to another AoEVolume of the cluster is not adopted, on whatever node that is', async () => {
  const it = await adopting();
  it.kube.put({ kind: 'AoEVolume', metadata: { name: 'other', uid: 'old' }, spec: { nodeName: 'elsewhere' } } as never);
  await it.reconcile();
  expect(it.condition('Provisioned')).toMatchObject({ reason: 'AdoptionOfOther', message: 'old belongs to AoEVolume other' });
  expect(it.backend.volumes.size).toBe(0);
});

test('an orphan that the target still serves is adopted once it does not: a host may be writing to it', async () => {
  const it = await adopting();
  const served = {
    uid: 'old',
    shelf: 9,
    slot: 9,
    path: '/dev/old',
    serial: 'S',
    readOnly: false,
    bytes: 1,
    macs: [],
    writesNeedLock: false,
  };
  await it.link.export(served, new AbortController().signal);
  await it.reconcile();
  const message = expect.stringMatching(/still serves the data of AoEVolume old.*within two minutes/);
  expect(it.condition('Provisioned')).toMatchObject({ reason: 'AdoptionInUse', message });
  expect(it.backend.volumes.size).toBe(0);
  await it.link.unexport('old', new AbortController().signal);
  await it.reconcile();
  expect(it.condition('Provisioned')?.reason).toBe('Provisioned');
});

test('an orphan is not adopted while the target does not answer', async () => {
  const it = await adopting();
  it.target.stop();
  await it.connected(false);
  await it.reconcile();
  expect(it.condition('Provisioned')).toMatchObject({ reason: 'AdoptionInUse', message: expect.stringContaining('does not answer') });
});
