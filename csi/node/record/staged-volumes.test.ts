import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StagedVolumes } from './staged-volumes.ts';

test('StagedVolumes keeps a file for each volume, and takes a broken one for none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-staged-'));
  const staged = new StagedVolumes(directory);
  const volume = { version: 1, volumeUID: 'u', address: 'e1.2', access: 'Exclusive', external: false, stagingPath: '/s' } as const;
  await staged.put('a/../b', volume);
  assert.deepEqual(await staged.get('a/../b'), volume);
  assert.deepEqual(readdirSync(directory), ['a%2F..%2Fb.json']);
  writeFileSync(join(directory, 'c.json'), '{"version":1,');
  assert.equal(await staged.get('c'), undefined);
  await staged.delete('a/../b');
  await staged.delete('a/../b');
  assert.equal(await staged.get('a/../b'), undefined);
  rmSync(directory, { recursive: true });
});
