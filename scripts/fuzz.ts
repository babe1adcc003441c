// Fuzzes the target (make fuzz): fuzz.ts [keep]. Variables: SECONDS for each entry point (60). What is found is in dist/fuzz/, and
// "keep" puts the fewest of its inputs that reach all the code it reaches into the repository. See docs/fuzzing.md.
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type CommandResult, runCommand } from './suites/command.ts';

const ROOT = join(import.meta.dirname, '..');
const WORK = join(ROOT, 'dist/fuzz');
const HOST = 'x86_64-unknown-linux-gnu';
const PROFILE = 'fuzz';
const MINUTE_MS = 60_000;
const ENTRIES = ['codec', 'serve'] as const;
type Entry = (typeof ENTRIES)[number];

/** What `cargo fuzz run --sanitizer none` gives rustc, nightly or not: LLVM's coverage, as libFuzzer reads it. */
const COVERAGE = [
  '--cfg fuzzing',
  '-Cpasses=sancov-module',
  ...['level=4', 'inline-8bit-counters', 'pc-table', 'trace-compares'].map((what) => `-Cllvm-args=-sanitizer-coverage-${what}`),
  '-Ccodegen-units=1',
].join(' ');

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());

const corpusOf = (entry: Entry) => join(WORK, 'corpus', entry);
const keptOf = (entry: Entry) => join(ROOT, `target/tests/fuzz/corpus/${entry}.hex`);

async function run(name: string, argv: string[], limitMs: number, env: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
  const log = join(WORK, `${name}.log`);
  rmSync(log, { force: true });
  return await runCommand(argv, { log, limitMs, env, signal: interrupted.signal });
}

async function build(): Promise<void> {
  const what = ['--package', 'aoe-target-fuzz', '--profile', PROFILE, '--target', HOST];
  const argv = ['cargo', 'build', '--locked', ...what, '--manifest-path', join(ROOT, 'Cargo.toml'), '--target-dir', join(WORK, 'cargo')];
  const { code, output } = await run('build', argv, 30 * MINUTE_MS, { RUSTFLAGS: COVERAGE });
  if (code !== 0) throw new Error(`the fuzzers do not build (libFuzzer needs g++):\n${output.slice(-3000)}`);
}

const program = (entry: Entry, ...args: string[]) => [join(WORK, 'cargo', HOST, PROFILE, entry), ...args];

function put(folder: string, input: Buffer): void {
  writeFileSync(join(folder, createHash('sha1').update(input).digest('hex')), input);
}

/** The inputs that are kept, and the frames that both codecs are tested with: as they are, and as a script that sends one. */
function seed(entry: Entry): void {
  const folder = corpusOf(entry);
  mkdirSync(folder, { recursive: true });
  for (const line of readFileSync(keptOf(entry), 'utf8').split('\n').filter(Boolean)) put(folder, Buffer.from(line, 'hex'));
  const vectors: { frame: string }[] = JSON.parse(readFileSync(join(ROOT, 'test/conformance/vectors.json'), 'utf8'));
  for (const vector of vectors) {
    const frame = Buffer.from(vector.frame.replaceAll(' ', ''), 'hex');
    if (entry === 'codec') put(folder, frame);
    else if (frame.length < 256) put(folder, Buffer.concat([Buffer.of(0, 8, frame.length), frame]));
  }
}

async function fuzz(entry: Entry, seconds: number): Promise<boolean> {
  seed(entry);
  const limits = ['-max_len=1200', '-timeout=30', `-max_total_time=${seconds}`, '-print_final_stats=1'];
  const argv = program(entry, corpusOf(entry), `-artifact_prefix=${join(WORK, `${entry}-`)}`, ...limits);
  const { code, output } = await run(entry, argv, (seconds + 300) * 1000);
  const executions = /number_of_executed_units:\s+(\d+)/.exec(output)?.[1] ?? '?';
  const covered = [...output.matchAll(/cov: (\d+) ft: (\d+) corp: (\d+)/g)].at(-1);
  console.log(
    `${entry}: ${executions} executions, ${covered?.[1] ?? '?'} edges, ${covered?.[2] ?? '?'} features, ${covered?.[3] ?? '?'} inputs`,
  );
  if (code === 0 || interrupted.signal.aborted) return true;
  console.log(output.slice(output.search(/panicked at|ERROR: libFuzzer/)).slice(0, 2000));
  console.log(`${entry} FAILED. Fix it, and add the input to target/tests/fuzz/main.rs as a named test.`);
  return false;
}

async function keep(entry: Entry): Promise<void> {
  const small = join(WORK, 'small', entry);
  rmSync(small, { recursive: true, force: true });
  mkdirSync(small, { recursive: true });
  // Of the server, edges alone: how often each is passed would keep thousands.
  const measure = entry === 'serve' ? ['-use_counters=0'] : [];
  const { code, output } = await run(`${entry}-keep`, program(entry, '-merge=1', ...measure, small, corpusOf(entry)), 30 * MINUTE_MS);
  if (code !== 0) throw new Error(output.slice(-3000));
  const inputs = globSync('*', { cwd: small }).map((file) => readFileSync(join(small, file)).toString('hex'));
  const lines = inputs.filter((line) => line !== '').sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  writeFileSync(keptOf(entry), lines.map((line) => `${line}\n`).join(''));
  console.log(`${relative(ROOT, keptOf(entry))}: ${lines.length} inputs`);
}

mkdirSync(WORK, { recursive: true });
await build();
if (process.argv[2] === 'keep') {
  for (const entry of ENTRIES) await keep(entry);
} else {
  const seconds = Number(process.env.SECONDS || 60);
  if (!(seconds > 0)) throw new Error('SECONDS must be a number above 0');
  let good = true;
  for (const entry of ENTRIES) good = (await fuzz(entry, seconds)) && good;
  process.exitCode = good && !interrupted.signal.aborted ? 0 : 1;
}
