// What copies are like (make bench-copies). Speed: a guest of the test bed copies a disk on the segment to a device of its own, once with the
// kernel's driver and dd, and once with the copier, in turn. Neighbours: the storage node of that disk, which is the host, copies to
// itself, while the guest reads another disk of the same node. Variables: ROUNDS (3). Results also go to dist/bench/copies.json.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DEVICE, DriverLab } from '../../driver/driver-lab.ts';
import { RUN, SHM } from '../../testbed/paths.ts';
import { startInNetns } from '../../testbed/process/processes.ts';
import { sh } from '../../testbed/process/shell.ts';
import { ON_TARGET_CPU, plug } from '../guest/peer.ts';
import { median } from '../statistics.ts';

const MIB = 1 << 20;
/** So large that the start of a job, some tenths of a second in such a guest, hardly counts. */
const SIZE = 1024 * MIB;
const SLOT = 5;
const SERIAL = 'COPY';
const NEIGHBOUR_SECONDS = 4;
/** Bytes per second. */
const SLOW = 32 * MIB;
const LIMIT = { timeoutMs: 180_000 };
const { ROUNDS = '3' } = process.env;
const ROOT = join(import.meta.dirname, '../../..');
const COPIER = join(ROOT, 'dist/cargo/release/aoe-copier');
const COPY = join(import.meta.dirname, 'copy.ts');
/** The interface of the host's copier. */
const PORT = 'copier0';
const READER = join(ROOT, 'test/driver/read-latency-inside.ts');

const source = join(SHM, 'source');
const destination = join(SHM, 'copy');
await using lab = await DriverLab.boot({
  mtu: 9000,
  bytes: SIZE,
  memory: '2560M',
  before: ON_TARGET_CPU,
  neighbour: true,
  exports: [`7.${SLOT}=${source},serial=${SERIAL}`],
  prepare: () => sh(`dd if=/dev/urandom of=${source} bs=1M count=${SIZE / MIB} status=none; truncate -s ${SIZE} ${destination}`),
});
const { guest } = lab;
// Random data, so that no zeros are left out.
sh(
  `dd if=/dev/urandom of=${lab.disk} bs=1M count=${SIZE / MIB} conv=notrunc status=none; dd if=/dev/urandom of=${join(SHM, 'neighbour')} bs=1M count=${SIZE / MIB} conv=notrunc status=none`,
);
const device = (await guest.exec(`modprobe loop; truncate -s ${SIZE} /tmp/copy; losetup -f --show /tmp/copy`)).trim();
// The pages of the file are there before the first round.
await guest.exec(`dd if=/dev/zero of=${device} bs=1M count=${SIZE / MIB} conv=fsync status=none`);

async function dd(): Promise<number> {
  const copy = `dd if=${DEVICE} of=${device} bs=1M iflag=direct oflag=direct conv=fsync status=none`;
  return Number(await guest.exec(`a=$(date +%s%N); ${copy}; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))`, LIMIT));
}
/** Words of a command that copies the disk. */
const copying = (network: string, to: string, bytesPerSecond: number): string[] =>
  [process.execPath, COPY, COPIER, network, SLOT, SERIAL, to, SIZE, bytesPerSecond].map(String);
const copy = async (): Promise<{ copyMs: number; verifyMs: number; peakKiB: number }> =>
  JSON.parse(await guest.exec(copying('vec0', device, 0).join(' '), LIMIT));

/** The neighbour's latency, alone or while the storage node copies. */
const read = async (): Promise<number> =>
  Number(await guest.exec(`'${process.execPath}' '${READER}' /dev/etherd/e7.4 ${NEIGHBOUR_SECONDS}`, LIMIT));
async function readBeside(bytesPerSecond: number): Promise<number> {
  const [program = '', ...args] = [...ON_TARGET_CPU, ...copying(PORT, destination, bytesPerSecond)];
  const log = join(RUN, 'copies.log');
  const copies = startInNetns(program, [...args, 'again'], { log, env: { ...process.env, TMPDIR: RUN } });
  try {
    await delay(2_000);
    const p99 = await read();
    if (copies.exitCode !== null) throw new Error(`the copy ended: ${readFileSync(log, 'utf8')}`);
    return p99;
  } finally {
    copies.kill();
  }
}

plug(PORT);
const rounds: Record<'ddMs' | 'copyMs' | 'verifyMs' | 'peakKiB' | 'alone' | 'beside' | 'besideSlow', number>[] = [];
for (let round = 0; round < Number(ROUNDS); round++) {
  const ddMs = await dd();
  const { copyMs, verifyMs, peakKiB } = await copy();
  rounds.push({ ddMs, copyMs, verifyMs, peakKiB, alone: await read(), beside: await readBeside(0), besideSlow: await readBeside(SLOW) });
  console.log(JSON.stringify(rounds.at(-1)));
}
const of = (key: keyof (typeof rounds)[0]): number => median(rounds.map((round) => round[key]));
const mib = (ms: number): string => (SIZE / MIB / (ms / 1000)).toFixed(0);
const goal = (isMet: boolean, text: string): string => `${text} ${isMet ? '✓' : '✗'}`;
const speed = of('ddMs') / of('copyMs');
const ratio = (key: 'beside' | 'besideSlow'): number => of(key) / of('alone');
console.log(`
| | measured | goal |
| --- | --- | --- |
| dd from the kernel's disk to a local device (MiB/s) | ${mib(of('ddMs'))} | |
| the copier, the same (MiB/s) | ${mib(of('copyMs'))} (${speed.toFixed(2)}) | ${goal(speed >= 0.8, '≥ 0.8')} |
| verification (MiB/s) | ${mib(of('verifyMs'))} | |
| the copier's RSS at most (MiB) | ${(of('peakKiB') / 1024).toFixed(1)} | ${goal(of('peakKiB') <= 32 * 1024, '≤ 32')} |
| 4 KiB read of another volume of that storage node, p99 (ms), alone | ${of('alone').toFixed(2)} | |
| the same while the node copies without a limit | ${of('beside').toFixed(2)} (${ratio('beside').toFixed(2)}) | |
| the same while it copies ${SLOW / MIB} MiB/s | ${of('besideSlow').toFixed(2)} (${ratio('besideSlow').toFixed(2)}) | ${goal(ratio('besideSlow') <= 2, '≤ 2')} |`);
const RESULTS = join(ROOT, 'dist/bench');
mkdirSync(RESULTS, { recursive: true });
writeFileSync(join(RESULTS, 'copies.json'), `${JSON.stringify({ date: new Date(), rounds }, null, 1)}\n`);
