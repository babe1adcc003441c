// Through Linux's own drivers (make bench-guest): a guest of the test bed, and on the host our target, vblade, nbdkit (NBD) and tgt
// (iSCSI), all over the same two files: a disk in memory and a durable one. What is not installed is left out. Needs fio.
// Variables: ROUNDS (3); PEERS, names of others to measure (all). Results also go to dist/bench/guest.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverLab } from '../../driver/driver-lab.ts';
import { sh } from '../../testbed/process/shell.ts';
import { DISK } from '../side-by-side.ts';
import { DURABLE, ours, vblade } from './aoe.ts';
import { tgt } from './iscsi.ts';
import { LOADS } from './loads.ts';
import { nbdkit } from './nbd.ts';
import { type Disks, missing, type Name, ON_TARGET_CPU, type Peer } from './peer.ts';
import { head, type Row, row } from './table.ts';

const SIZE = 256 << 20;
const RESULTS = join(import.meta.dirname, '../../../dist/bench');
const { ROUNDS = '3', PEERS = 'vblade nbdkit tgt' } = process.env;
const targets = [ours, ...[vblade, nbdkit, tgt].filter(({ name }) => PEERS.includes(name))];
const names = targets.map(({ name }) => name);

await using folder = await mkdtempDisposable(join(DISK, 'aoe-bench-'));
const durable = join(folder.path, 'disk');
await writeFile(durable, '');
sh(`truncate -s ${SIZE} ${durable}`);
await using lab = await DriverLab.boot({ mtu: 9000, bytes: SIZE, before: ON_TARGET_CPU, exports: [`${DURABLE}=${durable}`] });
const files: Disks = { memory: lab.disk, durable };
for (const file of Object.values(files)) sh(`dd if=/dev/zero of=${file} bs=1M count=${SIZE >> 20} conv=notrunc,fsync status=none`);

/** The guest's devices, or why there are none. */
async function attach(target: Peer): Promise<Disks | undefined> {
  try {
    const absent = missing(target.programs);
    if (absent) throw new Error(`${absent} is not installed: scripts/prerequisites bench`);
    return await target.attach(lab, files);
  } catch (error) {
    if (target === ours) throw error;
    console.log(`${target.name} is not measured: ${String(error)}`);
    return undefined;
  }
}

const devices: Partial<Record<Name, Disks>> = {};
for (const target of targets) {
  const disks = await attach(target);
  if (disks) devices[target.name] = disks;
}

const rows: Row[] = [];
console.log(head(names));
for (const load of LOADS) {
  const values: Row['values'] = {};
  for (let round = 0; round < Number(ROUNDS); round++) {
    for (const [name, disks] of Object.entries(devices) as [Name, Disks][]) {
      const value = Number(await lab.guest.exec(load.script.replaceAll('DEVICE', disks[load.disk])));
      values[name] = [...(values[name] ?? []), value];
    }
  }
  rows.push({ load, values });
  console.log(row({ load, values }, names));
}
mkdirSync(RESULTS, { recursive: true });
writeFileSync(join(RESULTS, 'guest.json'), `${JSON.stringify({ date: new Date(), rounds: Number(ROUNDS), rows }, null, 1)}\n`);
