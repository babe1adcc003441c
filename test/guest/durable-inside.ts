// Tests for a kernel with dm-log-writes: durable.test.ts runs them in a guest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { WireLab } from '../wire/wire-lab.ts';
import type { Write } from './durable-writer.ts';
import { replay } from './write-log.ts';

const TARGET = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');
const WRITER = join(import.meta.dirname, 'durable-writer.ts');
const NAME = 'aoe-log';
const BYTES = 32 << 20;
const LOG_BYTES = 256 << 20;
const BATCHES = 20;
/** Room for a journal beside it. */
const FILE_BYTES = 16 << 20;
/** Mounting takes its time: every so many batches the file is read. */
const LOOK_EACH = 5;
const SEED = Number(process.env.SEED ?? 1);

const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' }).trim();

/** A disk that keeps a log of what reached stable storage. Its cache is volatile: only a flush, or FUA, empties it. */
class LoggedDisk implements Disposable {
  readonly path = `/dev/mapper/${NAME}`;
  readonly #files = ['data', 'log'].map((part) => `/dev/shm/${NAME}-${part}`);
  readonly #loops: string[] = [];

  constructor() {
    this.#files.forEach((file, index) => {
      writeFileSync(file, '');
      truncateSync(file, index === 0 ? BYTES : LOG_BYTES);
      this.#loops.push(run('losetup', '-f', '--show', file));
    });
    run('dmsetup', 'create', NAME, '--table', `0 ${BYTES / 512} log-writes ${this.#loops.join(' ')}`);
  }

  mark(text: string): void {
    run('dmsetup', 'message', NAME, '0', 'mark', text);
  }

  /** Ends the disk. The returned function gives its content at each mark. */
  replay(onMark: (mark: string, image: Buffer) => void): void {
    run('dmsetup', 'remove', '--retry', NAME);
    const log = openSync(this.#loops[1] ?? '', 'r');
    const image = Buffer.alloc(BYTES);
    try {
      replay(log, image, (mark) => onMark(mark, image));
    } finally {
      closeSync(log);
    }
  }

  [Symbol.dispose](): void {
    // The replay has removed it, if it came so far.
    if (existsSync(this.path)) run('dmsetup', 'remove', '--retry', NAME);
    for (const loop of this.#loops) run('losetup', '-d', loop);
    for (const file of this.#files) rmSync(file, { force: true });
  }
}

/** Batches of writes to the path, with the disk marked after each; gives them when the target has been killed. */
async function write(exported: string, args: readonly string[] = []): Promise<Write[][]> {
  await using lab = new WireLab({ mtu: 9000 });
  lab.start(TARGET, '--interface', 'target0', '--export', `7.3=${exported}`, ...args);
  return JSON.parse(run('ip', 'netns', 'exec', lab.name, process.execPath, WRITER, NAME, String(SEED), String(BATCHES)));
}

/** What must be on the exported disk at each mark: `compare` gets it with the logged disk's own content. */
function replayed(disk: LoggedDisk, batches: Write[][], bytes: number, compare: (expected: Buffer, image: Buffer) => boolean): void {
  const expected = Buffer.alloc(bytes);
  let marks = 0;
  disk.replay((mark, image) => {
    assert.equal(mark, `batch-${marks}`);
    for (const [sector, sectors, byte] of batches[marks] ?? []) expected.fill(byte, sector * 512, (sector + sectors) * 512);
    assert.ok(compare(expected, image), `${mark}: an answered write is lost with the disk's cache (SEED=${SEED})`);
    marks++;
  });
  assert.equal(marks, BATCHES);
}

for (const [what, args] of [
  ['by io_uring', []],
  ['by threads', ['--no-uring']],
] as const) {
  test(`each write that was answered is on stable storage (${what})`, { timeout: 240_000 }, async () => {
    using disk = new LoggedDisk();
    const batches = await write(disk.path, args);
    replayed(disk, batches, BYTES, (expected, image) => image.equals(expected));
  });
}

test('each write that was answered is on stable storage (in a sparse file)', { timeout: 300_000 }, async () => {
  using disk = new LoggedDisk();
  const folder = mkdtempSync('/tmp/aoe-durable-');
  const [mounted, image] = [join(folder, 'mounted'), join(folder, 'image')];
  const file = join(mounted, 'disk');
  mkdirSync(mounted);
  const within = <T>(device: string, options: string[], action: () => T): T => {
    run('mount', ...options, device, mounted);
    try {
      return action();
    } finally {
      run('umount', mounted);
    }
  };
  try {
    run('mkfs.ext4', '-q', disk.path);
    run('mount', disk.path, mounted);
    let batches: Write[][];
    try {
      writeFileSync(file, '');
      truncateSync(file, FILE_BYTES);
      run('sync');
      batches = await write(`${file},reclaim`);
    } finally {
      run('umount', mounted);
    }
    let looks = 0;
    replayed(disk, batches, FILE_BYTES, (expected, content) => {
      if (looks++ % LOOK_EACH !== 0) return true;
      // As after a power failure: the journal is replayed first.
      writeFileSync(image, content);
      return within(image, ['-o', 'loop'], () => readFileSync(file).equals(expected));
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the log shows a write that nobody flushed as missing: the check can fail', () => {
  using disk = new LoggedDisk();
  const write = (...flags: string[]) => run('dd', 'if=/proc/self/exe', `of=${disk.path}`, 'bs=4k', 'count=1', 'status=none', ...flags);
  write('oflag=direct', 'conv=notrunc');
  disk.mark('unflushed');
  write('oflag=direct,dsync', 'conv=notrunc');
  disk.mark('flushed');
  const found: Record<string, boolean> = {};
  disk.replay((mark, image) => {
    found[mark] = image.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'));
  });
  assert.deepEqual(found, { unflushed: false, flushed: true });
});
