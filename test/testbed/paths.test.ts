import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyOf } from './paths.ts';

describe('keyOf()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-paths-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'deep'));
  writeFileSync(join(folder, 'deep/file'), 'one');

  it('stays while the files and the facts do', () => {
    expect(keyOf([folder], 'fact')).toBe(keyOf([folder], 'fact'));
    expect(keyOf([folder])).toMatch(/^[0-9a-f]{12}$/);
  });

  it('changes with a file, its name, or a fact', () => {
    const key = keyOf([folder], 'fact');
    expect(keyOf([folder], 'other')).not.toBe(key);
    writeFileSync(join(folder, 'deep/file'), 'two');
    const changed = keyOf([folder], 'fact');
    expect(changed).not.toBe(key);
    writeFileSync(join(folder, 'deep/more'), '');
    expect(keyOf([folder], 'fact')).not.toBe(changed);
  });
});
