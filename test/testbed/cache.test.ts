import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Where the cache is follows from the environment, when the module is loaded.
const cache = mkdtempSync(join(tmpdir(), 'aoe-csi-cache-'));
process.env.AOE_CSI_CACHE = cache;
const { cached } = await import('./cache.ts');

describe('cached()', () => {
  afterAll(() => rmSync(cache, { recursive: true }));
  const write = (text: string) => (folder: string) => writeFileSync(join(folder, 'file'), text);

  it('makes something once per key', async () => {
    const first = await cached('thing', '000000000001', write('one'));
    expect(await cached('thing', '000000000001', assert.fail)).toBe(first);
    expect(readFileSync(join(first, 'file'), 'utf8')).toBe('one');
  });

  it('leaves nothing behind when the making fails', async () => {
    await expect(
      cached('broken', '000000000001', () => {
        throw new Error('no');
      }),
    ).rejects.toThrow(/no/);
    expect(readdirSync(cache).filter((name) => name.startsWith('broken'))).toStrictEqual([]);
  });

  it('forgets all but the last of the older keys, of this name only', async () => {
    const other = await cached('thing-else', '000000000001', write('other'));
    utimesSync(join(cache, 'thing-000000000001'), 1, 1);
    await cached('thing', '000000000002', write('two'));
    await cached('thing', '000000000003', write('three'));
    expect(readdirSync(cache).sort()).toStrictEqual(['thing-000000000002', 'thing-000000000003', 'thing-else-000000000001']);
    expect(existsSync(other)).toBe(true);
  });
});
