// Writes frames to e7.3 on host0: reclaim-writer.ts MODE SEED. Mode `mix`: runs of zeros and of data, many at once, some frames twice; mode
// `zeros`: zeros everywhere. Prints what was written as JSON: [sector, sectors, byte] of each frame, in order.
import { AtaCommand } from '../../aoe/wire/ata.ts';
import { Session } from '../conformance/session.ts';
import { random } from '../faults/model/random.ts';

const [mode, seed] = process.argv.slice(2);
const AT_ONCE = 32;
const RUNS = 10;
/** Sectors of the longest run. */
const LONGEST = 2500;
const MOST_TIMES = 30;
/** A frame of zeros that comes a second time takes space again: it is sent again only when it must be lost. */
const ANSWER_MS = mode === 'zeros' ? 60_000 : 2_000;

type Write = [sector: number, sectors: number, byte: number];

/** The target may just be starting. */
const OPEN_MS = 60_000;
const session = await Session.open({ interfaceName: 'host0', mtu: 9000, address: { shelf: 7, slot: 3 } }, OPEN_MS);
const next = random(Number(seed));
const below = (limit: number): number => Math.floor(next() * limit);

async function answered([lba, count, byte]: Write): Promise<void> {
  const request = { lba, count, data: new Uint8Array(count * 512).fill(byte) };
  for (let time = 1; ; time++) {
    try {
      return void (await session.a.ata(AtaCommand.WriteExt, request, { limitMs: ANSWER_MS })).good();
    } catch (error) {
      if (time === MOST_TIMES) throw error;
    }
  }
}

/** The frames of a run, as large as those of the kernel's driver at this MTU. */
function frames(sector: number, sectors: number, byte: number): Write[] {
  const list: Write[] = [];
  for (let at = 0; at < sectors; at += 16) list.push([sector + at, Math.min(16, sectors - at), byte]);
  return list;
}

function runs(): Write[][] {
  const { sectors } = session.identity;
  if (mode === 'zeros') return [frames(0, sectors, 0)];
  return Array.from({ length: RUNS }, () => {
    const byte = next() < 0.6 ? 0 : 1 + below(255);
    const length = 1 + below(byte === 0 ? LONGEST : LONGEST / 8);
    return frames(below(sectors - length), length, byte);
  });
}

const written: Write[] = [];
try {
  for (const run of runs()) {
    for (let at = 0; at < run.length; at += AT_ONCE) {
      const batch = run.slice(at, at + AT_ONCE);
      // A second copy of a frame may be done after its chunk was given back: then it takes space again.
      const again = mode === 'zeros' ? [] : batch.filter(() => next() < 0.1);
      await Promise.all([...batch, ...again].map(answered));
      written.push(...batch);
    }
    session.heard.length = 0;
  }
} finally {
  session.close();
}
console.log(JSON.stringify(written));
