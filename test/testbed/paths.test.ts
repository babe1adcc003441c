import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { keyOf } from './paths.ts';

describe('keyOf()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-paths-'));
  after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'deep'));
  writeFileSync(join(folder, 'deep/file'), 'one');

  it('stays while the files and the facts do', () => {
    assert.equal(keyOf([folder], 'fact'), keyOf([folder], 'fact'));
    assert.match(keyOf([folder]), /^[0-9a-f]{12}$/);
  });

  it('changes with a file, its name, or a fact', () => {
    const key = keyOf([folder], 'fact');
    assert.notEqual(keyOf([folder], 'other'), key);
    writeFileSync(join(folder, 'deep/file'), 'two');
    const changed = keyOf([folder], 'fact');
    assert.notEqual(changed, key);
    writeFileSync(join(folder, 'deep/more'), '');
    assert.notEqual(keyOf([folder], 'fact'), changed);
  });
});
