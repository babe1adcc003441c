import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addVersion } from './versions.ts';

describe('the versions of the site', () => {
  let scratch: string;
  let all: string;
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'aoe-csi-versions-'));
    all = join(scratch, 'all');
  });
  afterEach(() => rmSync(scratch, { recursive: true }));

  const add = (version: string, text: string) => {
    const site = join(scratch, 'site');
    rmSync(site, { recursive: true, force: true });
    mkdirSync(site);
    writeFileSync(join(site, 'index.html'), text);
    addVersion(all, site, version);
  };
  const page = (version: string) => readFileSync(join(all, version, 'index.html'), 'utf8');
  const listed = () => JSON.parse(readFileSync(join(all, 'versions.json'), 'utf8'));

  it('stay beside one another, and the newest is the latest', () => {
    add('v0.9.0', 'nine');
    add('v0.10.0', 'ten');
    expect(listed()).toStrictEqual([
      { version: '0.10', title: '0.10', aliases: ['latest'] },
      { version: '0.9', title: '0.9', aliases: [] },
    ]);
    expect([page('0.9'), page('0.10'), page('latest')]).toStrictEqual(['nine', 'ten', 'ten']);
    expect(readFileSync(join(all, 'index.html'), 'utf8')).toContain('url=latest/');
  });

  it('are replaced by a later release of the same version, and an old one does not become the latest', () => {
    add('v0.10.0', 'ten');
    add('v0.9.1', 'nine');
    add('v0.9.2', 'nine again');
    expect([page('0.9'), page('latest')]).toStrictEqual(['nine again', 'ten']);
    expect(listed().map(({ version }: { version: string }) => version)).toStrictEqual(['0.10', '0.9']);
  });

  it('are refused when they are none', () => expect(() => add('main', '')).toThrow('"main" is no version'));
});
