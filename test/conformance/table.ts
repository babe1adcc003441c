// Writes docs/conformance.md: who deviates where.
//   table.ts [--ggaoed PROGRAM]      PROGRAM: ggaoed 1.1, which no distribution has; without it there is no column for it
// Needs root, the built aoe-target and vblade.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runInLab } from './in-lab.ts';
import type { Result } from './run.ts';
import { type StartTarget, startGgaoed, startOurs, startVblade } from './targets.ts';

const PAGE = join(import.meta.dirname, '../../docs/conformance.md');
const MTU = 9000;

interface Column {
  readonly name: string;
  readonly results: readonly Result[];
}

const { values } = parseArgs({ options: { ggaoed: { type: 'string' } } });
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own
const version = execFileSync('dpkg-query', ['-W', '-f', '${source:Upstream-Version}', 'vblade'], { encoding: 'utf8' });
const targets: [name: string, start: StartTarget][] = [
  ['aoe-target', startOurs],
  [`vblade ${version}`, startVblade],
  ...(values.ggaoed ? [['ggaoed 1.1', startGgaoed(values.ggaoed)] satisfies [string, StartTarget]] : []),
];
const columns: Column[] = [];
for (const [name, start] of targets) {
  console.error(`${name} …`);
  columns.push({ name, results: await runInLab(start, { mtu: MTU }) });
}
writeFileSync(PAGE, page(columns));

function page(columns: readonly Column[]): string {
  return `# Conformance

What AoE targets do with what AoE initiators send: every rule of AoEr11, and for each known initiator the exchanges that it needs.
The suite runs against any target:

    node test/conformance/main.ts --interface eth1 --shelf 7 --slot 3 [--profile linux]

It prints \`pass\`, \`deviates\` with what was seen and the frames, or \`not tried\`, and ends with 1 when something deviates. It puts
back what it writes over, yet is nothing for a disk that matters. This page is made by
\`node test/conformance/table.ts [--ggaoed PROGRAM]\`: each target on one end of a veth pair, MTU ${MTU}, a disk of 64 MiB.

A deviation is not always a fault: some rules here are those of ATA or Ethernet, which AoEr11 does not repeat, and command 5
(test and replace) came after AoEr11. The source of each rule is given.

## With real initiators

These run with the others (\`make test\`); what they need is Debian's.

| Initiator | What is done | Test |
| --- | --- | --- |
| Linux 6.1 driver, in a user-mode-Linux guest | ext4 at MTU 1500 (1024 bytes a frame) and 9000 (8192); two paths, cut one after the other; growing while mounted, through a restart of the target | test/driver |
| aoetools 36 | aoecfg with all its commands, aoeping with IDENTIFY and SMART, aoe-sancheck, aoe-stat | test/wire/aoetools.test.ts, test/driver |
| iPXE, under QEMU | boots from the disk, reads and writes through INT 13h | test/wire/ipxe.test.ts, where Debian's ipxe and qemu-system-x86 are installed |

The TypeScript and the Rust codec are held together by the same frames (test/conformance/vectors.json) and by a test that
gives both the same thousands of well formed and maimed ones (test/conformance/codecs.test.ts).

## Checks passed

${table(
  ['', ...columns.map(({ name }) => name)],
  [...Map.groupBy(columns[0]?.results ?? [], ({ group }) => group).keys()].map((group) => [
    group,
    ...columns.map(({ results }) => passed(results.filter((result) => result.group === group))),
  ]),
)}
${row(['**all**', ...columns.map(({ results }) => passed(results))])}

## Deviations

Empty: as the rule says.

${table(['The target …', 'Source', ...columns.map(({ name }) => name)], deviations(columns))}
`;
}

function deviations(columns: readonly Column[]): string[][] {
  const rows: string[][] = [];
  for (const [index, { group, name, source }] of (columns[0]?.results ?? []).entries()) {
    const cells = columns.map(({ results }) => results[index]).map((result) => (result?.outcome === 'pass' ? '' : (result?.seen ?? '')));
    if (cells.some((text) => text !== '')) rows.push([`${group}: ${name}`, source, ...cells.map(cell)]);
  }
  return rows;
}

function passed(results: readonly Result[]): string {
  return `${results.filter(({ outcome }) => outcome === 'pass').length} of ${results.length}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}
