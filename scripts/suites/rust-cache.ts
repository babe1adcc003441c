import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, globSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CACHE, keyOf, ROOT } from '../../test/testbed/paths.ts';

const BUILT = join(ROOT, 'dist/cargo');
/** Our own crates and the programs made of them are built from the tree, and incremental data is of no use without them. */
const OURS = /^(lib)?aoe[-_]|^incremental$|^examples$|^tmp$/;

/** Where the compiled dependencies of this Cargo.lock are kept, for this compiler and these profiles. */
function kept(): string {
  const compiler = execFileSync('rustc', ['--version', '--verbose'], { encoding: 'utf8' });
  return join(CACHE, `cargo-${keyOf([join(ROOT, 'Cargo.lock'), join(ROOT, 'Cargo.toml')], compiler)}`);
}

/**
 * A new checkout begins with the dependencies that an earlier run compiled, and compiles our own crates only. Cargo itself decides what of
 * it fits. Nothing depends on it, so a failure only costs time.
 */
export function restoreRustDependencies(built = BUILT, from = kept()): void {
  if (!existsSync(built) && existsSync(from)) copyWhole(from, built, () => true);
}

/** Keeps the dependencies for the next checkout, and drops those of an earlier Cargo.lock or compiler. */
export function keepRustDependencies(built = BUILT, to = kept()): void {
  if (existsSync(to) || !existsSync(built)) return;
  for (const old of globSync(join(to, '../cargo-*'))) rmSync(old, { recursive: true, force: true });
  copyWhole(built, to, (path) => !OURS.test(basename(path)));
}

/** Makes a copy, which is there only when it is whole. */
function copyWhole(from: string, to: string, filter: (path: string) => boolean): void {
  const unfinished = `${to}.unfinished-${process.pid}`;
  try {
    cpSync(from, unfinished, { recursive: true, preserveTimestamps: true, filter });
    renameSync(unfinished, to);
  } catch (error) {
    console.log(`The compiled dependencies of Rust were not copied to ${to}: ${String(error)}`);
    rmSync(unfinished, { recursive: true, force: true });
  }
}
