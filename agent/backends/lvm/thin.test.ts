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
  const { ready, message } = await backend.measure(signal);
  expect(ready).toBe(false);
  expect(message ?? '').toMatch(/96\.10% full.*lvextend/);
  await expect(createEmpty(backend, request, signal)).rejects.toMatchObject({ reason: 'PoolFull', message: /96\.10% full.*lvextend/ });
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
