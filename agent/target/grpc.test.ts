import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { FakeTarget } from '../testing/fake-target.ts';
import { targetServer } from '../testing/target-server.ts';
import { TargetError } from './api.ts';
import { type TargetChange, TargetConnection } from './connection.ts';
import { GrpcTarget } from './grpc.ts';

const log = pino({ level: 'silent' });
const volume = {
  uid: 'u-1',
  shelf: 7,
  slot: 3,
  path: '/dev/x',
  serial: 'ABC',
  readOnly: true,
  macs: ['02:00:00:00:00:09'],
  writesNeedLock: true,
};
const nobody = { macs: [], writesNeedLock: false };

test('the link finds a target over its socket, loses it, and finds it again with all that changed', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-target-'));
  const socket = join(directory, 'target.sock');
  const fake = new FakeTarget();
  const api = new GrpcTarget(socket);
  const link = new TargetConnection(api, log);
  const changes: TargetChange[] = [];
  link.subscribe((change) => changes.push(change));
  const stop = new AbortController();
  const { signal } = stop;
  const running = link.run(signal);
  const until = async (want: () => boolean): Promise<void> => {
    for (let tries = 0; !want() && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(want()).toBe(true);
  };
  onTestFinished(async () => {
    stop.abort();
    await running;
    api.close();
    rmSync(directory, { recursive: true });
  });

  await expect(link.export(volume, signal)).rejects.toMatchObject({ reason: 'unavailable' });
  let server = targetServer(fake, socket);
  await server.start();
  await until(() => link.connected);

  const state = await link.export(volume, signal);
  expect(state.volume).toStrictEqual(volume);
  expect(link.state('u-1')).toStrictEqual({ ...state, bytes: 0 });
  fake.setConfigString('u-1', 'held');
  await until(() => link.state('u-1')?.configString.length === 4);
  fake.failing.set('setAccess', new TargetError('conflict', 'no'));
  await expect(link.setAccess('u-1', nobody, signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'conflict', message: 'no' });
  await expect(link.setAccess('u-2', nobody, signal)).rejects.toMatchObject({ reason: 'not-found' });

  fake.stop();
  await server.stop();
  await until(() => !link.connected);
  expect(link.state('u-1')).toBeUndefined();
  fake.volumes.clear();
  fake.start();
  server = targetServer(fake, socket);
  await server.start();
  onTestFinished(() => server.stop());
  await until(() => link.connected);
  expect(link.states()).toStrictEqual([]);
  expect(changes.filter(({ type }) => type === 'connection')).toHaveLength(3);
  fake.stop();
});

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
  const requests = {
    read: { errors: 0, bytes: 2 ** 40, seconds: 1.5, latency: [0, 5] },
    flush: { errors: 1, bytes: 0, seconds: 0, latency: [1, 0] },
  };
  fake.stats = {
    latencyBounds: [0.000004],
    volumes: [{ uid: 'u-1', initiators: [{ mac: '02:00:00:00:00:09', requests, repeats: 1, dropped: 2 }], refused: { masked: 3 } }],
    interfaces: [{ name: 'eth1', received: 1, sent: 2, ringDropped: 3, receiveLost: 4, sendFailed: 5, answersDropped: 6 }],
    refused: { malformed: 9 },
  };
  expect(await api.getStats(signal)).toStrictEqual(fake.stats);

  const hung = Promise.withResolvers<never>();
  fake.getStats = () => hung.promise;
  await expect(api.getStats(signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'unavailable' });
  hung.reject(new Error('too late'));
  await server.stop();
  await expect(api.getStats(signal)).rejects.toMatchObject({ name: 'TargetError', reason: 'unavailable' });
});
