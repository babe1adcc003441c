import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeServer, json } from '../testing/fake-server.ts';
import { WIDGETS } from '../testing/types.ts';
import { Credentials } from './credentials.ts';
import { Kube } from './kube.ts';

/** A kubeconfig for a server with these fields of a user, and the header that a request then carries. */
async function headerWith(user: object, files: Record<string, string> = {}): Promise<string | undefined> {
  const directory = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  await using server = await FakeServer.start((call) => json(call, { metadata: { name: 'a' } }));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
    const path = join(directory, 'config');
    const cluster = { server: `${server.url}/prefix/`, 'insecure-skip-tls-verify': true };
    const config = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    writeFileSync(path, JSON.stringify(config).replaceAll('DIRECTORY', directory));
    const kube = Kube.fromCluster(path, { userAgent: 'test/1' });
    await kube.get(WIDGETS, 'a');
    kube.close();
    expect(server.calls[0]?.path).toBe('/prefix/apis/example.com/v1/widgets/a');
    expect(server.calls[0]?.headers['user-agent']).toBe('test/1');
    return server.calls[0]?.headers.authorization;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('a token of a kubeconfig is sent', async () => {
  expect(await headerWith({ token: 'secret' })).toBe('Bearer secret');
});

test('user and password are sent', async () => {
  expect(await headerWith({ username: 'u', password: 'p' })).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`);
});

test('a token from a file is sent, as a service account has it', async () => {
  expect(await headerWith({ 'auth-provider': { name: 'tokenFile', config: { tokenFile: 'DIRECTORY/token' } } }, { token: 'rotates' })).toBe(
    'Bearer rotates',
  );
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
