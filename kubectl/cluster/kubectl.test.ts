import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { Kubectl, KubectlError, startKubectl } from './kubectl.ts';

describe('Kubectl', () => {
  const bin = mkdtempSync(join(tmpdir(), 'kubectl-'));
  const path = process.env.PATH;
  const fake = (script: string) => writeFileSync(join(bin, 'kubectl'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  beforeAll(() => {
    process.env.PATH = `${bin}:${path}`;
  });
  afterAll(() => {
    process.env.PATH = path;
    rmSync(bin, { recursive: true });
  });

  it('passes the cluster on, and gives the output', async () => {
    fake('echo "$@"');
    const kubectl = new Kubectl({ kubeconfig: '/k', context: 'c' });
    expect(await kubectl.run(['get', 'pods'], { timeoutMs: 5_000 })).toBe('--kubeconfig=/k --context=c get pods\n');
    expect(await new Kubectl({}).run(['version'], { timeoutMs: 5_000 })).toBe('version\n');
  });

  it('tells the reason, and the right that is missing', async () => {
    fake(
      'echo "Error from server (Forbidden): User \\"eve\\" cannot list resource \\"pods\\" in API group \\"\\" at the cluster scope" >&2; exit 1',
    );
    const error = await new Kubectl({}).run(['get', '--raw', '/x'], { timeoutMs: 5_000 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KubectlError);
    expect(error).toMatchObject({ reason: 'Forbidden', right: { verb: 'list', resource: 'pods', group: '' } });
    expect((error as Error).message).toBe('kubectl get --raw: User "eve" cannot list resource "pods" in API group "" at the cluster scope');
  });

  it('ends a program whose output cannot be written', async () => {
    fake('exec yes');
    const to = new Writable({ write: (_part, _encoding, done) => done(new Error('no room')) });
    await expect(new Kubectl({}).run(['exec', 'x'], { timeoutMs: 60_000, to })).rejects.toThrow('no room');
  });

  it('ends a program that takes too long, and says so', async () => {
    fake('exec sleep 60');
    await expect(new Kubectl({}).run(['logs', 'x'], { timeoutMs: 50 })).rejects.toThrow(
      'kubectl logs x: took longer than 0.05 s and was ended',
    );
  });

  it('writes bytes to a stream as they are', async () => {
    fake('printf "\\377\\000\\001"');
    const to = new PassThrough();
    expect((await startKubectl(['exec'], { timeoutMs: 5_000, to })).stdout).toBe('');
    expect((to.read() as Buffer).toString('hex')).toBe('ff0001');
  });

  it('says that there is no such program', async () => {
    process.env.PATH = '/nonexistent';
    await expect(startKubectl([], { timeoutMs: 5_000 })).rejects.toThrow('the program kubectl cannot be started: it must be in the PATH');
    process.env.PATH = `${bin}:${path}`;
  });
});
