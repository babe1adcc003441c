// The demo's story: what a person would type, and what comes of it, on the running test bed.
import { aoeSnapshot, aoeVolume, claim, pod, storageClass } from '../e2e/manifests.ts';
import type { Cluster } from '../testbed/cluster.ts';
import { Narrator } from './narrator.ts';

const CLAIM = 'notes';
const BY_HAND = 'by-hand';
const SNAPSHOT = 'before-lunch';
const RESTORED = 'restored';

/** Shows the whole story on a cluster where the chart is installed. The error of a step says what the step waited for. */
export async function tellStory(cluster: Cluster): Promise<void> {
  const narrator = new Narrator(cluster);
  const volume = await aClaimBecomesADisk(narrator);
  await theDataMovesWithThePod(narrator, volume);
  await anotherHostIsRefused(narrator, volume);
  await aDiskWithoutAClaim(narrator);
  await aSnapshotOnAnotherNode(narrator);
  await deletedOnRequest(narrator, volume);
}

/** The node names with the data node first, then two others. */
async function nodesAround(narrator: Narrator, volume: string): Promise<{ data: string; others: [string, string] }> {
  const data = await narrator.read('get', 'aoev', volume, '-o', 'jsonpath={.spec.nodeName}');
  const all = (await narrator.read('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
  const [a, b] = all.filter((name) => name !== data);
  if (!a || !b) throw new Error(`expected three nodes, found ${all.join(', ')}`);
  return { data, others: [a, b] };
}

async function aClaimBecomesADisk(narrator: Narrator): Promise<string> {
  narrator.chapter('A claim becomes a disk');
  await narrator.apply('a StorageClass, a claim and a pod', [
    storageClass('demo', { pool: 'lvm' }, 'Immediate'),
    claim(CLAIM, { storageClass: 'demo', size: '256Mi' }),
  ]);
  await narrator.waitFor('pvc', CLAIM, 'jsonpath={.status.phase}=Bound');
  const volume = await narrator.read('get', 'pvc', CLAIM, '-o', 'jsonpath={.spec.volumeName}');
  const { others } = await nodesAround(narrator, volume);
  await narrator.apply(`a pod on ${others[0]}, which does not hold the data`, [
    pod('writer', {
      claim: CLAIM,
      node: others[0],
      script: 'echo "written by $HOSTNAME" > /data/note; sync; touch /tmp/ready; sleep 3600',
    }),
  ]);
  await narrator.waitFor('pod', 'writer', 'condition=Ready');
  await narrator.showUntil(others[0], 'get', 'aoev');
  await narrator.show('get', 'pod', 'writer', '-o', 'wide');
  const address = await narrator.read('get', 'aoev', volume, '-o', 'jsonpath={.status.address}');
  await narrator.onNode(others[0], `ls -l /dev/etherd/${address}; grep /dev/etherd/${address} /proc/mounts | head -1; aoe-stat`);
  await narrator.showConfigString(address, `node=${others[0]}`, 'the lock, as aoetools read it from the wire');
  return volume;
}

async function theDataMovesWithThePod(narrator: Narrator, volume: string): Promise<void> {
  narrator.chapter('The data moves with the pod');
  const { others } = await nodesAround(narrator, volume);
  await narrator.kubectl('delete', 'pod', 'writer');
  await narrator.apply(`a second pod, on ${others[1]}`, [
    pod('reader', { claim: CLAIM, node: others[1], script: 'cat /data/note; touch /tmp/ready; sleep 3600' }),
  ]);
  await narrator.waitFor('pod', 'reader', 'condition=Ready');
  await narrator.showUntil('written by', 'logs', 'reader');
  await narrator.showUntil(others[1], 'get', 'aoev', volume);
}

async function anotherHostIsRefused(narrator: Narrator, volume: string): Promise<void> {
  narrator.chapter('One host at a time');
  const { others } = await nodesAround(narrator, volume);
  await narrator.apply(`a pod that wants the same volume on ${others[0]}`, [
    pod('intruder', { claim: CLAIM, node: others[0], script: 'touch /tmp/ready; sleep 3600' }),
  ]);
  await narrator.showEvent('intruder', 'FailedAttachVolume');
  await narrator.apply('the same past Kubernetes’ own check, straight to the driver', [
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'VolumeAttachment',
      metadata: { name: 'intruder' },
      spec: { attacher: 'aoe.dev', nodeName: others[0], source: { persistentVolumeName: volume } },
    },
  ]);
  await narrator.waitForText('volumeattachment', 'intruder', 'jsonpath={.status.attachError.message}', others[1]);
  await narrator.kubectl('delete', 'volumeattachment', 'intruder');
  await narrator.kubectl('delete', 'pod', 'intruder');
}

async function aDiskWithoutAClaim(narrator: Narrator): Promise<void> {
  narrator.chapter('A disk without a claim, for a host that Kubernetes does not know');
  const mac = (await narrator.cluster.guest('worker-1').exec('cat /sys/class/net/vec0/address')).trim();
  await narrator.apply(`an AoEVolume for the host with the MAC ${mac}`, [
    aoeVolume(BY_HAND, { capacity: '32Mi', pool: 'thin', initiators: { macs: [mac] } }),
  ]);
  await narrator.waitFor('aoev', BY_HAND, 'condition=Ready');
  await narrator.show('get', 'aoev', BY_HAND);
  const address = await narrator.read('get', 'aoev', BY_HAND, '-o', 'jsonpath={.status.address}');
  await narrator.onNode(
    'worker-1',
    `aoe-discover; timeout 10 sh -c 'until [ -b /dev/etherd/${address} ]; do aoe-discover; done'; aoe-stat
     mkfs.ext4 -q /dev/etherd/${address} && mkdir -p /mnt/by-hand && mount /dev/etherd/${address} /mnt/by-hand && df -h /mnt/by-hand
     echo "written at noon" > /mnt/by-hand/note; umount /mnt/by-hand; aoe-flush ${address}`,
    'attach it by hand with aoetools',
  );
}

async function aSnapshotOnAnotherNode(narrator: Narrator): Promise<void> {
  narrator.chapter('A snapshot, restored on another node');
  const from = await narrator.read('get', 'aoev', BY_HAND, '-o', 'jsonpath={.spec.nodeName}');
  const to = ['storage-1', 'storage-2'].find((name) => name !== from) ?? '';
  await narrator.apply('a snapshot of it', [aoeSnapshot(SNAPSHOT, BY_HAND)]);
  await narrator.waitFor('aoesnapshot', SNAPSHOT, 'jsonpath={.status.phase}=Ready');
  const mac = (await narrator.cluster.guest('worker-1').exec('cat /sys/class/net/vec0/address')).trim();
  await narrator.apply(`a volume that begins with its data, in another pool and on ${to}`, [
    aoeVolume(RESTORED, {
      capacity: '32Mi',
      pool: 'lvm',
      nodeName: to,
      source: { snapshot: SNAPSHOT },
      initiators: { macs: [mac] },
    }),
  ]);
  await narrator.waitFor('aoev', RESTORED, 'condition=Ready');
  await narrator.show('get', 'aoev');
  const address = await narrator.read('get', 'aoev', RESTORED, '-o', 'jsonpath={.status.address}');
  await narrator.onNode(
    'worker-1',
    `timeout 10 sh -c 'until [ -b /dev/etherd/${address} ]; do aoe-discover; sleep 0.2; done'
     mount /dev/etherd/${address} /mnt/by-hand && cat /mnt/by-hand/note; umount /mnt/by-hand; aoe-flush ${address}`,
    'what is on the restored disk',
  );
  await narrator.kubectl('delete', 'aoev', BY_HAND, RESTORED);
  await narrator.kubectl('delete', 'aoesnapshot', SNAPSHOT);
}

async function deletedOnRequest(narrator: Narrator, volume: string): Promise<void> {
  narrator.chapter('The claim is deleted: so are volume, export and lock');
  const { data } = await nodesAround(narrator, volume);
  await narrator.onNode(data, 'lvs -o lv_name,lv_size,lv_tags --noheadings vg0', 'before');
  await narrator.kubectl('delete', 'pod', 'reader');
  await narrator.kubectl('delete', 'pvc', CLAIM);
  await narrator.waitForGone('aoev', volume);
  await narrator.onNode(data, 'lvs -o lv_name,lv_size,lv_tags --noheadings vg0', 'after');
  await narrator.show('get', 'aoev,pv');
  await narrator.kubectl('delete', 'storageclass', 'demo');
}
