import { DRIVER, StorageSuite } from '../k8s-storage/suite.ts';
import { Cluster } from '../testbed/cluster.ts';

/** The whole suite takes hours: make test-k8s-storage. These are of its parts that find the most. */
const SPECS = [
  '[Testpattern: Dynamic PV (default fs)] volumes should store data',
  '[Testpattern: Dynamic PV (block volmode)] volumes should store data',
  '[Testpattern: Dynamic PV (default fs)] subPath should support existing single file [LinuxOnly]',
  '[Testpattern: Dynamic PV (default fs)] read-write-once-pod should block a second pod from using an in-use ReadWriteOncePod volume on the same node',
];

describe("Kubernetes' storage suite", () => {
  let cluster: Cluster;
  let suite: StorageSuite;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    suite = await StorageSuite.build();
    await suite.installImages(cluster);
  }, 1_800_000);

  for (const name of SPECS)
    it(name, async () => {
      const outcomes = await suite.runSpecs(cluster, DRIVER, [name]);
      expect([...outcomes.values()]).toStrictEqual([expect.objectContaining({ state: 'passed' })]);
    }, 300_000);
});
