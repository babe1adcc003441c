import { Cluster } from '../testbed/cluster.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

describe('a claim', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'claim');
    await cluster.apply([storageClass('claim-lvm', { pool: 'lvm' }), storageClass('claim-thin', { pool: 'thin' }, 'Immediate')]);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'claim-lvm', 'claim-thin', '--ignore-not-found']);
  });

  it('becomes a disk on another node, keeps its data when the pod moves, and leaves nothing when deleted', async () => {
    await ns.apply([
      claim('data', { storageClass: 'claim-lvm' }),
      pod('one', { claim: 'data', node: 'worker-1', script: 'echo kept > /data/file; sync; touch /tmp/ready; sleep 3600' }),
    ]);
    await ns.ready('one');
    const volume = await ns.volumeOf('data');
    const held = await cluster.heldBy(volume, 'worker-1');
    expect(held.spec.nodeName).toMatch(/^storage-/);
    expect(held.status.phase).toBe('Ready');
    const { address } = held.status;
    expect(await cluster.guest('worker-1').exec('cat /proc/mounts')).toMatch(new RegExp(`/dev/etherd/${address} .* ext4 `));

    await ns.kubectl('delete', 'pod', 'one');
    const other = held.spec.nodeName === 'storage-1' ? 'storage-2' : 'storage-1';
    await ns.apply([pod('two', { claim: 'data', node: other, script: 'cat /data/file; touch /tmp/ready; sleep 3600' })]);
    await ns.ready('two');
    expect(await ns.said('two')).toBe('kept');
    await cluster.heldBy(volume, other);

    await ns.kubectl('delete', 'pod', 'two');
    await ns.kubectl('delete', 'pvc', 'data');
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=60s']);
    const lvs = await cluster.guest(held.spec.nodeName).exec('lvs --noheadings -o lv_name vg0');
    expect(lvs, `the LV is still there:\n${lvs}`).not.toContain(held.metadata.uid);
    for (const node of ['worker-1', 'storage-1', 'storage-2']) {
      // The kernel's discovery may bring a disk back for a moment; the node plugin looks again, the last time after 70 s.
      const gone = `timeout 300 sh -c 'while [ -e /dev/etherd/${address} ]; do sleep 0.5; done' || { ls -l /dev/etherd; exit 1; }`;
      await cluster.guest(node).exec(gone, { timeoutMs: 150_000 });
    }
  });

  it('works for a pod on the storage node itself, on a thin volume with xfs', async () => {
    await cluster.apply([storageClass('claim-xfs', { pool: 'thin', 'csi.storage.k8s.io/fstype': 'xfs' }, 'Immediate')]);
    await ns.apply([claim('local', { storageClass: 'claim-xfs', size: '320Mi' })]);
    const volume = await ns.bound('local');
    const { nodeName } = (await cluster.getJson('aoev', volume)).spec;
    await ns.apply([
      pod('local', {
        claim: 'local',
        node: nodeName,
        script: 'echo here > /data/file && grep " /data " /proc/mounts; touch /tmp/ready; sleep 3600',
      }),
    ]);
    await ns.ready('local');
    await ns.said('local', /\/data xfs/);
    await ns.kubectl('delete', 'pod', 'local');
    await ns.kubectl('delete', 'pvc', 'local');
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=60s']);
    await cluster.kubectl(['delete', 'storageclass', 'claim-xfs']);
  });

  it('can be a raw block device', async () => {
    await ns.apply([
      claim('raw', { storageClass: 'claim-thin', volumeMode: 'Block' }),
      pod('raw', {
        claim: 'raw',
        node: 'worker-1',
        block: true,
        script:
          'echo block-data | dd of=/dev/data bs=512 conv=sync && dd if=/dev/data bs=512 count=1 | head -n 1; touch /tmp/ready; sleep 3600',
      }),
    ]);
    await ns.ready('raw');
    await ns.said('raw', /block-data/);
    await ns.kubectl('delete', 'pod', 'raw');
    await ns.kubectl('delete', 'pvc', 'raw');
  });

  it('that no pool can hold stays pending and says how much there is', async () => {
    await ns.apply([claim('huge', { storageClass: 'claim-thin', size: '10Ti' })]);
    await ns.event('huge', 'ProvisioningFailed', /10Ti/);
    const uid = await ns.kubectl('get', 'pvc', 'huge', '-o', 'jsonpath={.metadata.uid}');
    await ns.kubectl('delete', 'pvc', 'huge');
    await cluster.poll(async () => ((await cluster.kubectl(['get', 'aoev', '-o', 'name'])).includes(uid) ? undefined : true), {
      timeoutMs: 30_000,
      what: 'nothing to be left of the refused claim',
      intervalMs: 500,
    });
  });

  it('with an unknown pool says so', async () => {
    await cluster.apply([storageClass('claim-nowhere', { pool: 'nowhere' }, 'Immediate')]);
    await ns.apply([claim('nowhere', { storageClass: 'claim-nowhere' })]);
    await ns.event('nowhere', 'ProvisioningFailed', /nowhere/);
    await ns.kubectl('delete', 'pvc', 'nowhere');
    await cluster.kubectl(['delete', 'storageclass', 'claim-nowhere']);
  });

  it('for a filesystem on many nodes is refused with the reason', async () => {
    await ns.apply([claim('many', { storageClass: 'claim-thin', accessMode: 'ReadWriteMany' })]);
    await ns.event('many', 'ProvisioningFailed', /ReadWriteMany|many nodes|MULTI_NODE/i);
    await ns.kubectl('delete', 'pvc', 'many');
  });
});
