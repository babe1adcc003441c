import { Cluster } from '../testbed/cluster.ts';
import { runInNetns } from '../testbed/process/shell.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { eventAbout, Namespace } from './namespace.ts';

const IDLE = 'touch /tmp/ready; sleep 3600';

describe('breaking a lock by hand', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let volume: string;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'lock-break');
    await cluster.apply([storageClass('lock-break', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('data', { storageClass: 'lock-break' })]);
    volume = await ns.bound('data');
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'lock-break', '--ignore-not-found']);
  });

  const get = () => cluster.getJson('aoev', volume);
  const breakLock = (holder: string) => cluster.kubectl(['annotate', 'aoev', volume, '--overwrite', `aoe.dev/break-lock=${holder}`]);
  const event = (reason: string, says?: RegExp) => eventAbout(cluster, volume, reason, says);
  const carriedOut = () =>
    cluster.poll(async () => ((await get()).metadata.annotations?.['aoe.dev/break-lock'] === undefined ? true : undefined), {
      timeoutMs: 60_000,
      what: 'the annotation to be taken off',
    });
  const onWire = async () => cluster.configString((await get()).status.address);

  it('does nothing when the holder is another than the one named', async () => {
    await ns.apply([pod('holder', { claim: 'data', node: 'worker-1', script: IDLE })]);
    await ns.ready('holder');
    await cluster.heldBy(volume, 'worker-1');
    expect(await cluster.kubectl(['get', 'aoev', volume])).toMatch(/worker-1/);
    await breakLock('storage-2');
    await carriedOut();
    await event('LockNotBroken', /held by node worker-1 since .*, not held by "storage-2"/);
    expect(await onWire()).toMatch(/node=worker-1/);
    await ns.kubectl('exec', 'holder', '--', 'sh', '-c', 'echo fine > /data/f && sync');
  });

  it('shuts the named holder out at once and frees the lock; a new attachment takes it again', async () => {
    await breakLock('worker-1');
    await carriedOut();
    await event('LockBroken', /held by node worker-1/);
    await event('LockCleared');
    const { spec } = await cluster.volumeUntil(volume, 'no initiator', ({ status }) => status.initiators?.macs?.length === 0);
    expect(spec.initiators.nodes).toBeUndefined();
    expect(await onWire()).not.toMatch(/node=worker-1/);
    await expect(
      ns.kubectl('exec', 'holder', '--', 'dd', 'if=/dev/zero', 'of=/data/lost', 'bs=4k', 'count=1', 'conv=fsync'),
    ).rejects.toThrow();

    await ns.kubectl('delete', 'pod', 'holder');
    await ns.apply([pod('next', { claim: 'data', node: 'storage-2', script: `cat /data/f; ${IDLE}` })]);
    await ns.ready('next', 120_000);
    await ns.said('next', /fine/);
    await cluster.heldBy(volume, 'storage-2');
    await ns.kubectl('delete', 'pod', 'next');
  });

  it('clears the string of a host outside the cluster, which excludes all others until then', async () => {
    const free = async () =>
      (await get()).spec.initiators.nodes === undefined && (await get()).status.holder === undefined ? true : undefined;
    await cluster.poll(free, { timeoutMs: 60_000, what: 'the volume to be detached' });
    // A host outside the cluster, admitted by its MAC address, sets the string as the Mac driver or a person with aoecfg does.
    const mac = (await runInNetns('cat', ['/sys/class/net/storage/address'])).trim();
    const letIn = (macs: string[]) =>
      cluster.kubectl(['patch', 'aoev', volume, '--type=merge', '-p', JSON.stringify({ spec: { initiators: { macs } } })]);
    await letIn([mac]);
    await cluster.poll(async () => (JSON.stringify((await get()).status.initiators.macs) === JSON.stringify([mac]) ? true : undefined), {
      timeoutMs: 60_000,
      what: `${mac} to be admitted`,
    });
    const { address } = (await get()).status;
    const set = async () => {
      await cluster.aoecfg(address, '-c', 'set', '-s', 'net.corvus.apple me').catch(() => '');
      return (await onWire()) === 'net.corvus.apple me' || undefined;
    };
    await cluster.poll(set, { timeoutMs: 60_000, what: 'the string of the host to be set' });
    await cluster.poll(async () => (await get()).status.holder?.raw, { timeoutMs: 60_000, what: 'the string in status.holder' });
    expect(await cluster.kubectl(['get', 'aoev', volume])).toMatch(/"net\.corvus\.apple me"/);
    await letIn([]);

    await ns.apply([pod('late', { claim: 'data', node: 'worker-1', script: IDLE })]);
    await ns.event('late', 'FailedAttachVolume', /somebody who wrote "net\.corvus\.apple me"/);
    await event('PublishRefused');
    await breakLock('net.corvus.apple me');
    await carriedOut();
    await ns.ready('late', 120_000);
  });
});
