import { FakeBackend } from '../testing/fake-backend.ts';
import type { Measurement } from './backend.ts';
import { findMeasured } from './find-measured.ts';

const { signal } = new AbortController();

test('a volume that is there counts, also where the pool is full; where it is not ready, nobody says that there is none', async () => {
  const backend = new FakeBackend();
  const made = await backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 });
  expect(await findMeasured(backend, 'u-1', signal)).toStrictEqual(made);
  expect(await findMeasured(backend, 'u-2', signal)).toBeUndefined();
  const full = { measure: async (): Promise<Measurement> => ({ ...(await backend.measure()), ready: false, message: 'it is full' }) };
  expect(await findMeasured(full, 'u-1', signal)).toStrictEqual(made);
  await expect(findMeasured(full, 'u-2', signal)).rejects.toMatchObject({ reason: 'PoolNotReady', message: 'it is full' });
});
