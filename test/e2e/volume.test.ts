import { Cluster } from '../testbed/cluster.ts';
import { longTest } from './long.ts';
import { aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

describe('an AoEVolume without a claim', () => {
  let cluster: Cluster;
  let ns: Namespace;
  const made: string[] = [];
  const apply = async (name: string, spec: Record<string, unknown>) => {
    made.push(name);
    await cluster.apply([aoeVolume(name, spec)]);
  };
  const condition = (name: string, type: string, status: string, timeoutMs?: number) =>
    cluster.condition(name, type, { status }, timeoutMs);

  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'volume');
  });
  afterAll(async () => {
    await ns?.delete();
    if (made.length > 0) await cluster.kubectl(['delete', 'aoev', ...made, '--ignore-not-found', '--timeout=60s']);
  });

  it('is exported, and the host with a MAC of spec.initiators attaches it by hand', async () => {
    const worker = cluster.guest('worker-1');
    const mac = (await worker.exec('cat /sys/class/net/vec0/address')).trim();
    await apply('e2e-by-hand', { capacity: '64Mi', pool: 'lvm', initiators: { macs: [mac] } });
    await condition('e2e-by-hand', 'Ready', 'True');
    const volume = await cluster.getJson('aoev', 'e2e-by-hand');
    const device = `/dev/etherd/${volume.status.address}`;
    const size = await worker.exec(
      `aoe-discover; timeout 60 sh -c 'until [ -b ${device} ]; do aoe-discover; sleep 0.2; done'; blockdev --getsize64 ${device}`,
    );
    expect(Number(size.trim())).toBe(64 * 1024 * 1024);
    await worker.exec(`echo by-hand | dd of=${device} bs=512 conv=sync oflag=direct 2>/dev/null`);
    expect(await worker.exec(`dd if=${device} bs=512 count=1 iflag=direct 2>/dev/null`)).toMatch(/by-hand/);

    // A host that is not named does not even see it.
    const other = volume.spec.nodeName === 'storage-1' ? 'storage-2' : 'storage-1';
    await cluster.guest(other).exec('modprobe aoe; aoe-discover; sleep 1');
    expect((await cluster.guest(other).exec(`ls ${device} 2>/dev/null || true`)).trim()).toBe('');

    // Access withdrawn: reads fail at once, with an error, not by hanging.
    await cluster.kubectl(['patch', 'aoev', 'e2e-by-hand', '--type=merge', '-p', '{"spec":{"initiators":{"macs":null}}}']);
    await cluster.poll(
      async () => ((await cluster.getJson('aoev', 'e2e-by-hand')).status.initiators.macs ?? []).length === 0 || undefined,
      { timeoutMs: 60_000, what: 'no initiator to be admitted' },
    );
    await worker.exec(
      `if timeout 20 dd if=${device} of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then echo "a fenced host could read" >&2; exit 1; fi`,
    );
    await worker.exec(`printf '%s\\0' ${volume.status.address} > /dev/etherd/flush`);
  });

  it('keeps the address that a user gives it', async () => {
    await apply('e2e-address', { capacity: '16Mi', pool: 'lvm', address: { shelf: 77, slot: 7 } });
    await condition('e2e-address', 'Ready', 'True');
    expect((await cluster.getJson('aoev', 'e2e-address')).status.address).toBe('e77.7');
  });

  it('is not placed at an address that another volume has', async () => {
    await apply('e2e-address-again', { capacity: '16Mi', pool: 'lvm', address: { shelf: 77, slot: 7 } });
    const placed = await condition('e2e-address-again', 'Placed', 'False');
    expect(placed.reason).toBe('AddressTaken');
    expect(placed.message).toMatch(/e2e-address/);
  });

  it('is not exported at an address that a stranger answers', async () => {
    const worker = cluster.guest('worker-1');
    await worker.exec(
      'truncate -s 8M /tmp/stranger.img; (vblade 66 6 vec0 /tmp/stranger.img >/tmp/stranger.log 2>&1 & echo $! > /tmp/stranger.pid)',
    );
    try {
      // vblade prints the size just before it answers.
      await worker.exec("timeout 60 sh -c 'until grep -q sectors /tmp/stranger.log; do sleep 0.1; done'");
      await apply('e2e-conflict', { capacity: '16Mi', pool: 'lvm', address: { shelf: 66, slot: 6 } });
      const conflict = await condition('e2e-conflict', 'AddressConflict', 'True');
      const mac = (await worker.exec('cat /sys/class/net/vec0/address')).trim();
      expect(conflict.message).toMatch(new RegExp(mac));
      await condition('e2e-conflict', 'Ready', 'False');
    } finally {
      await worker.exec('kill $(cat /tmp/stranger.pid); rm -f /tmp/stranger.*');
    }
  });

  longTest('goes off the segment when a stranger answers at its address later, and nobody uses it', async () => {
    const worker = cluster.guest('worker-1');
    await worker.exec('truncate -s 8M /tmp/late.img');
    await apply('e2e-late', { capacity: '16Mi', pool: 'lvm', address: { shelf: 67, slot: 7 } });
    await condition('e2e-late', 'Ready', 'True');
    await worker.exec('(vblade 67 7 vec0 /tmp/late.img >/tmp/late.log 2>&1 & echo $! > /tmp/late.pid)');
    try {
      // Asked again 1 s and 5 s after the export, then each minute, give or take a quarter.
      const conflict = await condition('e2e-late', 'AddressConflict', 'True', 90_000);
      expect(conflict.message).toMatch(new RegExp((await worker.exec('cat /sys/class/net/vec0/address')).trim()));
      await condition('e2e-late', 'Exported', 'False');
      await condition('e2e-late', 'Ready', 'False');
    } finally {
      await worker.exec('kill $(cat /tmp/late.pid); rm -f /tmp/late.*');
    }
  });

  it('in an unknown pool says which pools there are', async () => {
    await apply('e2e-nowhere', { capacity: '16Mi', pool: 'nowhere' });
    const placed = await condition('e2e-nowhere', 'Placed', 'False');
    expect(placed.message).toMatch(/nowhere/);
  });

  it('that someone else serves (vblade) mounts through a static PersistentVolume', async () => {
    const server = cluster.guest('storage-2');
    await server.exec(
      'truncate -s 64M /tmp/external.img; (vblade 55 5 vec0 /tmp/external.img >/dev/null 2>&1 & echo $! > /tmp/external.pid)',
    );
    try {
      await apply('e2e-external', { external: { shelf: 55, slot: 5 } });
      await cluster.apply([staticVolume('e2e-external', { volume: 'e2e-external', fsType: 'ext4' })]);
      await ns.apply([
        claim('external', { storageClass: '', volumeName: 'e2e-external' }),
        pod('external', {
          claim: 'external',
          node: 'worker-1',
          script: 'echo on-vblade > /data/f && sync && cat /data/f; touch /tmp/ready; sleep 3600',
        }),
      ]);
      await ns.ready('external');
      await ns.said('external', /on-vblade/);
      await cluster.heldBy('e2e-external', 'worker-1');
      await condition('e2e-external', 'EnforcedByTarget', 'False');
      await ns.kubectl('delete', 'pod', 'external');
      const attached = '-o=jsonpath={.items[*].spec.source.persistentVolumeName}';
      await cluster.poll(
        async () => !(await cluster.kubectl(['get', 'volumeattachment', attached])).split(' ').includes('e2e-external') || undefined,
        { timeoutMs: 60_000, what: 'the external volume to be detached' },
      );
      await ns.kubectl('delete', 'pvc', 'external');
      await cluster.kubectl(['delete', 'pv', 'e2e-external']);
    } finally {
      await server.exec('kill $(cat /tmp/external.pid); rm -f /tmp/external.img /tmp/external.pid');
    }
  });
});
