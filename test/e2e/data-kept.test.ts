import { Cluster } from '../testbed/cluster.ts';
import { longTest } from './long.ts';
import { aoeVolume, claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

/** What a person did not ask for does not touch data, and what a program has open is not taken from under it. */
describe('data and disks are kept', () => {
  let cluster: Cluster;
  let ns: Namespace;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'data-kept');
    await cluster.apply([storageClass('data-kept', { pool: 'lvm' }, 'Immediate')]);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'data-kept', '--ignore-not-found']);
    await cluster?.kubectl(['delete', 'aoev', 'e2e-restored', '--ignore-not-found', '--timeout=60s']);
  });

  /** Data that an AoEVolume of the same name has left. */
  let orphan: { uid: string; spec: { nodeName: string } & Record<string, unknown> };

  const volumesIn = (node: string) => cluster.guest(node).exec('lvs --noheadings -o lv_name vg0');
  const conditionReason = (name: string, type: string, reason: string, timeoutMs?: number) =>
    cluster.condition(name, type, { reason }, timeoutMs);

  it('while a PersistentVolume names the AoEVolume that somebody deleted, and until the claim is deleted', async () => {
    await ns.apply([claim('kept', { storageClass: 'data-kept' })]);
    const volume = await ns.bound('kept');
    const { metadata, spec } = await cluster.getJson('aoev', volume);
    await cluster.kubectl(['delete', 'aoev', volume, '--wait=false']);
    const { message } = await conditionReason(volume, 'Exported', 'NamedByPersistentVolume');
    expect(message).toContain(`aoe.dev/delete-data=${metadata.uid}`);
    expect(await volumesIn(spec.nodeName)).toContain(metadata.uid);
    await ns.kubectl('delete', 'pvc', 'kept');
    await cluster.kubectl(['wait', 'aoev', volume, '--for=delete', '--timeout=90s']);
    expect(await volumesIn(spec.nodeName)).not.toContain(metadata.uid);
  });

  it('when an AoEVolume comes back from a backup with another UID: it gets no empty disk instead', async () => {
    await cluster.apply([aoeVolume('e2e-restored', { capacity: '16Mi', pool: 'lvm' })]);
    await conditionReason('e2e-restored', 'Ready', 'Exported');
    const { metadata, spec } = await cluster.getJson('aoev', 'e2e-restored');
    // The object is lost while the agent cannot remove its data.
    const agent = "pkill -f '^node .*/app/agent.js'";
    await cluster.guest(spec.nodeName).exec(`${agent} -STOP`);
    try {
      await cluster.kubectl(['delete', 'aoev', 'e2e-restored', '--wait=false']);
      await cluster.kubectl(['patch', 'aoev', 'e2e-restored', '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
      await cluster.kubectl(['wait', 'aoev', 'e2e-restored', '--for=delete', '--timeout=30s']);
    } finally {
      await cluster.guest(spec.nodeName).exec(`${agent} -CONT || true`);
    }
    const { finalizers } = metadata;
    const backup = aoeVolume('e2e-restored', spec);
    await cluster.apply([{ ...backup, metadata: { ...backup.metadata, finalizers } }]);
    const { message } = await conditionReason('e2e-restored', 'Provisioned', 'OrphanOfSameName');
    expect(message).toContain(metadata.uid);
    const restored = await cluster.getJson('aoev', 'e2e-restored');
    expect(await volumesIn(spec.nodeName)).toContain(metadata.uid);
    expect(await volumesIn(spec.nodeName)).not.toContain(restored.metadata.uid);

    await cluster.kubectl(['delete', 'aoev', 'e2e-restored', '--timeout=60s']);
    expect(await volumesIn(spec.nodeName)).toContain(metadata.uid);
    orphan = { uid: metadata.uid, spec };
  });

  longTest('and it can be given that data, which is served again', async () => {
    const { uid, spec } = orphan;
    // The data is given to the restored one as docs/storage.md, "Data of the same name", says. The target may serve the old one for two minutes more.
    const { address: _address, deletionPolicy: _policy, ...again } = spec;
    await cluster.apply([aoeVolume('e2e-restored', { ...again, adopt: `aoe-${uid}` })]);
    await conditionReason('e2e-restored', 'Ready', 'Exported', 150_000);
    const adopted = await cluster.getJson('aoev', 'e2e-restored');
    expect(await volumesIn(spec.nodeName)).toContain(adopted.metadata.uid);
    expect(await volumesIn(spec.nodeName)).not.toContain(uid);
    await cluster.kubectl(['delete', 'aoev', 'e2e-restored', '--timeout=60s']);
    // Given back, it counts as an administrator's.
    expect(await cluster.guest(spec.nodeName).exec(`lvs --noheadings -o lv_tags vg0/aoe-${uid}`)).toContain('aoe.dev/retained');
  });

  longTest('a disk that a pod has open stays in the kernel after its node has lost the volume', async () => {
    await ns.apply([
      claim('open', { storageClass: 'data-kept', volumeMode: 'Block' }),
      pod('opener', { claim: 'open', node: 'worker-1', block: true, script: 'exec 3</dev/data; touch /tmp/ready; sleep 3600' }),
    ]);
    await ns.ready('opener', 90_000);
    const volume = await ns.volumeOf('open');
    const { status } = await cluster.getJson('aoev', volume);
    await cluster.kubectl(['annotate', 'aoev', volume, '--overwrite', 'aoe.dev/break-lock=worker-1']);
    await eventAbout(cluster, volume, 'StaleDiskInUse', /process \d+|loop device/);
    const disk = `/sys/block/etherd!${status.address}`;
    await cluster.guest('worker-1').exec(`test -d '${disk}'`);
    await ns.kubectl('delete', 'pod', 'opener');
    await cluster.guest('worker-1').exec(`timeout 150 sh -c "while [ -d '${disk}' ]; do sleep 1; done"`, { timeoutMs: 160_000 });
  });

  longTest('a container that is started again after its node has lost the volume writes nothing to the disk of the node', async () => {
    const again = pod('again', { claim: 'again', node: 'worker-1', script: 'touch /tmp/ready; sleep 3600; exit 1' });
    again.spec.restartPolicy = 'Always';
    await ns.apply([claim('again', { storageClass: 'data-kept' }), again]);
    await ns.ready('again', 90_000);
    const inPod = (script: string) => ns.kubectl('exec', 'again', '--', 'sh', '-c', script);
    await inPod('echo mine > /data/f; sync');
    const volume = await ns.volumeOf('again');
    await cluster.kubectl(['annotate', 'aoev', volume, '--overwrite', 'aoe.dev/break-lock=worker-1']);
    await eventAbout(cluster, volume, 'StaleDiskInUse', /process \d+/);
    // The container ends, and what runs in it with it.
    await inPod('killall sleep').catch(() => {});
    const restarts = () => ns.kubectl('get', 'pod', 'again', '-o', 'jsonpath={.status.containerStatuses[0].restartCount}');
    const restarted = async () => Number(await restarts()) > 0 || undefined;
    await cluster.poll(restarted, { timeoutMs: 60_000, what: 'the container to be started again' });
    await ns.ready('again', 60_000);
    await expect(inPod('echo other > /data/f')).rejects.toThrow(/Read-only file system/);
    // The pod can be deleted, and the data is as it was.
    await ns.kubectl('delete', 'pod', 'again', '--timeout=90s');
    await ns.apply([pod('after', { claim: 'again', node: 'storage-2', script: 'cat /data/f; touch /tmp/ready; sleep 3600' })]);
    await ns.ready('after', 150_000);
    await ns.said('after', /mine/);
    await ns.kubectl('delete', 'pod', 'after');
  });
});
