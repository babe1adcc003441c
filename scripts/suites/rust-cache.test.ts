import { existsSync, globSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { keepRustDependencies, restoreRustDependencies } from './rust-cache.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rust-cache-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), path);
  }
}

test('dependencies come back with their times, and our own crates do not', () => {
  write('built/debug/deps/libtokio-1.rlib', 'built/debug/deps/libaoe_target-1.rlib', 'built/debug/.fingerprint/aoe-target-1/lib');
  write('built/debug/build/libc-1/output', 'built/debug/incremental/aoe_target-1/x', 'built/release/aoe-target', 'cargo-old/x');
  utimesSync(join(folder, 'built/debug/build/libc-1/output'), 1_000_000, 1_000_000);
  const [built, kept, fresh] = ['built', 'cargo-1', 'fresh/cargo'].map((name) => join(folder, name));
  keepRustDependencies(built, kept);
  expect(existsSync(join(folder, 'cargo-old'))).toBe(false);
  mkdirSync(join(folder, 'fresh'));
  restoreRustDependencies(fresh, kept);
  const files = globSync('**', { cwd: fresh }).filter((path) => statSync(join(fresh ?? '', path)).isFile());
  expect(files.toSorted()).toStrictEqual(['debug/build/libc-1/output', 'debug/deps/libtokio-1.rlib']);
  expect(statSync(join(fresh ?? '', 'debug/build/libc-1/output')).mtimeMs).toBe(1_000_000_000);
});

test('what was built already stays, and nothing is kept twice', () => {
  write('built/debug/deps/libtokio-1.rlib', 'cargo-1/debug/deps/libtokio-2.rlib');
  const [built, kept] = ['built', 'cargo-1'].map((name) => join(folder, name));
  restoreRustDependencies(built, kept);
  keepRustDependencies(built, kept);
  expect(globSync('*/debug/deps/*', { cwd: folder }).toSorted()).toStrictEqual([
    'built/debug/deps/libtokio-1.rlib',
    'cargo-1/debug/deps/libtokio-2.rlib',
  ]);
});
