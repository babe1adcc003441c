// Generates rpc/gen/ from rpc/proto/: encoders and decoders (plain JavaScript) and their types. rpc/gen/ is not in git. It is
// generated again when a .proto file changes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PROTOS = ['blocks', 'copier', 'csi', 'pluginregistration', 'target'];
const proto = join(import.meta.dirname, 'proto');
const gen = join(import.meta.dirname, 'gen');
const pbjs = join(import.meta.dirname, '../node_modules/protobufjs-cli/bin/pbjs');
const COMMON = ['-t', 'static-module', '-w', 'esm', '--force-long', '-p', proto];
const LEAN = ['--no-comments', '--no-convert', '--no-verify', '--no-delimited', '--no-typeurl'];

function isFresh(name: string): boolean {
  const made = join(gen, `${name}.d.ts`);
  const source = [join(proto, `${name}.proto`), import.meta.filename];
  return existsSync(made) && source.every((path) => statSync(path).mtimeMs <= statSync(made).mtimeMs);
}

function generate(name: string): void {
  const source = join(proto, `${name}.proto`);
  const output = join(gen, `${name}.js`);
  // pbjs emits types only with comments, and small code only without. Each module gets its own root, or they would share one.
  execFileSync(process.execPath, [pbjs, ...COMMON, '--dts', '-r', name, '-o', output, source]);
  const types = readFileSync(join(gen, `${name}.d.ts`), 'utf8').replace('import Long = require("long");', 'import Long from "long";');
  rmSync(output);
  execFileSync(process.execPath, [pbjs, ...COMMON, ...LEAN, '-r', name, '-o', output, source]);
  writeFileSync(join(gen, `${name}.d.ts`), types);
}

mkdirSync(gen, { recursive: true });
for (const name of PROTOS) if (!isFresh(name)) generate(name);
