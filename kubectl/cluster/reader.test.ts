import { FakeKubectl } from '../testing/fake-kubectl.ts';
import { Kubectl } from './kubectl.ts';
import { NODES, PODS } from './objects.ts';
import { Reader } from './reader.ts';

describe('Reader', () => {
  it('reads lists in pages, without managedFields', async () => {
    const urls: string[] = [];
    const kubectl = new Kubectl({}, (args) => {
      urls.push(args[2] ?? '');
      const isFirst = !args[2]?.includes('continue');
      const page = {
        items: [{ metadata: { name: isFirst ? 'a' : 'b', managedFields: [{}] } }],
        metadata: isFirst ? { continue: 'more&' } : {},
      };
      return Promise.resolve({ code: 0, stdout: JSON.stringify(page), stderr: '' });
    });
    expect(await new Reader(kubectl).list(PODS, { namespace: 'shop', labelSelector: 'a=b' })).toStrictEqual([
      { metadata: { name: 'a' } },
      { metadata: { name: 'b' } },
    ]);
    expect(urls).toStrictEqual([
      '/api/v1/namespaces/shop/pods?labelSelector=a%3Db&limit=1000',
      '/api/v1/namespaces/shop/pods?labelSelector=a%3Db&limit=1000&continue=more%26',
    ]);
  });

  it('begins again, without pages, when a list has changed too much between two of them', async () => {
    const kubectl = new Kubectl({}, (args) =>
      Promise.resolve(
        args[2]?.includes('continue')
          ? { code: 1, stdout: '', stderr: 'Error from server (Expired): The provided continue parameter is too old\n' }
          : { code: 0, stdout: JSON.stringify({ items: [], metadata: args[2]?.includes('limit') ? { continue: 'x' } : {} }), stderr: '' },
      ),
    );
    expect(await new Reader(kubectl).list(NODES)).toStrictEqual([]);
  });

  it('reads a list that has more objects than a call takes arguments', async () => {
    const items = Array.from({ length: 200_000 }, () => ({ metadata: {} }));
    const kubectl = new Kubectl({}, () => Promise.resolve({ code: 0, stdout: JSON.stringify({ items }), stderr: '' }));
    expect(await new Reader(kubectl).list(NODES)).toHaveLength(items.length);
  });

  it('notes a right that is missing, and throws any other failure', async () => {
    const fake = new FakeKubectl().put(NODES, { metadata: { name: 'n' } });
    fake.forbidden.add('nodes');
    const reader = new Reader(fake.kubectl);
    expect(await reader.list(NODES)).toBeUndefined();
    expect(await reader.get(NODES, 'n')).toStrictEqual({ object: undefined, isHidden: true });
    expect(reader.notSeen).toStrictEqual(['you may not get nodes', 'you may not list nodes']);
    expect(await reader.get(PODS, 'p', 'shop')).toStrictEqual({ isHidden: false });
    const broken = new Kubectl({}, () => Promise.resolve({ code: 1, stdout: '', stderr: 'Unable to connect to the server: EOF\n' }));
    await expect(new Reader(broken).list(NODES)).rejects.toThrow('Unable to connect to the server: EOF');
  });
});
