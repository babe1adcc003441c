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
  bytes: 20 << 20,
  macs: ['02:00:00:00:00:09'],
  writesNeedLock: true,
};
const nobody = { macs: [], writesNeedLock: false };

test('the connection finds a target over its socket, loses it, and finds it again with all that changed', async () => {
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
    for (let tries = 0; !want() && tries < 3_000; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
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
  expect(link.state('u-1')).toStrictEqual(state);
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

test('a volume that the target does not report after it was away is gone, and nothing is known meanwhile', async () => {
  const fake = new FakeTarget();
  const connection = new TargetConnection(fake, log);
  const stop = new AbortController();
  const changes: string[] = [];
  const connected = Promise.withResolvers<void>();
  connection.subscribe((change) => {
    changes.push(change.type);
    if (change.type === 'connection' && connection.connected) connected.resolve();
  });
  const running = connection.run(stop.signal);
  await connected.promise;
  await connection.export(volume, stop.signal);
  expect(connection.state('u-1')?.volume.path).toBe('/dev/x');
  await connection.unexport('u-1', stop.signal);
  expect(connection.states()).toStrictEqual([]);
  stop.abort();
  await running;
  expect([connection.connected, connection.problem]).toStrictEqual([false, 'the agent is stopping']);
  await expect(connection.unexport('u-1', stop.signal)).rejects.toMatchObject({ reason: 'unavailable' });
});

test('the features of the target are known while it is connected', async () => {
  const fake = new FakeTarget();
  fake.features = ['writes_need_lock', 'unheard-of'];
  const connection = new TargetConnection(fake, log);
  const stop = new AbortController();
  const connected = Promise.withResolvers<void>();
  connection.subscribe(({ type }) => type === 'connection' && connected.resolve());
  const running = connection.run(stop.signal);
  await connected.promise;
  expect([connection.supports('writes_need_lock'), connection.supports('exported_size')]).toStrictEqual([true, false]);
  stop.abort();
  await running;
});

test('a change that waits for a disk says for which, and that it goes on', async () => {
  const { fake, connection, signal } = await connected();
  const waits = new TargetError('waits', 'not done');
  fake.failing.set('export', waits);
  const message = expect.stringMatching(/waits for disk \/dev\/x: the change goes on/);
  await expect(connection.export(volume, signal)).rejects.toMatchObject({ reason: 'waits', message });
  await connection.export(volume, signal);
  for (const call of ['setAccess', 'unexport'] as const) {
    fake.failing.set(call, waits);
    const change = call === 'unexport' ? connection.unexport('u-1', signal) : connection.setAccess('u-1', nobody, signal);
    await expect(change).rejects.toMatchObject({ reason: 'waits', message });
  }
});

test('what an earlier agent has changed, or a disk holds up, is not known to be answered', async () => {
  const earlier = new FakeTarget();
  await earlier.export(volume);
  const { fake, connection, signal } = await connected(earlier);
  expect([connection.state('u-1')?.volume.path, connection.isAnswered('u-1')]).toStrictEqual(['/dev/x', false]);
  await connection.setAccess('u-1', nobody, signal);
  expect(connection.isAnswered('u-1')).toBe(true);
  fake.failing.set('setAccess', new TargetError('waits', 'not done'));
  await expect(connection.setAccess('u-1', nobody, signal)).rejects.toMatchObject({ reason: 'waits' });
  expect(connection.isAnswered('u-1')).toBe(false);
  await connection.export(volume, signal);
  expect(connection.isAnswered('u-1')).toBe(true);
});

/** A fake target, and a connection to it that has just been made. */
async function connected(fake = new FakeTarget()) {
  const connection = new TargetConnection(fake, log);
  const stop = new AbortController();
  const made = Promise.withResolvers<void>();
  connection.subscribe(({ type }) => type === 'connection' && made.resolve());
  const running = connection.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  await made.promise;
  return { fake, connection, signal: stop.signal };
}
