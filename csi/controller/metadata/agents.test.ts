import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeNode } from '../../../api/kube-node.ts';
import type { AoENode } from '../../../api/node.ts';
import { Code } from '../../../rpc/mod.ts';
import { Agents } from './agents.ts';

const query = { node: 'a', pool: 'p', snapshotUID: 's', from: 0 };
const blocks = { port: 1, certificate: 'not a certificate' };

// What an agent answers: test/apiserver/changed-blocks.test.ts.
describe('the agents', () => {
  const directory = mkdtempSync(join(tmpdir(), 'agents-'));
  const token = join(directory, 'token');
  writeFileSync(token, 'token\n');
  afterAll(() => rmSync(directory, { recursive: true }));

  const ask = async (node: AoENode['status'], addresses: { type: string; address: string }[], tokenFile = token): Promise<void> => {
    const agents = new Agents({
      nodes: { get: () => ({ status: node }) as AoENode },
      kubeNodes: { get: (): KubeNode => ({ metadata: { name: 'a' }, status: { addresses } }) },
      tokenFile,
    });
    for await (const _ of agents.list(query, new AbortController().signal));
  };
  const internal = [
    { type: 'Hostname', address: 'a' },
    { type: 'InternalIP', address: '127.0.0.1' },
  ];

  it.each([
    ['the AoENode does not say where', {}, internal, token, /node a does not say where its agent/],
    ['the Node has no address', { blocks }, [{ type: 'Hostname', address: 'a' }], token, /node a has no address of type InternalIP/],
    ['there is no token', { blocks }, internal, join(directory, 'none'), /token for agents cannot be read/],
    ['the certificate is none', { blocks }, internal, token, /./],
  ] as const)('are not asked, and the caller is to try again, when %s', async (_what, status, addresses, tokenFile, message) => {
    const failure = expect.objectContaining({ code: Code.UNAVAILABLE, message: expect.stringMatching(message) });
    await expect(ask(status, [...addresses], tokenFile)).rejects.toEqual(failure);
  });
});
