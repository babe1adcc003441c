import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limitNumbers } from '../../api/limits/limits.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { targetServer } from '../testing/target-server.ts';
import { GrpcTarget } from './grpc.ts';

test('what the target counts comes over the socket as plain numbers, or a TargetError in time', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-target-'));
  const socket = join(directory, 'target.sock');
  const fake = new FakeTarget();
  const api = new GrpcTarget(socket);
  const server = targetServer(fake, socket);
  const { signal } = new AbortController();
  onTestFinished(async () => {
    api.close();
    rmSync(directory, { recursive: true });
  });
  await server.start();
  const volume = { uid: 'u-1', shelf: 1, slot: 2, path: '/x', serial: 'S', readOnly: true, bytes: 512, macs: [], writesNeedLock: false };
  expect((await api.export(volume, signal)).volume, 'a disk').toStrictEqual(volume);
  const snapshot = { ...volume, uid: 'snap-1', slot: 3, forCopies: true } as const;
  expect((await api.export(snapshot, signal)).volume, 'only for copies').toStrictEqual(snapshot);
  const reclaiming = { ...volume, uid: 'u-4', slot: 4, reclaim: true } as const;
  expect((await api.export(reclaiming, signal)).volume, 'giving zeros back').toStrictEqual(reclaiming);
  const requests = {
    read: { errors: 0, bytes: 2 ** 40, seconds: 1.5, latency: [0, 5] },
    flush: { errors: 1, bytes: 0, seconds: 0, latency: [1, 0] },
  };
  fake.stats = {
    latencyBounds: [0.000004],
    volumes: [
      {
        uid: 'u-1',
        initiators: [{ mac: '02:00:00:00:00:09', requests, repeats: 1, dropped: 2, throttled: 1.5 }],
        refused: { masked: 3 },
        reclaimed: 2 ** 41,
      },
    ],
    interfaces: [{ name: 'eth1', received: 1, sent: 2, ringDropped: 3, receiveLost: 4, sendFailed: 5, answersDropped: 6 }],
    refused: { malformed: 9 },
  };
  expect(await api.getStats(signal)).toStrictEqual(fake.stats);
  const limits = { ...limitNumbers({ readIOPS: 10, bytesPerSecond: '7Pi' }), burstSeconds: 3600 };
  expect((await api.export({ ...volume, limits }, signal)).volume, 'with limits').toStrictEqual({ ...volume, limits });

  const hung = Promise.withResolvers<never>();
  fake.getStats = () => hung.promise;
  fake.unexport = () => hung.promise;
  const began = performance.now();
  const change = expect(api.unexport('u-1', signal)).rejects.toMatchObject({ reason: 'waits' });
  await expect(api.getStats(signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'unavailable' });
  await change;
  expect(performance.now() - began, 'a disk that hangs holds its caller only for a moment').toBeLessThan(20_000);
  hung.reject(new Error('too late'));
  await server.stop();
  await expect(api.getStats(signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'unavailable' });
});

test('a change that waits for its disk is told from a target that does not answer', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-target-'));
  const socket = join(directory, 'target.sock');
  const fake = new FakeTarget();
  const api = new GrpcTarget(socket, { changeLimitMs: 200 });
  const server = targetServer(fake, socket);
  const { signal } = new AbortController();
  onTestFinished(async () => {
    api.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });
  await server.start();
  const hung = Promise.withResolvers<never>();
  Object.assign(fake, { export: () => hung.promise, unexport: () => hung.promise, setAccess: () => hung.promise });
  const volume = { uid: 'u-1', shelf: 1, slot: 2, path: '/x', serial: 'S', readOnly: true, bytes: 512, macs: [], writesNeedLock: false };
  const changes = [() => api.export(volume, signal), () => api.unexport('u-1', signal), () => api.setAccess('u-1', volume, signal)];
  for (const change of changes) await expect(change()).rejects.toMatchObject({ name: 'TargetError', reason: 'waits' });
  fake.getInfo = () => hung.promise;
  await expect(api.unexport('u-1', signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'unavailable' });
  hung.reject(new Error('too late'));
});
