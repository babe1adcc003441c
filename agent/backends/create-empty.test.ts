import { FakeBackend } from '../testing/fake-backend.ts';
import { createEmpty } from './create-empty.ts';

const { signal } = new AbortController();
const request = { uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 };

test('a volume that may hold old data is wiped before it is handed out', async () => {
  const backend = new FakeBackend();
  backend.unwiped = true;
  expect((await createEmpty(backend, request, signal)).unwiped).toBeUndefined();
  expect(backend.calls).toStrictEqual(['create', 'wipe']);
});

test('a volume that begins clean is not wiped', async () => {
  const backend = new FakeBackend();
  await createEmpty(backend, request, signal);
  expect(backend.calls).toStrictEqual(['create']);
});

test('a volume that cannot be wiped is not handed out', async () => {
  const backend = Object.assign(new FakeBackend(), { unwiped: true, wipe: undefined });
  await expect(createEmpty(backend as never, request, signal)).rejects.toThrow(/may hold old data/);
});
