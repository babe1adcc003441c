import { customResourceDefinitions } from '../../api/schema/crds.ts';
import { kitVersion } from '../testbed/kit.ts';
import { GROUP_SNAPSHOT_API, type Manifest, of, render, SNAPSHOT_API } from './helm.ts';
import { OpenAPI } from './openapi.ts';

/** Kinds of other projects, which Kubernetes' definitions do not have. */
const OF_OTHERS = /^(monitoring\.coreos\.com|snapshot\.storage\.k8s\.io|groupsnapshot\.storage\.k8s\.io)\//;

/**
 * The oldest version that the chart supports, the newest that it is tested with, and the first release of each minor version between them:
 * what fits that fits its later releases, since an API gains fields only with a minor version.
 */
const VERSIONS = ['1.31.14', '1.32.0', '1.33.0', '1.34.0', '1.35.0', '1.36.0', kitVersion('k8s.io/kubernetes').replace(/^v/, '')];

/** Values that switch on everything that the chart has. */
const EVERYTHING = {
  imagePullSecrets: [{ name: 'pull' }],
  interfaces: ['eth1'],
  controller: {
    replicas: 3,
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' }],
    podAnnotations: { a: 'b' },
    podLabels: { c: 'd' },
    operator: { extraArgs: ['--log-level=debug'], extraEnv: [{ name: 'A', value: 'b' }] },
  },
  node: { module: { parameters: { aoe_deadsecs: 600 } } },
  storage: { directories: ['/srv/aoe'] },
  pools: [
    { name: 'default', backend: 'file', directory: '/var/lib/aoe-csi/pools/default', reserve: '15%' },
    { name: 'fast', backend: 'lvm', volumeGroup: 'nvme', wipe: 'Ends', nodeSelector: { disk: 'nvme' } },
    { name: 'thin', backend: 'lvm-thin', volumeGroup: 'hdd', thinPool: 'thin' },
  ],
  storageClasses: [
    {
      name: 'aoe',
      isDefault: true,
      labels: { team: 'storage' },
      annotations: { 'example.org/note': 'x' },
      mountOptions: ['noatime'],
      allowedTopologies: [{ matchLabelExpressions: [{ key: 'aoe.dev/segment', values: ['default'] }] }],
    },
  ],
  volumeSnapshotClasses: [{ name: 'aoe', labels: { 'velero.io/csi-volumesnapshot-class': 'true' } }],
  metrics: { podMonitor: { enabled: true }, dashboards: { enabled: true }, prometheusRule: { enabled: true } },
  networkPolicy: { enabled: true, from: [{ namespaceSelector: { matchLabels: { a: 'b' } } }] },
};

describe.each(VERSIONS)('the objects of the chart in Kubernetes %s', (kubeVersion) => {
  let api: OpenAPI;
  let manifests: Manifest[];
  beforeAll(async () => {
    api = OpenAPI.ofKubernetes(kubeVersion).withCRDs(customResourceDefinitions());
    manifests = await render(EVERYTHING, { kubeVersion, apis: [...SNAPSHOT_API, ...GROUP_SNAPSHOT_API] });
  }, 300_000);

  it('fit its API, with every value in use', () => {
    const ours = manifests.filter(({ apiVersion }) => !OF_OTHERS.test(apiVersion));
    expect(ours.length).toBeGreaterThan(25);
    expect(ours.flatMap((manifest) => api.problems(manifest))).toStrictEqual([]);
  });

  it('fit its API as they are by default', async () => {
    expect((await render({}, { kubeVersion })).flatMap((manifest) => api.problems(manifest))).toStrictEqual([]);
  });

  it('are checked: a wrong field is found', () => {
    const spoiled = structuredClone(of(manifests, 'Deployment', 'aoe-csi-controller'));
    spoiled.spec.replicas = '3';
    spoiled.spec.template.spec.hostNetworks = true;
    delete spoiled.spec.selector;
    expect(api.problems(spoiled)).toStrictEqual([
      'Deployment aoe-csi-controller.spec.selector: is missing',
      'Deployment aoe-csi-controller.spec.replicas: is not a whole number',
      'Deployment aoe-csi-controller.spec.template.spec.hostNetworks: there is no such field',
    ]);
    const pool = structuredClone(of(manifests, 'AoEPool', 'thin'));
    pool.spec.backend = 'zfs';
    expect(api.problems(pool)).toStrictEqual([expect.stringContaining('AoEPool thin.spec.backend: "zfs" is not one of')]);
  });
});

describe('values of classes and of spreading', () => {
  it('give classes labels and annotations, and a spread its selector', async () => {
    const all = await render(EVERYTHING, { apis: SNAPSHOT_API });
    expect(of(all, 'StorageClass', 'aoe').metadata).toMatchObject({
      labels: { team: 'storage', 'app.kubernetes.io/name': 'aoe-csi' },
      annotations: { 'storageclass.kubernetes.io/is-default-class': 'true', 'example.org/note': 'x' },
    });
    expect(of(all, 'VolumeSnapshotClass', 'aoe').metadata.labels['velero.io/csi-volumesnapshot-class']).toBe('true');
    const { selector, template } = of(all, 'Deployment', 'aoe-csi-controller').spec;
    expect(template.spec.topologySpreadConstraints).toStrictEqual([
      {
        maxSkew: 1,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: selector.matchLabels },
      },
    ]);
  });
});
