import { FakeLvm } from '../../testing/fake-lvm.ts';
import { thinBackend } from '../../testing/lvm-backends.ts';
import { createEmpty } from '../create-empty.ts';

const MiB = 1 << 20;
const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 10 * MiB };

test('a thin volume takes one command, and is promised in full', async () => {
  const fake = new FakeLvm();
  const backend = thinBackend(fake);
  await backend.measure(signal);
  fake.calls.length = 0;
  await createEmpty(backend, { ...request, bytes: 40 * MiB }, signal);
  expect(fake.calls).toStrictEqual(['lvcreate']);
  const { size, free } = await backend.measure(signal);
  expect({ size, free }).toStrictEqual({ size: 64 * MiB, free: 24 * MiB });
  await expect(createEmpty(backend, { ...request, uid: 'u-2', bytes: 28 * MiB }, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
});

test('a thin pool that is nearly full takes no new volume and says what to do', async () => {
  const fake = new FakeLvm();
  const backend = thinBackend(fake);
  fake.poolData = '96.10';
  const { ready, full, message } = await backend.measure(signal);
  expect([ready, full]).toStrictEqual([false, true]);
  expect(message ?? '').toMatch(/96\.10% full.*lvextend/);
  await expect(createEmpty(backend, request, signal)).rejects.toMatchObject({ reason: 'PoolFull', message: /96\.10% full.*lvextend/ });
});

test('a thin pool that is written full stays ready when no more was promised than it has', async () => {
  const fake = new FakeLvm();
  const backend = thinBackend(fake);
  await createEmpty(backend, { ...request, bytes: 64 * MiB }, signal);
  fake.poolData = '100.00';
  expect(await backend.measure(signal)).toMatchObject({ ready: true, message: undefined, free: 0, canFill: false });
  await expect(createEmpty(backend, { ...request, uid: 'u-2' }, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
  fake.poolMetadata = '91.00';
  expect(await thinBackend(fake).measure(signal), 'its metadata').toMatchObject({ ready: false, full: true });
});

test('a thin pool can fill when more was promised than it has, by whomever, and when more is in use than its volumes explain', async () => {
  const foreign = (bytes: number) => ({ name: 'theirs', bytes, tags: [], active: true, pool: 'tp', layout: 'thin,sparse' });
  const measured = async (bytes: number, poolData: string, chunk = 65_536, volume?: ReturnType<typeof foreign>) => {
    const fake = new FakeLvm();
    const backend = thinBackend(fake);
    await createEmpty(backend, { ...request, bytes }, signal);
    if (volume) fake.volumes.set(volume.name, volume);
    Object.assign(fake, { poolData, chunk });
    const { ready, canFill } = await backend.measure(signal);
    return { ready, canFill };
  };
  expect(await measured(32 * MiB, '50.00')).toStrictEqual({ ready: true, canFill: false });
  expect(await measured(32 * MiB, '96.00', 65_536, foreign(32 * MiB))).toStrictEqual({ ready: true, canFill: false });
  expect(await measured(32 * MiB, '96.00', 65_536, foreign(36 * MiB))).toStrictEqual({ ready: false, canFill: true });
  expect(await measured(32 * MiB, '50.10'), 'blocks of no volume').toStrictEqual({ ready: true, canFill: true });
  expect(await measured(64 * MiB, '50.00', 192 * 1024), 'the last block is larger than what is left').toMatchObject({ canFill: true });
});

test('a thin volume grows by one command, within what is not promised to others', async () => {
  const fake = new FakeLvm();
  const backend = thinBackend(fake);
  await createEmpty(backend, request, signal);
  fake.calls.length = 0;
  expect(await backend.growth.grow('u-1', 40 * MiB, signal)).toMatchObject({ uid: 'u-1', bytes: 40 * MiB });
  expect(fake.calls).toStrictEqual(['vgs', 'lvextend']);
  expect((await backend.measure(signal)).free).toBe(24 * MiB);
  await expect(backend.growth.grow('u-1', 68 * MiB, signal)).rejects.toMatchObject({
    reason: 'PoolFull',
    message: `thin pool vg0/tp has ${24 * MiB} bytes that are not promised to a volume, and ${28 * MiB} are needed`,
  });
  fake.poolData = '96.10';
  await expect(backend.growth.grow('u-1', 44 * MiB, signal)).rejects.toMatchObject({ reason: 'PoolFull' });
  expect((await backend.open('u-1', signal))?.bytes).toBe(40 * MiB);
});

describe('a thin pool of which more is promised than it has', () => {
  it('takes volumes up to that, and growth, and no more', async () => {
    const backend = thinBackend(new FakeLvm(), { overprovision: '250%' });
    await createEmpty(backend, { ...request, bytes: 100 * MiB }, signal);
    await backend.growth.grow('u-1', 120 * MiB, signal);
    const { size, free } = await backend.measure(signal);
    expect({ size, free }).toStrictEqual({ size: 160 * MiB, free: 40 * MiB });
    await expect(createEmpty(backend, { ...request, uid: 'u-2', bytes: 44 * MiB }, signal)).rejects.toMatchObject({
      reason: 'PoolFull',
      message: `thin pool vg0/tp has ${40 * MiB} bytes that are not promised to a volume, and ${44 * MiB} are needed`,
    });
  });

  it('takes no new volume from 80 % on: the existing ones need what is left', async () => {
    const [full, fuller] = [new FakeLvm(), new FakeLvm()];
    full.poolData = fuller.poolData = '80.20';
    await expect(createEmpty(thinBackend(full), request, signal)).resolves.toBeDefined();
    const backend = thinBackend(fuller, { overprovision: '101%' });
    await expect(createEmpty(backend, request, signal)).rejects.toMatchObject({ reason: 'PoolFull', message: /80\.20% full.*lvextend/ });
  });

  it('may have less promised later: what is promised already stays', async () => {
    const fake = new FakeLvm();
    await createEmpty(thinBackend(fake, { overprovision: '300%' }), { ...request, bytes: 152 * MiB }, signal);
    const backend = thinBackend(fake, { overprovision: '100%' });
    expect(await backend.measure(signal)).toMatchObject({ ready: true, size: 64 * MiB, free: 0 });
    expect((await backend.open('u-1', signal))?.bytes).toBe(152 * MiB);
  });
});

test.each([
  ['zero', 'nopassdown', 65_536, true],
  ['zero', 'nopassdown', 16 * MiB, true],
  ['zero', 'nopassdown', 32 * MiB, false],
  ['zero', 'nopassdown', 192 * 1024, false],
  ['zero', 'nopassdown', 2048, false],
  ['zero', 'nopassdown', 0, false],
  ['zero', 'passdown', 65_536, false],
  ['zero', 'ignore', 65_536, false],
  ['zero', '', 65_536, false],
  ['', 'nopassdown', 65_536, false],
])(
  'of a pool with zeroing "%s", discards "%s" and chunks of %s bytes, zeros are given back: %s',
  async (zero, discards, chunk, reclaims) => {
    const fake = new FakeLvm();
    Object.assign(fake, { zero, discards, chunk });
    const backend = thinBackend(fake);
    expect(backend.reclaims, 'not before anything is known').toBe(false);
    await backend.measure(signal);
    expect(backend.reclaims).toBe(reclaims);
  },
);

test('whether zeros are given back stays known while the group is reported again, and after a command that failed', async () => {
  const fake = new FakeLvm();
  fake.discards = 'nopassdown';
  const seen = new Set<boolean>();
  const { run } = fake;
  const note: typeof run = (...args) => {
    seen.add(backend.reclaims);
    return run(...args);
  };
  Object.assign(fake, { run: note });
  const backend = thinBackend(fake);
  await createEmpty(backend, request, signal);
  seen.clear();
  fake.open.add('aoe-u-1');
  await expect(backend.remove('u-1', signal)).rejects.toMatchObject({ reason: 'BackingBusy' });
  expect([...seen, backend.reclaims]).toStrictEqual([true, true]);
  fake.discards = 'passdown';
  fake.open.clear();
  await backend.remove('u-1', signal);
  expect(backend.reclaims, 'a person has changed it').toBe(false);
});
