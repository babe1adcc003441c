import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StagedVolumes } from './staged-volumes.ts';

test('StagedVolumes keeps a file for each volume, and takes a broken one for none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-staged-'));
  const staged = new StagedVolumes(directory);
  const volume = { version: 1, volumeUID: 'u', address: 'e1.2', access: 'Exclusive', external: false, stagingPath: '/s' } as const;
  await staged.put('a/../b', volume);
  expect(await staged.get('a/../b')).toStrictEqual(volume);
  expect(readdirSync(directory)).toStrictEqual(['a%2F..%2Fb.json']);
  writeFileSync(join(directory, 'c.json'), '{"version":1,');
  expect(await staged.get('c')).toBeUndefined();
  await staged.delete('a/../b');
  await staged.delete('a/../b');
  expect(await staged.get('a/../b')).toBeUndefined();
  rmSync(directory, { recursive: true });
});
