import assert from 'node:assert/strict';
import { type Call, FakeServer, type Handler, json, refuse } from '../testing/fake-server.ts';
import { WIDGETS } from '../testing/types.ts';
import { KubeError } from './error.ts';
import { Kube } from './kube.ts';
import { LEASES } from './types.ts';

const VOLUMES = '/apis/example.com/v1/widgets';
const object = (name: string, resourceVersion = '1') => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion, managedFields: [{ manager: 'x' }] },
});

async function serve(handler: Handler) {
  const server = await FakeServer.start(handler);
  const kube = Kube.fromUrl(server.url);
  return {
    server,
    kube,
    async [Symbol.asyncDispose]() {
      kube.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test('get gives the object without managedFields, and undefined when there is none', async () => {
  await using world = await serve((call) => (call.path.endsWith('/a') ? json(call, object('a')) : refuse(call, 404, 'NotFound')));
  expect(await world.kube.get(WIDGETS, 'a')).toStrictEqual({ metadata: { name: 'a', uid: 'uid-a', resourceVersion: '1' } });
  expect(await world.kube.get(WIDGETS, 'b')).toBeUndefined();
  expect(world.server.calls[0]?.path).toBe(`${VOLUMES}/a`);
});

test('an error of the API server has its code, its reason and its words', async () => {
  await using world = await serve((call) => refuse(call, 409, 'Conflict'));
  await expect(world.kube.patch(WIDGETS, 'a', {})).rejects.toSatisfy((error) => {
    assert.ok(error instanceof KubeError);
    expect(error.code).toBe(409);
    expect(error.reason).toBe('Conflict');
    expect(error.message).toBe(`PATCH ${VOLUMES}/a: because of Conflict (409 Conflict)`);
    return true;
  });
});

test('an error page that is not of the API server is quoted', async () => {
  await using world = await serve(({ response }) => void response.writeHead(502).end('<h1>Bad gateway</h1>'));
  await expect(world.kube.get(WIDGETS, 'a')).rejects.toThrow(/Bad gateway.*\(502\)/);
});

test('a list is read in pages of 100', async () => {
  await using world = await serve((call) => {
    const token = call.query.get('continue');
    const next = token === null ? 'one' : token === 'one' ? 'two' : undefined;
    json(call, { metadata: { resourceVersion: '9', continue: next }, items: [object(token ?? 'zero')] });
  });
  const { items, resourceVersion } = await world.kube.list(WIDGETS, { fieldSelector: 'spec.nodeName=n1' });
  expect(items.map(({ kind, metadata }) => [kind, metadata.name])).toStrictEqual([
    ['Widget', 'zero'],
    ['Widget', 'one'],
    ['Widget', 'two'],
  ]);
  expect(resourceVersion).toBe('9');
  for (const { query } of world.server.calls) {
    expect(query.get('limit')).toBe('100');
    expect(query.get('fieldSelector')).toBe('spec.nodeName=n1');
  }
});

test('a list that expires between pages is begun again, at last without pages', async () => {
  await using world = await serve((call) => {
    if (call.query.get('continue')) return refuse(call, 410, 'Expired');
    const limit = call.query.get('limit');
    json(call, {
      metadata: { resourceVersion: '9', ...(limit ? { continue: 'more' } : {}) },
      items: [object('a'), ...(limit ? [] : [object('b')])],
    });
  });
  const { items } = await world.kube.list(WIDGETS);
  expect(items.map(({ metadata }) => metadata.name)).toStrictEqual(['a', 'b']);
});

test('apply, patch, create and delete are spelled as the API server expects', async () => {
  await using world = await serve((call) => json(call, object('a')));
  const { kube, server } = world;
  await kube.apply(WIDGETS, { metadata: { name: 'a' }, status: {} }, { fieldManager: 'm', force: true, subresource: 'status' });
  await kube.patch(LEASES, 'l', { spec: {} }, { namespace: 'ns' });
  await kube.create(LEASES, { metadata: { name: 'l', namespace: 'ns' } }, { fieldManager: 'm' });
  await kube.delete(WIDGETS, 'a', { uid: 'u' });
  const [apply, patch, create, remove] = server.calls;
  expect(`${apply?.path}?${apply?.query.toString()}`).toBe(`${VOLUMES}/a/status?fieldManager=m&force=true`);
  expect(apply?.headers['content-type']).toBe('application/apply-patch+yaml');
  expect(apply?.body).toStrictEqual({ apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'a' }, status: {} });
  expect(patch?.path).toBe('/apis/coordination.k8s.io/v1/namespaces/ns/leases/l');
  expect(patch?.headers['content-type']).toBe('application/merge-patch+json');
  expect(`${create?.method} ${create?.path}`).toBe('POST /apis/coordination.k8s.io/v1/namespaces/ns/leases');
  expect(remove?.body).toStrictEqual({ apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'u' } });
});

test('deleting what is gone is success, what is another is not', async () => {
  await using world = await serve((call) => (call.path.endsWith('/gone') ? refuse(call, 404, 'NotFound') : refuse(call, 409, 'Conflict')));
  await world.kube.delete(WIDGETS, 'gone');
  await expect(world.kube.delete(WIDGETS, 'other', { uid: 'u' })).rejects.toMatchObject({ code: 409 });
});

test('connections are kept between requests', async () => {
  const sockets = new Set<unknown>();
  await using world = await serve((call) => {
    sockets.add(call.socket);
    json(call, object('a'));
  });
  for (let i = 0; i < 5; i++) await world.kube.get(WIDGETS, 'a');
  expect(sockets.size).toBe(1);
});

test('a server that does not answer within the limit is a KubeError 504, and its connections are not used again', async () => {
  await using world = await serve(() => {});
  await expect(world.kube.get(WIDGETS, 'a', { timeoutMs: 30 })).rejects.toMatchObject({
    code: 504,
    reason: 'NoAnswer',
    message: expect.stringMatching(/within 0.03 s/),
  });
});

test('the limit holds for an answer that begins and does not end', async () => {
  await using world = await serve(({ response }) => void response.writeHead(200).write('{"metadata":'));
  await expect(world.kube.get(WIDGETS, 'a', { timeoutMs: 30 })).rejects.toMatchObject({ code: 504 });
});

test('an answer that breaks off, and a server that is not there, are KubeError 503', async () => {
  const world = await serve(({ response, socket }) => {
    response.writeHead(200, { 'content-length': '1000' }).write('{');
    setImmediate(() => socket.destroy());
  });
  await expect(world.kube.get(WIDGETS, 'a')).rejects.toMatchObject({ code: 503, reason: 'Unreachable' });
  await world[Symbol.asyncDispose]();
  await expect(world.kube.get(WIDGETS, 'a')).rejects.toMatchObject({
    code: 503,
    reason: 'Unreachable',
    message: expect.stringMatching(/ECONNREFUSED/),
  });
});

test('an answer that is not JSON is a KubeError', async () => {
  await using world = await serve(({ response }) => void response.end('hello'));
  await expect(world.kube.get(WIDGETS, 'a')).rejects.toMatchObject({ code: 502, reason: 'NotJSON' });
});

test('aborting ends a request at once, with the reason of the signal', async () => {
  await using world = await serve(() => {});
  const stop = new AbortController();
  const reason = new Error('told to stop');
  setTimeout(() => stop.abort(reason), 10);
  await expect(world.kube.get(WIDGETS, 'a', { signal: stop.signal })).rejects.toBe(reason);
  await expect(world.kube.get(WIDGETS, 'a', { signal: stop.signal })).rejects.toBe(reason);
});

/** Serves one request well on each connection, and closes it when a second arrives there. */
function closingKeptConnections(): Handler {
  const known = new WeakSet<object>();
  return (call: Call) => {
    if (known.has(call.socket)) return void call.socket.destroy();
    known.add(call.socket);
    json(call, object('a'));
  };
}

test('a kept connection that the server has closed costs nothing but a second attempt', async () => {
  await using world = await serve(closingKeptConnections());
  for (let i = 0; i < 4; i++) expect(await world.kube.get(WIDGETS, 'a')).toBeTruthy();
});

test('a create is not repeated when its connection breaks: it may have happened', async () => {
  await using world = await serve(closingKeptConnections());
  await world.kube.get(WIDGETS, 'a');
  await expect(world.kube.create(WIDGETS, object('b'))).rejects.toMatchObject({ code: 503 });
});

test('an overloaded server is asked again when it says so', async () => {
  let calls = 0;
  await using world = await serve((call) =>
    ++calls < 3 ? refuse(call, 429, 'TooManyRequests', { 'retry-after': '0' }) : json(call, object('a')),
  );
  expect(await world.kube.get(WIDGETS, 'a')).toBeTruthy();
  expect(calls).toBe(3);
});

test('a server that asks for more patience than the limit allows is an error', async () => {
  await using world = await serve((call) => refuse(call, 429, 'TooManyRequests', { 'retry-after': '5' }));
  await expect(world.kube.get(WIDGETS, 'a', { timeoutMs: 4_000 })).rejects.toMatchObject({ code: 429 });
});

test('an urgent call does not wait for a connection behind calls that hang', async () => {
  await using world = await serve((call) => (call.path.endsWith('/slow') ? undefined : json(call, object('a'))));
  const stop = new AbortController();
  // They hang for longer than the urgent call may wait.
  const hang = () => world.kube.get(WIDGETS, 'slow', { timeoutMs: 120_000, signal: stop.signal });
  const slow = Promise.allSettled(Array.from({ length: 60 }, hang));
  await expect(world.kube.get(WIDGETS, 'a', { timeoutMs: 100 })).rejects.toMatchObject({ code: 504 });
  expect(await world.kube.get(WIDGETS, 'a', { timeoutMs: 30_000, urgent: true })).toBeTruthy();
  stop.abort(new Error('over'));
  await slow;
});
