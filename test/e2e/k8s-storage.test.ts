import { DRIVER, StorageSuite, THIN_CLASS, THIN_DRIVER } from '../k8s-storage/suite.ts';
import { Cluster } from '../testbed/cluster.ts';

/** The whole suite takes hours: make test-k8s-storage. These show what no other test here does. */
const DEFAULT_POOL = [
  '[Testpattern: Dynamic PV (default fs)] subPath should support existing single file [LinuxOnly]',
  '[Testpattern: Dynamic PV (default fs)] read-write-once-pod should block a second pod from using an in-use ReadWriteOncePod volume on the same node',
];
const SNAPSHOTS = [
  '[Testpattern: Dynamic PV (default fs)] provisioning should provision correct filesystem size when restoring snapshot to larger size pvc [Feature:VolumeSnapshotDataSource]',
];
const SPECS = [...DEFAULT_POOL.map((name) => [DRIVER, name] as const), ...SNAPSHOTS.map((name) => [THIN_DRIVER, name] as const)];

describe("Kubernetes' storage suite", () => {
  let cluster: Cluster;
  let suite: StorageSuite;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    suite = await StorageSuite.build();
    await suite.installImages(cluster);
    await cluster.apply([THIN_CLASS]);
  }, 1_800_000);

  afterAll(() => cluster?.kubectl(['delete', 'storageclass', 'storage-suite-thin', '--ignore-not-found']));

  for (const [driver, name] of SPECS)
    it(name, async () => {
      const outcomes = await suite.runSpecs(cluster, driver, [name]);
      expect([...outcomes.values()]).toStrictEqual([expect.objectContaining({ state: 'passed' })]);
    });
});
