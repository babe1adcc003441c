import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BROKEN_SANITY_SPEC, describeOutcomes, outcomesOf, unexplainedSkips } from '../k8s-storage/report.ts';
import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { KIT } from '../testbed/kit.ts';

/** In the guest, so that there is a log of what took longer; less than the limit of a test. */
const LIMIT_S = 1500;

interface Leaving {
  kind: string;
  metadata: { name: string; deletionTimestamp?: string };
  spec: { persistentVolumeReclaimPolicy?: string };
  status?: { phase?: string };
}

/** kubernetes-csi/csi-test against the whole driver: its three services, real volumes, the kernel's driver, mounts. */
describe('csi-sanity', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.attach();
  });

  /** What is being deleted, or will be: a PersistentVolume without a claim. */
  const leaving = async (): Promise<string[]> => {
    const { items } = JSON.parse(await cluster.kubectl(['get', 'pv,aoev,aoesnapshots', '-o', 'json'])) as { items: Leaving[] };
    return items
      .filter(({ metadata, spec, status }) => {
        const isReleased = status?.phase === 'Released' && spec.persistentVolumeReclaimPolicy === 'Delete';
        return isReleased || metadata.deletionTimestamp !== undefined;
      })
      .map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  };

  it('passes', async () => {
    // A test before this one may have restarted the node of the controller.
    await cluster.rolledOut(NAMESPACE);
    // It may have left volumes that are still being deleted, too, and specs count what there is.
    await cluster.poll(async () => ((await leaving()).length === 0 ? true : undefined), {
      timeoutMs: 120_000,
      what: 'volumes and snapshots that are being deleted to be gone',
      explain: async () => (await leaving()).join('\n'),
    });
    const selector = `app.kubernetes.io/component=controller`;
    const found = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', selector, '-o', 'json']);
    const [controller] = JSON.parse(found).items.filter(({ metadata }: { metadata: object }) => !('deletionTimestamp' in metadata));
    // Where the controller runs its socket can be reached, and the node plugin's as well.
    const guest = cluster.guest(controller.spec.nodeName);
    const sockets = `/var/lib/kubelet/pods/${controller.metadata.uid}/volumes/kubernetes.io~empty-dir/socket`;
    // Only mounts below the kubelet's folder reach the host from the node plugin.
    const folder = '/var/lib/kubelet/csi-sanity';
    const output = await guest.exec(
      `mkdir -p ${folder}; printf 'pool: thin\\n' > ${folder}/parameters.yaml
printf 'iops: "100"\\nbytesPerSecond: 10Mi\\n' > ${folder}/mutable.yaml
code=0; timeout ${LIMIT_S} ${join(KIT, 'csi-sanity')} --ginkgo.no-color --ginkgo.skip='${BROKEN_SANITY_SPEC}' \\
  --csi.endpoint=unix:///var/lib/kubelet/plugins/aoe.dev/csi.sock --csi.controllerendpoint=unix://${sockets}/csi.sock \\
  --csi.mountdir=${folder}/target --csi.stagingdir=${folder}/staging \\
  --csi.testvolumeparameters=${folder}/parameters.yaml --csi.testvolumesize=${64 << 20} \\
  --csi.testvolumemutableparameters=${folder}/mutable.yaml \\
  --ginkgo.json-report=/host/csi-sanity.json > ${folder}/log 2>&1 || code=$?
tail -c 8000 ${folder}/log; rm -r ${folder}; echo "exit code $code"`,
      { timeoutMs: (LIMIT_S + 20) * 1000 },
    );
    expect(output, output).toMatch(/exit code 0\n$/);
    const outcomes = [...outcomesOf(readFileSync(join(guest.directory, 'csi-sanity.json'), 'utf8')).values()];
    console.log(describeOutcomes(outcomes));
    // None was skipped for a capability that went missing. Snapshots and clones need a pool that can take them.
    expect(outcomes.filter(({ state }) => state === 'passed').length, output).toBeGreaterThanOrEqual(70);
    expect(unexplainedSkips(outcomes)).toStrictEqual([]);
    expect(await cluster.kubectl(['get', 'aoev,aoesnapshots', '-o', 'name'])).not.toMatch(/sanity/);
  });
});
