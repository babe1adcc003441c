import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Call, FakeServer, json, line, refuse } from '../testing/fake-server.ts';
import { WIDGETS } from '../testing/types.ts';
import { Credentials } from './credentials.ts';
import { Kube } from './kube.ts';

/** A server, and a client whose kubeconfig has these fields of a user. `DIRECTORY` in them is where the files are. */
async function world(user: object, files: Record<string, string> = {}, handler = (call: Call) => json(call, { metadata: { name: 'a' } })) {
  const directory = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  const server = await FakeServer.start(handler);
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
  for (const [name, text] of Object.entries(files)) write(name, text);
  const cluster = { server: `${server.url}/prefix/`, 'insecure-skip-tls-verify': true };
  const config = {
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  write('config', JSON.stringify(config).replaceAll('DIRECTORY', directory));
  const kube = Kube.fromCluster(join(directory, 'config'), { userAgent: 'test/1' });
  return {
    server,
    kube,
    write,
    async [Symbol.asyncDispose]() {
      kube.close();
      await server[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    },
  };
}

/** The header that a request carries with these fields of a user. */
async function headerWith(user: object, files: Record<string, string> = {}): Promise<string | undefined> {
  await using it = await world(user, files);
  await it.kube.get(WIDGETS, 'a');
  expect(it.server.calls[0]?.path).toBe('/prefix/apis/example.com/v1/widgets/a');
  expect(it.server.calls[0]?.headers['user-agent']).toBe('test/1');
  return it.server.calls[0]?.headers.authorization;
}

const TOKEN_FILE = { 'auth-provider': { name: 'tokenFile', config: { tokenFile: 'DIRECTORY/token' } } };

test('a token of a kubeconfig is sent', async () => {
  expect(await headerWith({ token: 'secret' })).toBe('Bearer secret');
});

test('user and password are sent', async () => {
  expect(await headerWith({ username: 'u', password: 'p' })).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`);
});

test('a token from a file is sent, as a service account has it', async () => {
  expect(await headerWith(TOKEN_FILE, { token: 'rotates' })).toBe('Bearer rotates');
});

for (const [what, act] of [
  ['a request', (kube: Kube) => kube.get(WIDGETS, 'a')],
  ['a create', (kube: Kube) => kube.create(WIDGETS, { metadata: { name: 'a' } })],
  [
    'a watch',
    async (kube: Kube) => {
      for await (const { object } of kube.watch(WIDGETS, { resourceVersion: '1', timeoutSeconds: 60, silenceMs: 10_000 })) return object;
    },
  ],
] as const) {
  test(`${what} with a token that the server refuses is repeated with the present one, also when the clock was set back`, async () => {
    let valid = 'old';
    await using it = await world(TOKEN_FILE, { token: 'old' }, (call) => {
      if (call.headers.authorization !== `Bearer ${valid}`) return refuse(call, 401, 'Unauthorized');
      const object = { metadata: { name: 'a' } };
      return call.query.has('watch') ? line(call, 'ADDED', object) : json(call, object);
    });
    await it.kube.get(WIDGETS, 'a');
    jest.useFakeTimers({
      doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout', 'performance'],
      now: Date.now() - 3_600_000,
    });
    valid = 'new';
    it.write('token', 'new');
    expect(await act(it.kube)).toMatchObject({ metadata: { name: 'a' } });
    expect(it.server.calls.map(({ headers }) => headers.authorization)).toStrictEqual(['Bearer old', 'Bearer old', 'Bearer new']);
  });
}

test('a server that refuses the present token, too, is asked no third time', async () => {
  await using it = await world(TOKEN_FILE, { token: 'bad' }, (call) => refuse(call, 401, 'Unauthorized'));
  await expect(it.kube.get(WIDGETS, 'a')).rejects.toMatchObject({ code: 401, reason: 'Unauthorized' });
  expect(it.server.calls).toHaveLength(2);
});

test('a token that a program prints is asked for again when the server refuses it', async () => {
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'cat', args: ['DIRECTORY/credential'] };
  const credential = (token: string): string => JSON.stringify({ status: { token } });
  await using it = await world({ exec }, { credential: credential('old') }, (call) =>
    call.headers.authorization === 'Bearer new' ? json(call, { metadata: { name: 'a' } }) : refuse(call, 401, 'Unauthorized'),
  );
  await expect(it.kube.get(WIDGETS, 'a')).rejects.toMatchObject({ code: 401 });
  it.write('credential', credential('new'));
  expect(await it.kube.get(WIDGETS, 'a')).toMatchObject({ metadata: { name: 'a' } });
});

test('a kubeconfig without a cluster is refused with words that help', () => {
  const directory = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  try {
    const path = join(directory, 'config');
    writeFileSync(path, '{}');
    expect(() => Credentials.fromKubeconfig(path)).toThrow(/no API server is configured.*KUBECONFIG/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
