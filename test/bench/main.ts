// Measures our target beside others, and alone (make bench). Variables: LOADS, words that choose by name; ROUNDS (5);
// SECONDS of each run (1); GGAOED, a ggaoed to measure, too. Prints tables, and writes all results to dist/bench/.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { ALONE, type Fact, factTable } from './alone.ts';
import { chosen, LOADS, type Load } from './loads.ts';
import { type Compared, compare } from './side-by-side.ts';
import { table } from './table.ts';
import { ggaoed, LOAD_PROGRAM, ours, TARGET_PROGRAM, vblade } from './targets.ts';

const RESULTS = join(import.meta.dirname, '../../dist/bench');

const { LOADS: words = '', ROUNDS = '5', SECONDS = '1', GGAOED } = process.env;
for (const program of [TARGET_PROGRAM, LOAD_PROGRAM]) if (!existsSync(program)) throw new Error(`${program} is missing: make build`);
if (cpus().length < 2) throw new Error('target and initiator need a CPU each');

const names = chosen(
  words.split(/[\s,]+/).filter((word) => word !== ''),
  [...LOADS.map(({ name }) => name), ...Object.keys(ALONE)],
);
const targets = [ours, vblade, ...(GGAOED ? [ggaoed(GGAOED)] : [])];
const started = new Date();
const compared: Compared[] = [];
const facts: Fact[] = [];
const failures: string[] = [];

/** What fails is told, and the rest is measured all the same. */
async function attempt(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const told = (error as { stderr?: string }).stderr?.trim() || String(error);
    failures.push(`${name}: ${told}`);
    console.log(`${name} FAILED: ${told}`);
  }
}

async function sideBySide(load: Load): Promise<void> {
  // Written through to the disk by those that can be told to; others would win by leaving the work for later.
  const able = targets.filter(({ name }) => !load.durable || name !== 'ggaoed');
  const result = await compare(load, able, Number(ROUNDS), Number(SECONDS));
  compared.push(result);
  const told = Object.entries(result.medians).map(([name, { iops, p50, p99, retransmits }]) => {
    const again = retransmits > 0 ? `, ${retransmits} sent again` : '';
    return `${name} ${Math.round(iops)} (p50 ${p50.toFixed(0)}, p99 ${p99.toFixed(0)} µs${again})`;
  });
  console.log(`${load.name}: ${told.join('; ')}`);
}

async function alone(name: string, measure: () => Promise<Fact[]>): Promise<void> {
  const found = await measure();
  facts.push(...found);
  for (const { what, value, unit } of found) console.log(`${name}: ${what}: ${value.toFixed(3)} ${unit}`);
}

for (const load of LOADS.filter(({ name }) => names.includes(name))) await attempt(load.name, () => sideBySide(load));
for (const [name, measure] of Object.entries(ALONE)) if (names.includes(name)) await attempt(name, () => alone(name, measure));

mkdirSync(RESULTS, { recursive: true });
const file = join(RESULTS, `${started.toISOString().slice(0, 19).replaceAll(':', '')}.json`);
const machine = { cpus: cpus().length, model: cpus()[0]?.model, kernel: release() };
writeFileSync(
  file,
  `${JSON.stringify({ started, machine, rounds: Number(ROUNDS), seconds: Number(SECONDS), compared, facts, failures }, null, 1)}\n`,
);
if (compared.length > 0) console.log(`\n${table(compared)}`);
if (facts.length > 0) console.log(`\n${factTable(facts)}`);
console.log(`\nall results: ${file}`);
process.exitCode = failures.length > 0 ? 1 : 0;
