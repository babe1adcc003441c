import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '../..');
const lines = readFileSync(join(ROOT, 'deploy/Containerfile'), 'utf8').split('\n');

describe('the Containerfile', () => {
  it('copies only what is there', () => {
    const sources = lines.filter((line) => /^COPY (?!--from)/.test(line)).flatMap((line) => line.split(' ').slice(1, -1));
    expect(sources.length).toBeGreaterThan(0);
    for (const source of sources) expect(existsSync(join(ROOT, source)), `${source} is not there`).toBe(true);
  });

  it('copies all that the build of the programs needs', () => {
    const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-containerfile-'));
    try {
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
      const end = lines.findIndex((line) => line.startsWith('RUN node '));
      for (const line of lines.slice(0, end).filter((each) => each.startsWith('COPY '))) {
        const words = line.split(' ').slice(1);
        const to = join(folder, words.at(-1) ?? '');
        for (const from of words.slice(0, -1)) {
          const isInFolder = to.endsWith('/');
          cpSync(join(ROOT, from), isInFolder ? join(to, basename(from)) : to, { recursive: true });
        }
      }
      rmSync(join(folder, 'rpc/gen'), { recursive: true, force: true });
      const command = lines[end]?.replace('RUN ', '').replaceAll('node ', `'${process.execPath}' `) ?? '';
      execFileSync('/bin/sh', ['-ec', command], { cwd: folder, stdio: 'pipe' });
      expect(existsSync(join(folder, 'dist/agent.js'))).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('has the Node.js that the programs are tested with', () => {
    expect(lines.some((line) => line.startsWith(`FROM docker.io/library/node:${packageJson.devDependencies.node}-`))).toBe(true);
  });

  it('has a Rust that is new enough for the target', () => {
    const wanted = /rust-version = "1\.(\d+)"/.exec(readFileSync(join(ROOT, 'target/Cargo.toml'), 'utf8'))?.[1];
    const used = /library\/rust:1\.(\d+)-/.exec(lines.join('\n'))?.[1];
    expect(Number(used), `1.${used} is older than 1.${wanted}`).toBeGreaterThanOrEqual(Number(wanted));
  });
});
