import { Cluster } from '../testbed/cluster.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const WRITER = 'touch /tmp/ready; sleep 3600';

describe('an Exclusive volume in use', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let volume: string;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'exclusive');
    await cluster.apply([storageClass('exclusive', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('data', { storageClass: 'exclusive' }), pod('holder', { claim: 'data', node: 'worker-1', script: WRITER })]);
    await ns.ready('holder');
    volume = await ns.volumeOf('data');
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'exclusive', '--ignore-not-found']);
  });

  it('is refused to a pod on another node', async () => {
    await ns.apply([pod('intruder', { claim: 'data', node: 'storage-1', script: WRITER })]);
    await ns.event('intruder', 'FailedAttachVolume', /holder/);
    await ns.kubectl('delete', 'pod', 'intruder');
  });

  it('is refused by the driver itself, which names the node that holds it', async () => {
    await cluster.apply([
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'VolumeAttachment',
        metadata: { name: 'e2e-intruder' },
        spec: { attacher: 'aoe.dev', nodeName: 'storage-1', source: { persistentVolumeName: volume } },
      },
    ]);
    const message = await cluster.poll(
      async () => {
        const text = await cluster.kubectl(['get', 'volumeattachment', 'e2e-intruder', '-o', 'jsonpath={.status.attachError.message}']);
        return text.includes('worker-1') ? text : undefined;
      },
      { timeoutMs: 60_000, what: 'an attach error on the second VolumeAttachment that names the node' },
    );
    await cluster.kubectl(['delete', 'volumeattachment', 'e2e-intruder']);
    expect(message).toMatch(new RegExp(volume));
  });

  it('shows its holder to every host that asks, and keeps the lock when a stranger tries to take it', async () => {
    const { address } = (await cluster.getJson('aoev', volume)).status;
    expect(await cluster.configString(address)).toMatch(/aoe\.dev\/1 node=worker-1/);
    await cluster.aoecfg(address, '-c', 'fset', '-s', 'mine').catch(() => '');
    expect(await cluster.configString(address)).toMatch(/aoe\.dev\/1 node=worker-1/);
  });

  it('cannot be deleted', async () => {
    await cluster.kubectl(['delete', 'aoev', volume, '--wait=false']);
    const message = await cluster.poll(
      async () => {
        const found = await cluster.getJson('aoev', volume);
        const ready = found.status.conditions?.find((c: { type: string }) => c.type === 'Ready');
        return found.status.phase === 'Deleting' && ready?.status === 'False' ? (ready.message as string) : undefined;
      },
      { timeoutMs: 60_000, what: `phase Deleting on ${volume}` },
    );
    expect(message).toMatch(/worker-1/);
    await ns.kubectl('exec', 'holder', '--', 'sh', '-c', 'echo still-here > /data/f && sync && cat /data/f');
  });
});
