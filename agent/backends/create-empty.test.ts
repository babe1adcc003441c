import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeBackend } from '../testing/fake-backend.ts';
import { createEmpty } from './create-empty.ts';

const { signal } = new AbortController();
const request = { uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 };

test('a volume that may hold old data is wiped before it is handed out', async () => {
  const backend = new FakeBackend();
  backend.unwiped = true;
  assert.equal((await createEmpty(backend, request, signal)).unwiped, undefined);
  assert.deepEqual(backend.calls, ['create', 'wipe']);
});

test('a volume that begins clean is not wiped', async () => {
  const backend = new FakeBackend();
  await createEmpty(backend, request, signal);
  assert.deepEqual(backend.calls, ['create']);
});

test('a volume that cannot be wiped is not handed out', async () => {
  const backend = Object.assign(new FakeBackend(), { unwiped: true, wipe: undefined });
  await assert.rejects(createEmpty(backend as never, request, signal), /may hold old data/);
});
