// Writes batches of frames to e7.3 on host0, and marks dm-log-writes device NAME each time that a batch is answered:
// durable-writer.ts NAME SEED BATCHES. Prints the batches as JSON: [sector, length, byte] of each write, in order.
import { execFileSync } from 'node:child_process';
import { AtaCommand } from '../../aoe/wire/ata.ts';
import { Session } from '../conformance/session.ts';
import { random } from '../faults/model/random.ts';

const [name = '', seed, batches] = process.argv.slice(2);
const MOST_AT_ONCE = 32;
const MOST_TIMES = 30;

export type Write = [sector: number, sectors: number, byte: number];

/** The target may just be starting. */
const OPEN_MS = 60_000;
const session = await Session.open({ interfaceName: 'host0', mtu: 9000, address: { shelf: 7, slot: 3 } }, OPEN_MS);
const next = random(Number(seed));
const below = (limit: number): number => Math.floor(next() * limit);

/** Neighbours, as a file system's blocks come at an MTU of 1500, or anywhere; whole blocks and single sectors. */
function draw(): Write[] {
  const list: Write[] = [];
  const count = 1 + below(MOST_AT_ONCE);
  let sector = below(session.identity.sectors - MOST_AT_ONCE * 16);
  const adjacent = next() < 0.5;
  const sectors = [1, 2, 8, 16][below(4)] as number;
  const used = new Set<number>();
  while (list.length < count) {
    if (!adjacent) sector = below(session.identity.sectors - 16);
    const all = Array.from({ length: sectors }, (_, i) => sector + i);
    // What overlaps within a batch has no order that could be checked.
    if (!all.some((each) => used.has(each))) list.push([sector, sectors, next() < 0.3 ? 0 : 1 + below(255)]);
    for (const each of all) used.add(each);
    sector += sectors;
  }
  return list;
}

/** Sends a write until it is answered, as initiators do: a full socket loses frames, too. */
async function answered([lba, count, byte]: Write): Promise<void> {
  const request = { lba, count, data: new Uint8Array(count * 512).fill(byte) };
  for (let time = 1; ; time++) {
    try {
      return void (await session.a.ata(AtaCommand.WriteExt, request, { limitMs: 2_000 })).good();
    } catch (error) {
      if (time === MOST_TIMES) throw error;
    }
  }
}

const written: Write[][] = [];
try {
  for (let batch = 0; batch < Number(batches); batch++) {
    const writes = draw();
    await Promise.all(writes.map(answered));
    execFileSync('dmsetup', ['message', name, '0', 'mark', `batch-${batch}`]);
    written.push(writes);
    session.heard.length = 0;
  }
} finally {
  session.close();
}
console.log(JSON.stringify(written));
