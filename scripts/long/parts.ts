import { join } from 'node:path';
import { ROOT } from '../suites/suite.ts';

/** A test that is too long for `make test`, or not yet steady enough for it. */
export interface Part {
  readonly name: string;
  /** What it shows, for the table in docs/long-tests.md. */
  readonly shows: string;
  readonly usually: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly limitMinutes: number;
}

const script = (path: string, ...args: string[]): string[] => [process.execPath, join(ROOT, path), ...args];
const jest = join(ROOT, 'node_modules/.bin/jest');

/** In the order in which they run: short ones first. */
export const PARTS: readonly Part[] = [
  {
    name: 'groups-lab',
    shows: '200 groups of snapshots while real programs are killed: each is consistent or does not exist',
    usually: '15 minutes',
    argv: [jest, '--selectProjects', 'faults-fast', '--testPathPatterns', 'groups/lab', '--testTimeout', '3600000'],
    env: { SNAPSHOT_GROUPS: '200', SEED: '2026' },
    limitMinutes: 70,
  },
  {
    name: 'fuzz',
    shows: 'ten minutes of hostile frames for each entry of the target',
    usually: '25 minutes',
    argv: script('scripts/fuzz.ts'),
    env: { SECONDS: '600' },
    limitMinutes: 60,
  },
  {
    name: 'limits',
    shows: 'limits from 50 IOPS to half of full speed with the Linux driver, at MTU 1500 and 9000, and the latency of a neighbour',
    usually: '4 minutes',
    argv: [jest, '--selectProjects', 'driver', '--testPathPatterns', 'driver/limits'],
    env: { LIMITS: 'all' },
    limitMinutes: 20,
  },
  {
    name: 'install',
    shows: 'a release is installed from its packed chart on a new cluster, and how long it takes until a pod has written to its volume',
    usually: '5 minutes',
    argv: script('test/release/install.ts'),
    env: { AOE_CSI_CLUSTER: 'install' },
    limitMinutes: 40,
  },
  {
    name: 'arm64',
    shows:
      'a release for arm64 that is built on amd64: its programs start in an emulator, and the unit tests of target and copier pass there',
    usually: '25 minutes',
    argv: [jest, '--selectProjects', 'release', '--testPathPatterns', 'release/arm64'],
    env: { ARM64: '1' },
    limitMinutes: 120,
  },
  {
    name: 'monitoring',
    shows:
      'a real Prometheus reads the cluster: every panel and rule finds series, and every alert fires because of a real fault and resolves',
    usually: '20 minutes',
    argv: script('scripts/test.ts', 'e2e', 'monitoring'),
    env: { MONITORING: '1' },
    limitMinutes: 60,
  },
  {
    name: 'encryption',
    shows: 'encrypted volumes on the cluster, with clones, raw block devices and a takeover',
    usually: '10 minutes',
    argv: script('scripts/test.ts', 'e2e', 'encryption'),
    env: { LONG: '1' },
    limitMinutes: 60,
  },
  {
    name: 'moved-disks',
    shows: 'the disks of a storage node that is gone are in another node',
    usually: '6 minutes',
    argv: script('scripts/test.ts', 'e2e', 'moved-disks'),
    env: { LONG: '1' },
    limitMinutes: 40,
  },
  {
    name: 'e2e',
    shows:
      'the single end-to-end tests that take minutes: of data that is kept, shared growth, strangers at an address, full pools, schedules for free space',
    usually: '30 minutes',
    argv: script(
      'scripts/test.ts',
      'e2e',
      ...['data-kept', 'grow', 'e2e/free-space', 'e2e/volume.test', 'e2e/volume-snapshot', 'e2e/testbed'],
    ),
    env: { LONG: '1' },
    limitMinutes: 90,
  },
  {
    name: 'takeover',
    shows: 'takeover from a crashed node, ten times; from one that hangs, and from one whose Node was deleted',
    usually: '15 minutes',
    argv: script('scripts/test.ts', 'e2e', 'takeover.test'),
    env: { LONG: '1', ROUNDS: '10' },
    limitMinutes: 60,
  },
  {
    name: 'takeover-automatic',
    shows: 'volumes of a silent node are taken over by themselves, and those of a node that is heard are not',
    usually: '15 minutes',
    argv: script('scripts/test.ts', 'e2e', 'takeover-automatic'),
    env: { LONG: '1' },
    limitMinutes: 60,
  },
  {
    name: 'groups',
    shows: '50 groups of snapshots on the cluster, with programs killed meanwhile',
    usually: '20 minutes',
    argv: script('scripts/test.ts', 'e2e', 'snapshot-group'),
    env: { SNAPSHOT_GROUPS: '50' },
    limitMinutes: 90,
  },
  {
    name: 'faults-fast',
    shows: '10,000 steps of random faults with real programs and fake hosts',
    usually: '150 minutes',
    argv: script('scripts/test.ts', 'faults-fast'),
    env: { SEED: '2026', STEPS: '10000' },
    limitMinutes: 360,
  },
  {
    name: 'faults',
    shows: '100 steps of random faults on the cluster',
    usually: '60 minutes',
    argv: script('scripts/test.ts', 'faults'),
    env: { SEED: '2026', STEPS: '100' },
    limitMinutes: 240,
  },
  {
    name: 'k8s-storage',
    shows: "Kubernetes' storage suite, all of it",
    usually: 'hours',
    argv: script('test/k8s-storage/main.ts'),
    env: {},
    limitMinutes: 600,
  },
];
