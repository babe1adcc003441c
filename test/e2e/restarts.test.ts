import { Cluster } from '../testbed/cluster.ts';
import { claim, pod, RECORDER, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

describe('I/O goes on while a part is restarted', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let volume: string;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'restarts');
    await cluster.apply([storageClass('restarts', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('data', { storageClass: 'restarts' }), pod('recorder', { claim: 'data', node: 'worker-1', script: RECORDER })]);
    await ns.ready('recorder');
    volume = await ns.volumeOf('data');
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'restarts', '--ignore-not-found']);
  });

  const lastRecord = async () => Number((await ns.kubectl('exec', 'recorder', '--', 'tail', '-n', '1', '/data/records')).split(' ')[0]);

  for (const part of ['controller', 'agent', 'node', 'target'] as const) {
    it(`(${part})`, async () => {
      const { nodeName } = (await cluster.getJson('aoev', volume)).spec;
      const before = await lastRecord();
      const onNode = part === 'controller' ? [] : ['--field-selector', `spec.nodeName=${part === 'node' ? 'worker-1' : nodeName}`];
      await cluster.kubectl(['-n', 'aoe-csi', 'delete', 'pod', '-l', `app.kubernetes.io/component=${part}`, ...onNode, '--grace-period=1']);
      await cluster.poll(async () => ((await lastRecord()) > before + 20 ? true : undefined), {
        timeoutMs: 60_000,
        what: `records to be written after the restart of ${part}`,
      });
      await cluster.poll(
        async () => {
          const pods = JSON.parse(
            await cluster.kubectl(['-n', 'aoe-csi', 'get', 'pod', '-l', `app.kubernetes.io/component=${part}`, '-o', 'json']),
          );
          const ready = (p: { status: { conditions?: { type: string; status: string }[] } }) =>
            p.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True');
          return pods.items.length > 0 && pods.items.every(ready) ? true : undefined;
        },
        { timeoutMs: 90_000, what: `the pods of ${part} to be Ready again` },
      );
      expect((await ns.kubectl('get', 'pod', 'recorder', '-o', 'jsonpath={.status.phase}')).trim()).toBe('Running');
      await cluster.heldBy(volume, 'worker-1');
    });
  }

  it('and no record is missing', async () => {
    const lines = (await ns.kubectl('exec', 'recorder', '--', 'cat', '/data/records')).trim().split('\n');
    lines.forEach((line, index) => {
      expect(Number(line.split(' ')[0])).toBe(index + 1);
    });
  });
});
