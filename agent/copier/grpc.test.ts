import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { aoeCopier, Code, type Handlers, int64, RpcError, RpcServer } from '../../rpc/mod.ts';
import type { CopyJob } from './api.ts';
import { GrpcCopier } from './grpc.ts';

const { v1 } = aoeCopier.copier;
const log = { debug() {}, info() {}, error() {} };
const { signal } = new AbortController();

/** A limit that the fake copier takes long to set. */
const LATE = 13;

const job: CopyJob = {
  id: 'copy-u-1',
  volume: 'v',
  source: { kind: 'aoe', shelf: 7, slot: 3, serial: 'S7', interfaces: ['eth1'] },
  destination: { path: '/dev/vg/aoe-u-1', zeroed: true },
  bytes: 2 ** 40,
  bytesPerSecond: 50_000_000,
};

/** A copier that knows one job, as it was started. */
async function fakeCopier(answer: Partial<aoeCopier.copier.v1.JobState.$Properties>) {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-copier-'));
  const socket = join(directory, 'copier.sock');
  const started: aoeCopier.copier.v1.Job.$Properties[] = [];
  const limits: aoeCopier.copier.v1.SetLimitRequest.$Properties[] = [];
  const state = (id: string | null | undefined) => {
    const found = started.find((each) => each.id === id);
    if (!found) throw new RpcError(Code.NOT_FOUND, `no job ${id}`);
    return { state: new v1.JobState({ job: new v1.Job(found), ...answer }) };
  };
  const handlers: Handlers<aoeCopier.copier.v1.Copier> = {
    getInfo: async () => ({ version: '1', features: [] }),
    start: async (request) => {
      const { job: asked } = request;
      if (!asked?.destination?.path?.startsWith('/')) throw new RpcError(Code.INVALID_ARGUMENT, 'path "x": must be absolute');
      started.push(asked);
      return state(asked.id);
    },
    setLimit: async (request) => {
      if (String(request.bytesPerSecond) === String(LATE)) await delay(1_000);
      limits.push(request);
      return {};
    },
    get: async ({ id }) => state(id),
    list: async () => ({ states: started.map(({ id }) => state(id).state) }),
    stop: async () => {
      throw new RpcError(Code.DEADLINE_EXCEEDED, 'job copy-u-1 does not end: a disk that it uses hangs');
    },
    remove: async () => ({}),
  };
  const server = new RpcServer({ socket, log });
  server.add(v1.Copier, v1, handlers);
  await server.start();
  const api = new GrpcCopier(socket);
  onTestFinished(async () => {
    api.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });
  return { api, started, limits, server, socket };
}

test('a limit of all jobs goes to the copier', async () => {
  const { api, limits } = await fakeCopier({});
  await api.setLimit(2 ** 40, signal);
  expect(limits.map(({ bytesPerSecond }) => String(bytesPerSecond))).toStrictEqual([String(2 ** 40)]);
});

test('a job goes to the copier whole, and its state comes back in plain numbers', async () => {
  const { api, started } = await fakeCopier({
    phase: v1.Phase.PHASE_VERIFYING,
    copied: int64(2 ** 40),
    verified: int64(2 ** 39),
    read: int64(2 ** 41),
    repaired: int64(1),
    problem: 'copy copy-u-1 (volume v): e7.3 does not answer',
    problemSince: int64(1_800_000_000),
  });
  const state = await api.start(job, signal);
  expect(state).toStrictEqual({
    id: 'copy-u-1',
    phase: 'verifying',
    bytes: 2 ** 40,
    zeroed: true,
    copied: 2 ** 40,
    verified: 2 ** 39,
    read: 2 ** 41,
    repaired: 1,
    problem: 'copy copy-u-1 (volume v): e7.3 does not answer',
    problemSince: new Date(1_800_000_000_000),
  });
  expect(started[0]).toMatchObject({
    volume: 'v',
    aoe: { shelf: 7, slot: 3, serial: 'S7', interfaces: ['eth1'] },
    destination: job.destination,
  });
  expect(await api.list(signal)).toStrictEqual([state]);
  expect(await api.get('copy-u-1', signal)).toStrictEqual(state);
});

test('errors say what went wrong, and a job that is not there is no error', async () => {
  const { api, server, socket } = await fakeCopier({ phase: v1.Phase.PHASE_QUEUED });
  expect(await api.get('none', signal)).toBeUndefined();
  const wrong = { ...job, destination: { path: 'x', zeroed: true } };
  await expect(api.start(wrong, signal)).rejects.toMatchObject({
    name: 'CopierError',
    reason: 'invalid',
    message: 'path "x": must be absolute',
  });
  await expect(api.stop('copy-u-1', signal)).rejects.toMatchObject({ reason: 'hangs' });
  await server.stop();
  await expect(api.list(signal)).rejects.toMatchObject({ reason: 'unavailable', message: `no copier answers on ${socket}` });
});

test('a copier that does not answer in time is told from a disk that hangs', async () => {
  const { socket } = await fakeCopier({});
  const late = new GrpcCopier(socket, { callMs: 200 });
  onTestFinished(() => late.close());
  const message = `the copier on ${socket} has not answered within 0.2 s`;
  await expect(late.setLimit(LATE, signal)).rejects.toMatchObject({ reason: 'unavailable', message });
  await expect(late.stop('copy-u-1', signal)).rejects.toMatchObject({ reason: 'hangs', message: expect.stringMatching(/hangs$/) });
});

test('a phase that only later copiers have is an error, and not taken for another one', async () => {
  const { api } = await fakeCopier({ phase: 99 as aoeCopier.copier.v1.Phase });
  await expect(api.start(job, signal)).rejects.toMatchObject({ reason: 'failed' });
});
