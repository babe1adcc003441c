// Runs as root inside the guest: does with a real disk and a real kernel what the node plugin does with a volume that has authenticated encryption.
//   node authenticated-inside.ts begin | tampered | open | end

import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { formatQuantity } from '../../api/quantity.ts';
import { Passphrase } from '../../csi/node/encryption/passphrase.ts';
import { zeroAll } from '../../csi/node/encryption/zero-all.ts';
import { exec } from '../../run/exec.ts';
import { PATIENCE } from '../testbed/process/patience.ts';
import { ADDRESS, DEVICE, disk, encryption, filesystems, mounter, name, outcomeOf, UUID } from './encrypted-disk.ts';

const [command] = process.argv.slice(2);
const NODE = '/tmp/authenticated-node';
const BLOCK = 4096;
const MIB = 1 << 20;
const passphrase = new Passphrase('correct horse');
const signal = AbortSignal.timeout(500_000);

/** What each block holds: its number, all over. */
const patternOf = (block: number): Buffer => Buffer.alloc(BLOCK, `block ${block} `);

/** Reads blocks of a mapping one by one. */
async function readBlocks(path: string, blocks: readonly number[], expected: (block: number) => Buffer) {
  const counts = { right: 0, wrong: 0, EIO: 0 };
  await using file = await open(path);
  const read = Buffer.alloc(BLOCK);
  for (const block of blocks) {
    const what = await file.read(read, 0, BLOCK, block * BLOCK).then(
      () => (read.equals(expected(block)) ? 'right' : 'wrong'),
      (error: NodeJS.ErrnoException) => error.code as 'EIO',
    );
    counts[what]++;
  }
  return counts;
}

async function mapped() {
  const mapping = await disk.mapping();
  if (!mapping) throw new Error('no mapping');
  return mapping;
}

const found: Record<string, unknown> = {};
switch (command) {
  case 'begin': {
    await encryption.prepare({ authenticated: true }, signal);
    for (const afterMs of [600, 1_500]) {
      await outcomeOf(encryption.format(DEVICE, { uuid: UUID, passphrase, authenticated: true }, AbortSignal.timeout(afterMs)));
      await encryption.closeAll(ADDRESS, signal);
    }
    await encryption.format(DEVICE, { uuid: UUID, passphrase, authenticated: true }, signal);
    await outcomeOf(encryption.open(DEVICE, { name, passphrase, readOnly: false }, AbortSignal.timeout(300)));
    await encryption.closeAll(ADDRESS, signal);
    const mapping = await encryption.open(DEVICE, { name, passphrase, readOnly: false }, signal);
    found.bytes = mapping.bytes;
    found.hasTags = mapping.tags !== undefined;
    found.unwritten = (await readBlocks(mapping.path, [0, mapping.bytes / BLOCK - 1], () => Buffer.alloc(BLOCK))).EIO;
    // Killed before the end, and gone on with from what was recorded, after the disk was opened again.
    const recorded: string[] = [];
    const stop = new AbortController();
    const record = async (zeroed: string): Promise<void> => void recorded.push(zeroed);
    const progress = (text: string): void => {
      if (!text.includes(' 0 %')) setTimeout(() => stop.abort(), 100);
    };
    const job = { progress, signal: stop.signal };
    found.killed = (await outcomeOf(zeroAll(encryption, job, { mapping, from: 0, record }))) !== 'done';
    await encryption.closeAll(ADDRESS, signal);
    const again = await encryption.open(DEVICE, { name, passphrase, readOnly: false }, signal);
    await zeroAll(encryption, { progress: () => {}, signal }, { mapping: again, from: 64 * MIB, record });
    // A slow disk is recorded again each 20 s, at its end, too.
    found.recorded = [...new Set(recorded)].filter((zeroed) => zeroed !== formatQuantity(again.bytes));
    found.blank = await filesystems.isBlank(again, signal);
    found.readAll = await outcomeOf(exec('dd', [`if=${again.path}`, 'of=/dev/null', 'bs=1M'], { timeoutMs: 180_000 }));
    // A pattern over 8 MiB in the middle, for the test to look for and to change.
    await using file = await open(again.path, 'r+');
    for (let block = 4096; block < 4096 + 2048; block += 256) {
      const blocks = Array.from({ length: 256 }, (_, index) => patternOf(block + index));
      await file.write(Buffer.concat(blocks), 0, 256 * BLOCK, block * BLOCK);
    }
    await file.sync();
    // As the kubelet does for a raw block volume.
    await exec('touch', [NODE], { timeoutMs: 20_000 * PATIENCE });
    await mounter.mount(again.path, NODE, { options: ['bind'], signal });
    found.mounts = (await disk.liveMounts()).map(({ kind, target }) => [kind, target]);
    break;
  }
  case 'end': {
    // As for a volume that the node has lost: the mount of the node is detached, since nobody has it open.
    found.unmounted = await disk.unmountAll({ at: NODE }, signal);
    found.removed = await disk.remove(signal);
    found.names = readFileSync('/proc/mounts', 'utf8').includes(NODE);
    found.mapping = (await disk.mapping()) ?? null;
    break;
  }
  case 'open': {
    await encryption.open(DEVICE, { name, passphrase, readOnly: false }, signal);
    break;
  }
  case 'tampered': {
    const { path } = await mapped();
    const blocks = Array.from({ length: 2048 }, (_, index) => 4096 + index);
    found.changed = await readBlocks(path, blocks, patternOf);
    break;
  }
  default:
    throw new Error('begin, end, open or tampered');
}
console.log(JSON.stringify(found));
process.exit(0);
