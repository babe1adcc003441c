import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { OUR_IMAGE } from './image/images.ts';
import { ROOT, RUN } from './paths.ts';

export const NAMESPACE = 'aoe-csi';

/** The test bed's values for the chart: our image, the storage interface, pools on the nodes' volume group. */
const VALUES = {
  image: {
    repository: OUR_IMAGE.slice(0, OUR_IMAGE.lastIndexOf(':')),
    tag: OUR_IMAGE.slice(OUR_IMAGE.lastIndexOf(':') + 1),
    pullPolicy: 'Never',
  },
  interfaces: ['vec0'],
  logLevel: 'debug',
  // It takes seconds at each installation; the test of upgrades turns it on.
  crds: { upgrade: false },
  // So that a test can kill what copies in the middle.
  storage: { copySpeed: '8Mi' },
  controller: {
    // Tests make pools, fill them and use them at once.
    provisioner: { capacityPollInterval: '5s' },
    // One test needs it, and to turn it on for that alone takes two upgrades of the chart. Tests that give other values of the
    // controller replace these: upgrades and takeovers are tested without it, as it is by default.
    snapshotMetadata: { enabled: true },
  },
  pools: [
    { name: 'default', backend: 'file', directory: '/var/lib/aoe-csi/pools/default' },
    { name: 'lvm', backend: 'lvm', volumeGroup: 'vg0' },
    { name: 'thin', backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'thin' },
  ],
};

/** Values of the controller for a test that loses a node: its pod is on another one, since its own move would be part of what is seen. */
export const notOn = (node: string) => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'NotIn', values: [node] }] }],
      },
    },
  },
});

/**
 * Installs the chart, or upgrades it, and waits until all its pods are Ready.
 * @param more values beside those of the test bed
 */
export async function installChart(cluster: Cluster, more: object = {}): Promise<string> {
  const values = join(RUN, 'values.json');
  writeFileSync(values, JSON.stringify({ ...VALUES, ...more }));
  const output = await cluster.helm([
    ...['upgrade', '--install', 'aoe-csi', join(ROOT, 'charts/aoe-csi'), '--namespace', NAMESPACE, '--create-namespace'],
    ...['--values', values, '--wait', '--timeout', '600s'],
  ]);
  // Helm is content when one pod of each DaemonSet is not Ready, as an update may leave them.
  await cluster.rolledOut(NAMESPACE);
  return output;
}
