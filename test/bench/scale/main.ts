// What our programs need when there are many AoEVolumes: memory, work per change, time to be ready after a restart (make bench-scale).
// All programs, API server and etcd are real, in network and process namespaces of their own. Variables: HERE, volumes on the node of
// the measured agent (500); ELSEWHERE, volumes on a node whose agent is a fake (500); SETTLE, seconds of rest before memory is read (30).
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { runIsolated } from '../../faults/fast/run-lab.ts';
import { ROOT } from '../../testbed/paths.ts';
import { type Results, scaleTable } from './table.ts';

const LIMIT_MS = 30 * 60_000;
const MARK = 'results: ';

let results: Results | undefined;
const report = (line: string): void => {
  if (line.startsWith(MARK)) results = JSON.parse(line.slice(MARK.length)) as Results;
  else console.log(line);
};
const { HERE = '500', ELSEWHERE = '500', SETTLE = '30' } = process.env;
const { code, output } = await runIsolated(join(import.meta.dirname, 'measure.ts'), {
  name: 'bench-scale',
  env: { HERE, ELSEWHERE, SETTLE },
  limitMs: LIMIT_MS,
  signal: new AbortController().signal,
  report,
});
if (code !== 0 || !results) {
  console.error(output.slice(-4_000));
  process.exit(1);
}
const folder = join(ROOT, 'dist/bench');
mkdirSync(folder, { recursive: true });
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, Linux ${release()}, Node.js ${process.version}`;
const when = new Date().toISOString().slice(0, 10);
writeFileSync(join(folder, 'scale.json'), `${JSON.stringify({ when, machine, ...results }, undefined, 1)}\n`);
console.log(`\n${when}, ${machine}; ${HERE} volumes on the node and ${ELSEWHERE} elsewhere\n\n${scaleTable(results)}`);
