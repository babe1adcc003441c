import type { Exec } from '../../../../run/exec.ts';
import type { Range } from '../../blocks.ts';
import { LvmCli } from '../command/cli.ts';
import { ThinBlocks } from './thin-blocks.ts';

const BLOCK = 64 << 10;
const { signal } = new AbortController();
const failure = (stderr: string) => Object.assign(new Error(stderr), { stderr });

/** A thin pool with snapshots s-1 and s-2, and the programs that read it. */
class FakePool {
  isActive = true;
  held = false;
  readers = 0;
  readonly calls: string[] = [];
  /** Throws instead of the program, before it or after it. */
  fails: { at: string; when: 'before' | 'after' } | undefined;

  readonly run: Exec = async (program, args, { onOutput, signal: stop, onKilled }) => {
    const what = [program, ...args.filter((each) => /^(status|reserve.*|release.*)$/.test(each))].join(' ');
    if (program !== 'vgs' && !what.includes('status')) this.calls.push(what);
    if (this.fails?.at === what && this.fails.when === 'before') throw failure('crash');
    const stdout = await this.#do(program, args, onOutput, stop).catch((error: unknown) => {
      if (stop?.aborted) onKilled?.(Promise.resolve());
      throw error;
    });
    if (this.fails?.at === what && this.fails.when === 'after') throw failure('crash');
    return { stdout, stderr: '' };
  };

  async #do(program: string, args: readonly string[], onOutput: ((text: string) => Promise<void>) | undefined, stop?: AbortSignal) {
    switch (program) {
      case 'vgs':
        return report();
      case 'lvchange':
        this.isActive = true;
        return '';
      case 'dmsetup':
        if (!this.isActive) throw failure('Device does not exist.\nCommand failed.');
        return this.#message(args.at(-1) ?? '');
      default: {
        expect(this.held).toBe(true);
        expect(++this.readers).toBe(1);
        try {
          const [head, ...lines] = program === 'thin_dump' ? DUMP : DELTA;
          expect(args.at(-1)).toBe('/dev/mapper/vg0-thin_tmeta');
          expect(args.join(' ')).toMatch(program === 'thin_dump' ? /--dev-id 7 / : /--thin1 7 --thin2 9 /);
          for (const line of [head, ...lines]) {
            stop?.throwIfAborted();
            await onOutput?.(line ?? '');
          }
        } finally {
          this.readers--;
        }
        return '';
      }
    }
  }

  #message(message: string): string {
    if (message === 'reserve_metadata_snap') {
      if (this.held) throw failure('File exists');
      this.held = true;
    } else if (message === 'release_metadata_snap') {
      if (!this.held) throw failure('Invalid argument');
      this.held = false;
    }
    return `0 262144 thin-pool 1 12/1024 64/2048 ${this.held ? 17 : '-'} rw discard_passdown queue_if_no_space - 1024`;
  }
}

const SUPERBLOCK = '<superblock uuid="" time="2" transaction="3" data_block_size="128" nr_data_blocks="1000">';
const DUMP = [
  SUPERBLOCK,
  '<device dev_id="7" mapped_blocks="3">',
  ...[1, 3, 5].map((block) => `<single_mapping origin_block="${block}" data_block="1" time="0"/>`),
  '</device></superblock>',
];
const DELTA = [SUPERBLOCK, '<diff left="7" right="9">', '<different begin="2" length="1"/>', '</diff></superblock>'];

function report(): string {
  const group = {
    ...{ vg_name: 'vg0', vg_size: '100', vg_free: '50', vg_extent_size: '4', vg_missing_pv_count: '0' },
    ...{ vg_mda_size: '1044480', vg_mda_free: '520192' },
  };
  const volume = (name: string, id: string) => ({
    ...group,
    lv_name: name,
    lv_size: '8',
    lv_layout: 'thin,sparse',
    pool_lv: 'thin',
    thin_id: id,
  });
  const pool = { ...group, lv_name: 'thin', lv_size: '40', lv_layout: 'thin,pool' };
  return JSON.stringify({ report: [{ vg: [pool, volume('s-1', '7'), volume('s-2', '9')] }] });
}

/** The blocks as a process has them that has just been started. */
function blocksOf(pool: FakePool): ThinBlocks {
  const group = new LvmCli(pool.run, '').group('vg0');
  return new ThinBlocks({ group, thinPool: 'thin', find: (volumes, uid) => volumes.find(({ name }) => name === uid) });
}

async function all(ranges: AsyncIterable<readonly Range[]>): Promise<number[]> {
  const found: number[] = [];
  for await (const each of ranges) found.push(...each.map(({ offset }) => offset / BLOCK));
  return found;
}

const ONCE = (program: string) => ['dmsetup reserve_metadata_snap', program, 'dmsetup release_metadata_snap'];

