// Through the real driver (make bench-guest): a guest of the test bed with the kernel's aoe driver, our target and vblade on the host,
// each with a disk in memory and a durable one. Needs fio. Variable: ROUNDS (3). Results also go to dist/bench/guest.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverLab } from '../driver/lab.ts';
import { RUN, SHM } from '../testbed/paths.ts';
import { startInNetns } from '../testbed/processes.ts';
import { poll, shInNetns } from '../testbed/shell.ts';
import { DISK } from './side-by-side.ts';
import { median } from './statistics.ts';
import { TARGET_PROGRAM } from './targets.ts';

const MIB = 1 << 20;
const SIZE = 256 * MIB;
const RESULTS = join(import.meta.dirname, '../../dist/bench');
const rounds = Number(process.env.ROUNDS ?? '3');

interface Measurement {
  what: string;
  durable: boolean;
  unit: string;
  /** Script in the guest, with DEVICE for the device; prints one number. */
  script: string;
  /** How many times better than vblade it should be. */
  goal: number;
  less?: boolean;
}

const fio = (options: string, value: string): string =>
  `fio --name=x --filename=DEVICE --direct=1 --ioengine=libaio --runtime=3 --time_based --output-format=json ${options} | jq '.jobs[0].${value}'`;

const MEASUREMENTS: readonly Measurement[] = [
  { what: '4 KiB random read, QD1', durable: false, unit: 'IOPS', script: fio('--rw=randread --bs=4k --iodepth=1', 'read.iops'), goal: 1 },
  {
    what: '4 KiB random read, QD16',
    durable: false,
    unit: 'IOPS',
    script: fio('--rw=randread --bs=4k --iodepth=16', 'read.iops'),
    goal: 1,
  },
  { what: '128 KiB read, QD4', durable: false, unit: 'KiB/s', script: fio('--rw=read --bs=128k --iodepth=4', 'read.bw'), goal: 1 },
  { what: '128 KiB write, QD4', durable: false, unit: 'KiB/s', script: fio('--rw=write --bs=128k --iodepth=4', 'write.bw'), goal: 1 },
  {
    what: 'durable 4 KiB random write and fsync',
    durable: true,
    unit: 'IOPS',
    script: fio('--rw=randwrite --bs=4k --iodepth=1 --fsync=1', 'write.iops'),
    goal: 1.2,
  },
  {
    what: 'mkfs.ext4 on a durable disk',
    durable: true,
    unit: 'ms',
    script: 'a=$(date +%s%N); mkfs.ext4 -q -F DEVICE; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))',
    less: true,
    goal: 3.9,
  },
];

/** Slots of shelf 7 behind which each target has its disks: in memory, durable. */
const SLOTS = { 'aoe-target': [3, 5], vblade: [4, 6] } as const;
type Name = keyof typeof SLOTS;
const NAMES = ['aoe-target', 'vblade'] as const;

await using lab = await DriverLab.boot({ mtu: 9000, bytes: SIZE });
await using folder = await mkdtempDisposable(join(DISK, 'aoe-bench-'));
const file = async (directory: string, name: string): Promise<string> => {
  const path = join(directory, name);
  await writeFile(path, '');
  await truncate(path, SIZE);
  return path;
};
/** On an interface of its own on the guest's segment: so no target looks at what is for another. */
const start = (port: string, command: string, ...args: string[]): void => {
  shInNetns(`
    ip link add ${port} mtu 9000 type veth peer name ${port}-b mtu 9000
    ip link set ${port}-b master storage up; ip link set ${port} up`);
  startInNetns(command, args, { log: join(RUN, 'peers.log') });
};
start('target2', 'vblade', '-b', '128', '7', '4', 'target2', await file(SHM, 'vblade'));
start('target3', 'vblade', '-b', '128', '-s', '7', '6', 'target3', await file(folder.path, 'vblade'));
start('target4', TARGET_PROGRAM, '--interface', 'target4', '--export', `7.5=${await file(folder.path, 'ours')}`);

const device = (name: Name, durable: boolean): string => `/dev/etherd/e7.${SLOTS[name][durable ? 1 : 0]}`;
const all = NAMES.flatMap((name) => [device(name, false), device(name, true)]);
await poll(
  async () => {
    const there = await lab.guest.exec(`echo > /dev/etherd/discover; for d in ${all.join(' ')}; do [ -b $d ] || exit 0; done; echo yes`);
    return there.includes('yes') || undefined;
  },
  { timeoutMs: 20_000, what: 'the guest to find all disks' },
);
for (const disk of all) await lab.guest.exec(`dd if=/dev/zero of=${disk} bs=1M oflag=direct 2>/dev/null || true`, { timeoutMs: 120_000 });

const results: { what: string; unit: string; goal: number; medians: Record<Name, number>; ratio: number }[] = [];
for (const { what, durable, unit, script, goal, less = false } of MEASUREMENTS) {
  const values: Record<Name, number[]> = { 'aoe-target': [], vblade: [] };
  for (let round = 0; round < rounds; round++) {
    for (const name of NAMES) values[name].push(Number(await lab.guest.exec(script.replaceAll('DEVICE', device(name, durable)))));
  }
  const medians = { 'aoe-target': median(values['aoe-target']), vblade: median(values.vblade) };
  const ratio = less ? medians.vblade / medians['aoe-target'] : medians['aoe-target'] / medians.vblade;
  results.push({ what, unit, goal, medians, ratio });
  console.log(`| ${what} (${unit}) | ${medians['aoe-target'].toFixed(1)} | ${medians.vblade.toFixed(1)} | ${ratio.toFixed(2)} | ${goal} |`);
}
mkdirSync(RESULTS, { recursive: true });
writeFileSync(join(RESULTS, 'guest.json'), `${JSON.stringify({ date: new Date(), rounds, results }, null, 1)}\n`);
