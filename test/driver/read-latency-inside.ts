// Runs as root inside the guest: reads a disk block by block, each one once, and prints the 99th percentile of the times in milliseconds.
//   node read-latency-inside.ts /dev/etherd/e7.4 SECONDS
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';

const BLOCK = 4096;
const BLOCKS = (64 << 20) / BLOCK;
/** Has no factor in common with the number of blocks, and goes far enough that no two reads are adjacent. */
const STEP = 4099;
const [path = '', seconds] = process.argv.slice(2);
execFileSync('blockdev', ['--setra', '0', path]);
writeFileSync('/proc/sys/vm/drop_caches', '3');
const disk = openSync(path, 'r');
const buffer = Buffer.alloc(BLOCK);
const times: number[] = [];
const end = performance.now() + Number(seconds) * 1000;
for (let at = 0; at < BLOCKS && performance.now() < end; at++) {
  const begun = performance.now();
  readSync(disk, buffer, 0, BLOCK, ((at * STEP) % BLOCKS) * BLOCK);
  times.push(performance.now() - begun);
}
closeSync(disk);
times.sort((a, b) => a - b);
console.log(times[Math.floor(times.length * 0.99)]);