describe('the blocks of thin snapshots', () => {
  it('are read from metadata that the kernel holds meanwhile', async () => {
    const pool = new FakePool();
    expect(await all(blocksOf(pool).allocated('s-1', 0, signal))).toStrictEqual([1, 3, 5]);
    expect(await all(blocksOf(pool).changed('s-1', 's-2', 0, signal))).toStrictEqual([2]);
    expect([pool.calls, pool.held]).toStrictEqual([[...ONCE('thin_dump'), ...ONCE('thin_delta')], false]);
  });

  it('are read by one at a time, in the order of the calls', async () => {
    const pool = new FakePool();
    const blocks = blocksOf(pool);
    const reading = [blocks.allocated('s-1', 0, signal), blocks.changed('s-1', 's-2', 0, signal), blocks.allocated('s-1', 0, signal)].map(
      all,
    );
    expect(await Promise.all(reading)).toStrictEqual([[1, 3, 5], [2], [1, 3, 5]]);
    expect(pool.calls).toStrictEqual([...ONCE('thin_dump'), ...ONCE('thin_delta'), ...ONCE('thin_dump')]);
  });

  it('are released when the reader leaves, and when it is cancelled while it waits', async () => {
    const pool = new FakePool();
    const blocks = blocksOf(pool);
    const stop = new AbortController();
    for await (const _ of blocks.allocated('s-1', 0, signal)) {
      const waiting = all(blocks.allocated('s-1', 0, stop.signal));
      stop.abort(new Error('the caller left'));
      await expect(waiting).rejects.toThrow('the caller left');
      break;
    }
    expect([pool.held, pool.readers]).toStrictEqual([false, 0]);
    expect(await all(blocks.allocated('s-1', 0, signal))).toStrictEqual([1, 3, 5]);
  });

  it.each(['before', 'after'] as const)('can be read again when a command fails, or the process crashes, %s its effect', async (when) => {
    for (const at of ['dmsetup reserve_metadata_snap', 'thin_dump', 'dmsetup release_metadata_snap']) {
      const pool = new FakePool();
      pool.fails = { at, when };
      // What was read is whole, and the release is made good by the next reader.
      const attempt = all(blocksOf(pool).allocated('s-1', 0, signal));
      if (at.includes('release')) expect(await attempt).toStrictEqual([1, 3, 5]);
      else await expect(attempt).rejects.toMatchObject({ reason: 'BackendFailed' });
      pool.fails = undefined;
      expect(await all(blocksOf(pool).allocated('s-1', 0, signal))).toStrictEqual([1, 3, 5]);
      expect(pool.held).toBe(false);
    }
  });

  it('are released after a crash, also when nobody reads any more, and without activating a pool', async () => {
    const pool = new FakePool();
    pool.held = true;
    await blocksOf(pool).recover(signal);
    expect(pool.held).toBe(false);
    await blocksOf(pool).recover(signal);
    pool.isActive = false;
    await blocksOf(pool).recover(signal);
    expect([pool.calls, pool.isActive]).toStrictEqual([['dmsetup release_metadata_snap'], false]);
  });

  it('are released, and the next reader has its turn, while nobody takes what was read last', async () => {
    const pool = new FakePool();
    const blocks = blocksOf(pool);
    for await (const _ of blocks.changed('s-1', 's-2', 0, signal)) {
      expect([pool.held, pool.readers]).toStrictEqual([false, 0]);
      expect(await all(blocks.allocated('s-1', 0, signal))).toStrictEqual([1, 3, 5]);
    }
    expect(pool.calls).toStrictEqual([...ONCE('thin_delta'), ...ONCE('thin_dump')]);
  });

  it('are not released while they are read, by who looks for what a crash has left', async () => {
    const pool = new FakePool();
    const blocks = blocksOf(pool);
    let recovering: Promise<void> | undefined;
    for await (const _ of blocks.allocated('s-1', 0, signal)) {
      recovering ??= blocks.recover(signal);
      await new Promise(setImmediate);
      if (pool.readers > 0) expect(pool.held).toBe(true);
    }
    await recovering;
    expect(pool.calls).toStrictEqual(ONCE('thin_dump'));
  });

  it('are read of a pool that nothing has activated yet', async () => {
    const pool = new FakePool();
    pool.isActive = false;
    expect(await all(blocksOf(pool).allocated('s-1', 0, signal))).toStrictEqual([1, 3, 5]);
    expect(pool.calls).toStrictEqual(['lvchange', ...ONCE('thin_dump')]);
  });

  it('of a snapshot that is not there are an error, and nothing is held', async () => {
    const pool = new FakePool();
    await expect(all(blocksOf(pool).changed('s-1', 's-3', 0, signal))).rejects.toMatchObject({
      reason: 'SnapshotLost',
      message: /snap-s-3 is not there/,
    });
    expect(pool.calls).toStrictEqual([]);
  });
});
