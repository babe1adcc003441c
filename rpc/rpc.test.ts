import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aoe, Code, csi, fromInt64, type Handlers, int64, RpcClient, RpcError, RpcServer } from './mod.ts';

const log = { debug() {}, info() {}, error() {} };
const { v1 } = csi;
const target = aoe.target.v1;

describe('gRPC over a unix socket', () => {
  const directory = mkdtempSync(join(tmpdir(), 'rpc-'));
  const socket = join(directory, 'test.sock');
  let server: RpcServer;
  let identity: RpcClient<csi.v1.Identity>;
  const aborted = Promise.withResolvers<unknown>();
  const handlers: Handlers<csi.v1.Identity> = {
    getPluginInfo: async () => ({ name: 'test', vendorVersion: '1' }),
    getPluginCapabilities: async () => {
      throw new RpcError(Code.FAILED_PRECONDITION, 'not yet');
    },
    probe: (_request, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.resolve(signal.reason);
          reject(new Error('a bug'));
        });
      }),
  };

  beforeAll(async () => {
    writeFileSync(socket, 'left by a crash');
    server = new RpcServer({ socket, log });
    server.add(v1.Identity, v1, handlers);
    await server.start();
    identity = new RpcClient(v1.Identity, v1, socket);
  });
  afterAll(async () => {
    identity.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });

  it('answers, although a stale file stood where the socket goes', async () => {
    const info = await identity.call('getPluginInfo', {});
    expect(info.name).toBe('test');
  });

  it('carries an error with its code and message', async () => {
    await expect(identity.call('getPluginCapabilities', {})).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION, message: 'not yet' });
  });

  it('ends a call at its limit and tells the handler', async () => {
    let isTold = false;
    void aborted.promise.then(() => {
      isTold = true;
    });
    // On a busy machine a call may be over before the server has heard of it.
    while (!isTold) await expect(identity.call('probe', {}, { timeoutMs: 50 })).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(await aborted.promise).toBeInstanceOf(Error);
  });

  it('tells the handler when the caller gives up', async () => {
    const limit = new RpcServer({ socket: join(directory, 'limit.sock'), log });
    const seen: number[] = [];
    limit.add(v1.Identity, v1, {
      ...handlers,
      getPluginInfo: async (_request, { deadline }) => {
        seen.push(deadline - Date.now());
        return {};
      },
    });
    await limit.start();
    const client = new RpcClient(v1.Identity, v1, join(directory, 'limit.sock'));
    await client.call('getPluginInfo', {}, { timeoutMs: 60_000 });
    client.close();
    await limit.stop();
    expect(seen[0] !== undefined && seen[0] > 40_000, String(seen[0])).toBe(true);
    expect(seen[0], String(seen[0])).toBeLessThanOrEqual(60_000);
  });

  it('answers INTERNAL for an error that is not meant for the caller, whatever its code is, and logs it without secrets', async () => {
    const logged: object[] = [];
    const broken = new RpcServer({ socket: join(directory, 'broken.sock'), log: { ...log, error: (keys) => logged.push(keys) } });
    const refuse = () => Promise.reject(new RpcError(Code.UNIMPLEMENTED, 'not in this test'));
    broken.add(v1.Identity, v1, {
      getPluginInfo: () => Promise.reject(Object.assign(new Error('the object was changed'), { code: 409 })),
      getPluginCapabilities: () => {
        throw new TypeError('a bug');
      },
      probe: refuse,
    });
    await broken.start();
    const client = new RpcClient(v1.Identity, v1, join(directory, 'broken.sock'));
    await expect(client.call('getPluginInfo', {})).rejects.toMatchObject({ code: Code.INTERNAL, message: 'the object was changed' });
    await expect(client.call('getPluginCapabilities', {})).rejects.toMatchObject({ code: Code.INTERNAL, message: 'a bug' });
    client.close();
    await broken.stop();
    expect(logged).toHaveLength(2);
    expect(logged.every((keys) => 'stack' in keys && 'path' in keys && !('request' in keys))).toBe(true);
  });

  it('keeps a connection that is idle for a day: the sidecars exit when they lose theirs', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
    try {
      await once(session, 'remoteSettings');
      const ended = once(session, 'close').then(() => 'closed');
      jest.advanceTimersByTime(24 * 3_600_000);
      jest.useRealTimers();
      const stays = new Promise((resolve) => setTimeout(resolve, 100, 'open'));
      expect(await Promise.race([ended, stays])).toBe('open');
    } finally {
      jest.useRealTimers();
      session.destroy();
    }
  });

  it('carries 64-bit numbers exactly', () => {
    const bytes = v1.Volume.encode({ volumeId: 'v', capacityBytes: int64(2 ** 53 - 1) }).finish();
    expect(fromInt64(v1.Volume.decode(bytes).capacityBytes)).toBe(2 ** 53 - 1);
    expect(fromInt64(v1.CapacityRange.decode(v1.CapacityRange.encode({}).finish()).limitBytes)).toBe(0);
    expect(() => int64(2 ** 53)).toThrow(RangeError);
  });

  it('fails at once when nobody serves the socket', async () => {
    const nobody = new RpcClient(v1.Identity, v1, join(directory, 'nobody.sock'));
    await expect(nobody.call('getPluginInfo', {})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    nobody.close();
  });

  it('streams, and stops when the signal is aborted', async () => {
    let watched = 0;
    const streaming = new RpcServer({ socket: join(directory, 'stream.sock'), log });
    const refuse = () => Promise.reject(new RpcError(Code.UNIMPLEMENTED, 'not in this test'));
    streaming.add(target.Target, target, {
      getInfo: refuse,
      setInterfaces: refuse,
      export: refuse,
      unexport: refuse,
      setAccess: refuse,
      replaceConfigString: refuse,
      hold: refuse,
      release: refuse,
      getStats: refuse,
      getHeard: refuse,
      async *trace() {},
      async *watch(_request, { signal }) {
        watched++;
        yield { removed: 'a' };
        yield { synced: true };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
    await streaming.start();
    const client = new RpcClient(target.Target, target, join(directory, 'stream.sock'));
    const stop = new AbortController();
    const seen: unknown[] = [];
    for await (const message of client.stream('watch', {}, { signal: stop.signal })) {
      seen.push(message.event);
      if (message.synced) stop.abort();
    }
    expect(seen).toStrictEqual(['removed', 'synced']);
    // The caller gave up before it began: nobody would end this stream, so it is none.
    for await (const message of client.stream('watch', {}, { signal: stop.signal })) seen.push(message.event);
    expect(seen).toHaveLength(2);
    expect(watched).toBe(1);
    client.close();
    await streaming.stop();
  });
});

describe('csi.proto', () => {
  // CSI 1.13 removed VolumeCondition and reserved its numbers: kubelets up to Kubernetes 1.36 read it, newer ones skip it.
  it('carries VolumeCondition where CSI 1.12 had it, beside the health of CSI 1.13', () => {
    const condition = { abnormal: true, message: 'x' };
    const field2 = Buffer.from([0x12, 5, 0x08, 1, 0x12, 1, 'x'.charCodeAt(0)]);
    for (const type of [v1.NodeGetVolumeStatsResponse, v1.ListVolumesResponse.VolumeStatus, v1.ControllerGetVolumeResponse.VolumeStatus])
      expect(Buffer.from(type.encode({ volumeCondition: condition }).finish())).toStrictEqual(field2);
    expect(v1.ControllerServiceCapability.RPC.Type).toMatchObject({ VOLUME_CONDITION: 11, GET_VOLUME_HEALTH: 16, LIST_VOLUME_HEALTH: 17 });
    expect(v1.NodeServiceCapability.RPC.Type).toMatchObject({ VOLUME_CONDITION: 4, GET_VOLUME_HEALTH: 7, GET_STORAGE_HEALTH: 8 });
  });
});
