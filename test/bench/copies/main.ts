// The copier beside dd (make bench-copies): a guest of the test bed copies a disk on the segment to a device of its own, once with the
// kernel's driver and dd, and once with the copier, in turn. Then a program reads another disk of the same target, alone and while the
// copier runs without a limit. Variables: ROUNDS (3). Results also go to dist/bench/copies.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEVICE, DriverLab } from '../../driver/driver-lab.ts';
import { SHM } from '../../testbed/paths.ts';
import { sh } from '../../testbed/process/shell.ts';
import { ON_TARGET_CPU } from '../guest/peer.ts';
import { median } from '../statistics.ts';

const MIB = 1 << 20;
/** So large that the start of a job, some tenths of a second in such a guest, hardly counts. */
const SIZE = 384 * MIB;
const SLOT = 5;
const SERIAL = 'COPY';
const NEIGHBOUR_SECONDS = 4;
const LIMIT = { timeoutMs: 180_000 };
const { ROUNDS = '3' } = process.env;
const ROOT = join(import.meta.dirname, '../../..');
const COPIER = join(ROOT, 'dist/cargo/release/aoe-copier');
const INSIDE = join(import.meta.dirname, 'inside.ts');
const READER = join(ROOT, 'test/driver/read-latency-inside.ts');

const source = join(SHM, 'source');
await using lab = await DriverLab.boot({
  mtu: 9000,
  bytes: SIZE,
  memory: '1024M',
  before: ON_TARGET_CPU,
  neighbour: true,
  exports: [`7.${SLOT}=${source},serial=${SERIAL}`],
  prepare: () => sh(`dd if=/dev/urandom of=${source} bs=1M count=${SIZE / MIB} status=none`),
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
const command = `'${process.execPath}' '${INSIDE}' '${COPIER}' ${SLOT} ${SERIAL} ${device} ${SIZE} 0`;
const copy = async (): Promise<{ copyMs: number; verifyMs: number; peakKiB: number }> => JSON.parse(await guest.exec(command, LIMIT));
const read = `'${process.execPath}' '${READER}' /dev/etherd/e7.4 ${NEIGHBOUR_SECONDS}`;

const rounds: Record<'ddMs' | 'copyMs' | 'verifyMs' | 'peakKiB' | 'alone' | 'beside', number>[] = [];
for (let round = 0; round < Number(ROUNDS); round++) {
  const ddMs = await dd();
  const { copyMs, verifyMs, peakKiB } = await copy();
  const alone = Number(await guest.exec(read, LIMIT));
  const beside = Number(
    await guest.exec(
      `(while :; do ${command} >/dev/null 2>&1 || true; done) & loop=$!; sleep 1; ${read}; kill $loop; pkill aoe-copier || true`,
      LIMIT,
    ),
  );
  rounds.push({ ddMs, copyMs, verifyMs, peakKiB, alone, beside });
  console.log(JSON.stringify(rounds.at(-1)));
}
const of = (key: keyof (typeof rounds)[0]): number => median(rounds.map((round) => round[key]));
const mib = (ms: number): string => (SIZE / MIB / (ms / 1000)).toFixed(0);
const goal = (isMet: boolean, text: string): string => `${text} ${isMet ? '✓' : '✗'}`;
const speed = of('ddMs') / of('copyMs');
const latency = of('beside') / of('alone');
console.log(`
| | measured | goal |
| --- | --- | --- |
| dd from the kernel's disk to a local device (MiB/s) | ${mib(of('ddMs'))} | |
| the copier, the same (MiB/s) | ${mib(of('copyMs'))} (${speed.toFixed(2)}) | ${goal(speed >= 0.8, '≥ 0.8')} |
| verification (MiB/s) | ${mib(of('verifyMs'))} | |
| the copier's RSS at most (MiB) | ${(of('peakKiB') / 1024).toFixed(1)} | ${goal(of('peakKiB') <= 32 * 1024, '≤ 32')} |
| 4 KiB read of another volume of that target, p99 (ms), alone | ${of('alone').toFixed(2)} | |
| the same while a copy runs | ${of('beside').toFixed(2)} (${latency.toFixed(2)}) | ${goal(latency <= 2, '≤ 2')} |`);
const RESULTS = join(ROOT, 'dist/bench');
mkdirSync(RESULTS, { recursive: true });
writeFileSync(join(RESULTS, 'copies.json'), `${JSON.stringify({ date: new Date(), rounds }, null, 1)}\n`);
