// The flags of our programs, as their --help prints them.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS, helpText } from '../../kubectl/command-line.ts';
import { cell, code, table } from './markdown.ts';

const ROOT = join(import.meta.dirname, '../..');
const LIMIT_MS = 60_000;
const run = promisify(execFile);

/** Our programs in TypeScript: heading, source, and what it is. */
const PROGRAMS = [
  ['Operator', 'operator/main.ts', 'Container `operator` of the Deployment `aoe-csi-controller`.'],
  ['CSI controller and node plugin', 'csi/main.ts', 'One program: `csi.js controller` in the Deployment, `csi.js node` in `aoe-csi-node`.'],
  ['Agent', 'agent/main.ts', 'DaemonSet `aoe-csi-agent`.'],
  ['CRD upgrade', 'crds/main.ts', 'Job `aoe-csi-crds`, which Helm runs before an upgrade.'],
] as const;

/**
 * Table of the flags in what `--help` of a program of ours prints (`helpText` in run/config.ts).
 * @throws Error when there is none
 */
export function flagsTable(help: string): string {
  const rows = [...help.matchAll(/^ {2}(--[\w-]+)=(.*)\n {6}(.+)$/gm)].map(([, flag = '', fallback = '', meaning = '']) => [
    code(flag),
    fallback === '…' ? '' : code(fallback),
    cell(meaning),
  ]);
  if (rows.length === 0) throw new Error(`there is no flag in:\n${help}`);
  return table(['Flag', 'Default', 'Meaning'], rows);
}

/**
 * The help of the target, from its source: this page is made where no Rust was built.
 * @throws Error when the source has none
 */
export function targetHelp(source: string): string {
  const help = /pub const HELP: &str = "\\\n([\s\S]*?)";/.exec(source)?.[1];
  if (!help) throw new Error('target/src/cli/mod.rs has no HELP');
  return help.replaceAll('\\"', '"').trimEnd();
}

const block = (text: string) => `\`\`\`text\n${text.trimEnd()}\n\`\`\``;

export async function commandLinePage(): Promise<string> {
  const programs = PROGRAMS.map(async ([title, source, what]) => {
    const { stdout } = await run(process.execPath, [join(ROOT, source), '--help'], { timeout: LIMIT_MS });
    return `## ${title}\n\n${what}\n\n${flagsTable(stdout)}`;
  });
  const commands = Object.entries(COMMANDS).map(([name, { words, help }]) => [code([name, words].join(' ').trim()), cell(help)]);
  return [
    ...(await Promise.all(programs)),
    `## Target\n\nDaemonSet \`aoe-csi-target\`.\n\n${block(targetHelp(readFileSync(join(ROOT, 'target/src/cli/mod.rs'), 'utf8')))}`,
    `## kubectl aoe\n\n[kubectl aoe](../kubectl.md) shows each command at work.\n\n${table(['Command', 'What it does'], commands)}\n\n${block(helpText().slice(helpText().indexOf('Flags of all commands')))}`,
  ].join('\n\n');
}
