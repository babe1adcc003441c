import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { aoe, Code, csi, type Handlers, RpcClient, RpcError, RpcServer } from './mod.ts';

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

  before(async () => {
    writeFileSync(socket, 'left by a crash');
    server = new RpcServer({ socket, log });
    server.add(v1.Identity, v1, handlers);
    await server.start();
    identity = new RpcClient(v1.Identity, v1, socket);
  });
  after(async () => {
    identity.close();
    await server.stop();
    rmSync(directory, { recursive: true });
  });

  it('answers, although a stale file stood where the socket goes', async () => {
    const info = await identity.call('getPluginInfo', {});
    assert.equal(info.name, 'test');
  });

  it('carries an error with its code and message', async () => {
    await assert.rejects(identity.call('getPluginCapabilities', {}), { code: Code.FAILED_PRECONDITION, message: 'not yet' });
  });

  it('ends a call at its limit and tells the handler', async () => {
    await assert.rejects(identity.call('probe', {}, { timeoutMs: 50 }), { code: Code.DEADLINE_EXCEEDED });
    assert.ok((await aborted.promise) instanceof Error);
  });

  it('fails at once when nobody serves the socket', async () => {
    const nobody = new RpcClient(v1.Identity, v1, join(directory, 'nobody.sock'));
    await assert.rejects(nobody.call('getPluginInfo', {}), { code: Code.UNAVAILABLE });
    nobody.close();
  });

  it('streams, and stops when the signal is aborted', async () => {
    const streaming = new RpcServer({ socket: join(directory, 'stream.sock'), log });
    const refuse = () => Promise.reject(new RpcError(Code.UNIMPLEMENTED, 'not in this test'));
    streaming.add(target.Target, target, {
      getInfo: refuse,
      setInterfaces: refuse,
      export: refuse,
      unexport: refuse,
      setAccess: refuse,
      replaceConfigString: refuse,
      async *watch(_request, { signal }) {
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
    assert.deepEqual(seen, ['removed', 'synced']);
    client.close();
    await streaming.stop();
  });
});
