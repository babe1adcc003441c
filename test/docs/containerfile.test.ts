import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '../..');
const lines = readFileSync(join(ROOT, 'deploy/Containerfile'), 'utf8').split('\n');

describe('the Containerfile', () => {
  it('copies only what is there', () => {
    const sources = lines.filter((line) => /^COPY (?!--from)/.test(line)).flatMap((line) => line.split(' ').slice(1, -1));
    expect(sources.length).toBeGreaterThan(0);
    for (const source of sources) expect(existsSync(join(ROOT, source)), `${source} is not there`).toBe(true);
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
