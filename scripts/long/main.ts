// The tests that are too long for `make test` (make test-long). A part that has passed with the present sources does not run again, so a
// run that was interrupted goes on where it ended. Results are kept in docs/long-tests.md. Variables: ONLY, the name of a part; MINUTES,
// after which no other part begins (600).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { keyOf } from '../../test/testbed/paths.ts';
import { runCommand } from '../suites/command.ts';
import { ROOT } from '../suites/suite.ts';
import { PARTS } from './parts.ts';
import { resultsIn, waiting, withResults } from './results.ts';

const PAGE = join(ROOT, 'docs/long-tests.md');
/** What is built, installed or brought by others. Documents do not change what is tested. */
const LEFT_OUT = new Set(['dist', 'docs', 'node_modules', '.git', 'README.md', 'CONTRIBUTING.md', 'SECURITY.md']);
const MINUTE_MS = 60_000;

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());

const { ONLY } = process.env;
if (ONLY && !PARTS.some(({ name }) => name === ONLY)) {
  console.error(`ONLY=${ONLY}: there is no such part; there are ${PARTS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const folder = join(ROOT, 'dist/long');
mkdirSync(folder, { recursive: true });
const end = Date.now() + Number(process.env.MINUTES ?? 600) * MINUTE_MS;
const paths = readdirSync(ROOT).filter((name) => !LEFT_OUT.has(name));
const sources = keyOf(paths.map((name) => join(ROOT, name)));
const todo = waiting(PARTS, resultsIn(readFileSync(PAGE, 'utf8')), sources, ONLY);
console.log(`${todo.length} of ${PARTS.length} parts are to run with the sources ${sources}`);
let failed = 0;
for (const { name, shows, usually, argv, env, limitMinutes } of todo) {
  if (interrupted.signal.aborted || Date.now() > end) break;
  const log = join(folder, `${name}.log`);
  console.log(`${name}: ${shows} (usually ${usually}; ${relative(process.cwd(), log)}) …`);
  const began = Date.now();
  // To the tests of some parts, ONLY means something else.
  const options = { log, limitMs: limitMinutes * MINUTE_MS, env: { ONLY: undefined, ...env }, signal: interrupted.signal };
  const { code } = await runCommand([...argv], options);
  if (interrupted.signal.aborted) break;
  const state = code === 0 ? 'passed' : 'failed';
  if (state === 'failed') failed++;
  const minutes = Math.ceil((Date.now() - began) / MINUTE_MS);
  console.log(`${name}: ${state} in ${minutes} minutes`);
  // Read again: a person may have edited the page meanwhile.
  const page = readFileSync(PAGE, 'utf8');
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync(PAGE, withResults(page, PARTS, resultsIn(page).set(name, { state, minutes, date, sources })));
}
const left = waiting(PARTS, resultsIn(readFileSync(PAGE, 'utf8')), sources, ONLY).length;
console.log(`${left} parts have not passed with these sources; the results are in ${relative(process.cwd(), PAGE)}`);
process.exitCode = failed > 0 || interrupted.signal.aborted ? 1 : 0;
