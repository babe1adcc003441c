import { Cluster } from '../testbed/cluster.ts';
import { installChart, NAMESPACE } from '../testbed/install.ts';
import { claim, pod, RECORDER, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

interface PodList {
  items: { metadata: { uid: string; labels: Record<string, string>; deletionTimestamp?: string } }[];
}

describe('the chart', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let volume: string;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'upgrade');
    await cluster.apply([storageClass('upgrade', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([claim('data', { storageClass: 'upgrade' }), pod('recorder', { claim: 'data', node: 'worker-1', script: RECORDER })]);
    await ns.ready('recorder');
    volume = await ns.volumeOf('data');
  });
  afterAll(async () => {
    // Also when a test failed half-way: what follows needs it as it was.
    if (cluster) await installChart(cluster);
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'upgrade', '--ignore-not-found']);
  });

  /** UIDs of the release's pods, by component. */
  async function podsByComponent(): Promise<Map<string, Set<string>>> {
    const { items } = JSON.parse(await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-o', 'json'])) as PodList;
    const found = new Map<string, Set<string>>();
    for (const { metadata } of items) {
      const component = metadata.labels['app.kubernetes.io/component'] ?? '';
      if (!metadata.deletionTimestamp) found.set(component, (found.get(component) ?? new Set()).add(metadata.uid));
    }
    return found;
  }

  /** Columns of `kubectl get aoepools`. */
  async function columns(): Promise<unknown> {
    return (await cluster.getJson('crd', 'aoepools.aoe.dev')).spec.versions[0].additionalPrinterColumns;
  }

  /** Makes the CRDs those of a chart whose AoEPools show no columns. */
  async function makeDefinitionsOld(): Promise<void> {
    const removal = [{ op: 'remove', path: '/spec/versions/0/additionalPrinterColumns' }];
    await cluster.kubectl(['patch', 'crd', 'aoepools.aoe.dev', '--type=json', '-p', JSON.stringify(removal)]);
  }

  it('is upgraded without an effect on I/O: all is replaced but the targets, and the CRDs are those of the chart', async () => {
    const old = await podsByComponent();
    await makeDefinitionsOld();
    const changed = { podAnnotations: { 'example.org/changed': 'yes' } };
    await installChart(cluster, { crds: { upgrade: true }, controller: changed, node: changed, storage: changed });
    expect(await columns()).not.toBeUndefined();
    const now = await podsByComponent();
    expect(now.get('target')).toStrictEqual(old.get('target'));
    for (const component of ['controller', 'node', 'agent']) {
      const kept = [...(old.get(component) ?? [])].filter((uid) => now.get(component)?.has(uid));
      expect(old.get(component)?.size ?? 0, component).toBeGreaterThan(0);
      expect(kept.length, component).toBe(0);
    }
    const lines = (await ns.kubectl('exec', 'recorder', '--', 'cat', '/data/records')).trim().split('\n');
    expect(lines.length).toBeGreaterThan(20);
    lines.forEach((line, index) => {
      expect(Number(line.split(' ')[0])).toBe(index + 1);
    });
    await cluster.heldBy(volume, 'worker-1');
  });

  it('passes helm test', async () => {
    expect(await cluster.helm(['test', 'aoe-csi', '--namespace', NAMESPACE, '--timeout', '400s'])).toMatch(/Phase:\s+Succeeded/);
  });

  it('is uninstalled and installed again, serves the same volumes at the same addresses, and brings its CRDs', async () => {
    const { address } = (await cluster.getJson('aoev', volume)).spec;
    const last = (await ns.kubectl('exec', 'recorder', '--', 'tail', '-n', '1', '/data/records')).trim();
    await ns.kubectl('delete', 'pod', 'recorder', '--grace-period=1');
    await cluster.poll(async () => (await cluster.getJson('aoev', volume)).spec.initiators?.nodes === undefined || undefined, {
      timeoutMs: 60_000,
      what: `${volume} to be detached`,
    });
    await cluster.helm(['uninstall', 'aoe-csi', '--namespace', NAMESPACE, '--wait', '--timeout', '400s']);
    expect((await cluster.getJson('aoev', volume)).spec.address).toStrictEqual(address);
    await makeDefinitionsOld();
    await installChart(cluster, { crds: { upgrade: true } });
    expect(await columns()).not.toBeUndefined();
    await ns.apply([
      pod('reader', { claim: 'data', node: 'worker-1', script: `grep -q '^${last}$' /data/records && touch /tmp/ready; sleep 999` }),
    ]);
    await ns.ready('reader', 90_000);
    expect((await cluster.getJson('aoev', volume)).spec.address).toStrictEqual(address);
  });
});
