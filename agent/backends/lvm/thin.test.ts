import assert from 'node:assert/strict';
import { test } from 'node:test';
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
  assert.deepEqual(fake.calls, ['lvcreate']);
  const { size, free } = await backend.measure(signal);
  assert.deepEqual({ size, free }, { size: 64 * MiB, free: 24 * MiB });
  await assert.rejects(createEmpty(backend, { ...request, uid: 'u-2', bytes: 28 * MiB }, signal), { reason: 'PoolFull' });
});

test('a thin pool that is nearly full takes no new volume and says what to do', async () => {
  const fake = new FakeLvm();
  const backend = thinBackend(fake);
  fake.poolData = '96.10';
  const { ready, message } = await backend.measure(signal);
  assert.equal(ready, false);
  assert.match(message ?? '', /96\.10% full.*lvextend/);
  await assert.rejects(createEmpty(backend, request, signal), { reason: 'PoolNotReady' });
});
