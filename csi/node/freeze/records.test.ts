import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FreezeFiles, type FrozenVolume } from './records.ts';

const frozen = (volumeId: string): FrozenVolume => ({ version: 1, volumeId, device: '152:16', bootId: 'b', since: '2026-11-28T08:00:00Z' });

test('a record is there until it is deleted, and what was never finished is removed', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-frozen-'));
  try {
    expect(await new FreezeFiles(join(directory, 'not/made')).list()).toEqual([]);
    const files = new FreezeFiles(join(directory, 'frozen'));
    await files.put(frozen('pvc/1'));
    await files.put(frozen('v2'));
    await files.put(frozen('v2'));
    writeFileSync(join(directory, 'frozen/v3.json.new'), '{"vers');
    writeFileSync(join(directory, 'frozen/v4.json'), '{"version":2}');
    expect((await new FreezeFiles(join(directory, 'frozen')).list()).map(({ volumeId }) => volumeId).toSorted()).toEqual(['pvc/1', 'v2']);
    expect(existsSync(join(directory, 'frozen/v3.json.new'))).toBe(false);
    await files.delete('v2');
    await files.delete('v2');
    expect(await files.list()).toEqual([frozen('pvc/1')]);
    writeFileSync(join(directory, 'file'), '');
    await expect(new FreezeFiles(join(directory, 'file')).list()).rejects.toThrow('ENOTDIR');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
