import type { Range } from '../blocks.ts';
import type { Extent, Mapping } from './compare-extents.ts';
import { FileBlocks } from './file-blocks.ts';

const { signal } = new AbortController();

/** Files by UID: where their data is. A call tells two extents at most. */
function blocksOf(files: Record<string, { bytes: number; extents: Extent[] }>, onRead: (path: string) => void = () => {}): FileBlocks {
  const mapping = async (path: string, from: number): Promise<Mapping> => {
    onRead(path);
    const file = files[path];
    if (!file) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    const behind = file.extents.filter(({ offset, bytes }) => offset + bytes > from);
    const told = behind.slice(0, 2);
    const last = told.at(-1);
    return { extents: told, end: behind.length > 2 && last ? last.offset + last.bytes : Number.POSITIVE_INFINITY };
  };
  const find = async (uid: string) => (files[uid] ? { uid, snapshot: uid, name: uid, createdAt: '', bytes: files[uid].bytes } : undefined);
  return new FileBlocks({ fs: { mapping }, find });
}

async function all(ranges: AsyncIterable<readonly Range[]>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const each of ranges) found.push(...each.map(({ offset, bytes }) => [offset, bytes]));
  return found;
}

const at = (offset: number, physical: number, bytes = 10): Extent => ({ offset, bytes, physical });
const base = { bytes: 100, extents: [at(0, 1000), at(10, 5000), at(30, 2000), at(50, 3000)] };
const target = { bytes: 120, extents: [at(0, 1000), at(10, 6000), at(30, 2000), at(70, 7000), at(110, 8000, 20)] };

describe('the blocks of files', () => {
  it('are those with data, up to the end of the file', async () => {
    expect(await all(blocksOf({ target }).allocated('target', 5, signal))).toStrictEqual([
      [5, 15],
      [30, 10],
      [70, 10],
      [110, 10],
    ]);
  });

  it('that differ are those in other places, also behind the end of the first', async () => {
    expect(await all(blocksOf({ base, target }).changed('base', 'target', 0, signal))).toStrictEqual([
      [10, 10],
      [50, 10],
      [70, 10],
      [110, 10],
    ]);
    expect(await all(blocksOf({ base, target }).changed('base', 'target', 115, signal))).toStrictEqual([[115, 5]]);
  });

  it('count as changed when the data was moved meanwhile: a place that is the same may have other data', async () => {
    const files = { base: { bytes: 20, extents: [at(0, 1000)] }, target: { bytes: 20, extents: [at(0, 9000)] } };
    const move = (path: string): void => {
      if (path !== 'target') return;
      files.base.extents = [at(0, 2000)];
      files.target.extents = [at(0, 1000)];
    };
    expect(await all(blocksOf(files, move).changed('base', 'target', 0, signal))).toStrictEqual([[0, 10]]);
  });

  it('of a file that is not there, or goes meanwhile, are an error', async () => {
    await expect(all(blocksOf({ base }).changed('base', 'target', 0, signal))).rejects.toMatchObject({ reason: 'SnapshotLost' });
    const files: Record<string, typeof base> = { base };
    await expect(all(blocksOf(files, () => delete files.base).allocated('base', 0, signal))).rejects.toMatchObject({
      reason: 'SnapshotLost',
    });
  });
});
