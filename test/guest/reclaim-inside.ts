// Tests for a kernel with dm-thin: reclaim.test.ts runs them in a guest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LvmCli } from '../../agent/backends/lvm/command/cli.ts';
import { lvmConfig } from '../../agent/backends/lvm/command/config.ts';
import { LvmThinBackend } from '../../agent/backends/lvm/thin.ts';
import { PATIENCE } from '../testbed/process/patience.ts';
import { WireLab } from '../wire/wire-lab.ts';

const TARGET = join(import.meta.dirname, '../../dist/cargo/release/aoe-target');
const WRITER = join(import.meta.dirname, 'reclaim-writer.ts');
const GROUP = 'aoereclaim';
const MiB = 1 << 20;
const BYTES = 4 * MiB;
const ROUNDS = 2;
const SEED = Number(process.env.SEED ?? 1);
const LIMIT_MS = 60_000 * PATIENCE;

const config = lvmConfig({ udev: false });
const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' }).trim();
const lvm = (command: string, ...args: string[]): string => run(command, '--config', config, ...args);

/** A thin volume in a pool with chunks of so many KiB, in a group on a loop device. */
class ThinDisk implements Disposable {
  readonly path = `/dev/${GROUP}/disk`;
  readonly #file = `/dev/shm/${GROUP}`;
  readonly #loop: string;

  constructor(chunk: number, discards: string) {
    writeFileSync(this.#file, '');
    truncateSync(this.#file, 64 * MiB);
    this.#loop = run('losetup', '-f', '--show', this.#file);
    lvm('vgcreate', '--yes', GROUP, this.#loop);
    const pool = ['--type', 'thin-pool', '-L', '40M', '--chunksize', `${chunk}k`, '--discards', discards, '-n', 'tp', GROUP];
    lvm('lvcreate', '--yes', ...pool);
    lvm('lvcreate', '--yes', '--type', 'thin', '--thinpool', 'tp', '--virtualsize', `${BYTES}b`, '-n', 'disk', GROUP);
  }

  /** What the device has, past the page cache. */
  content(): Buffer {
    return execFileSync('dd', [`if=${this.path}`, 'bs=1M', 'iflag=direct', 'status=none'], { maxBuffer: 2 * BYTES });
  }

  /** How much of it takes space, in percent. */
  get percent(): number {
    return Number(lvm('lvs', '--noheadings', '-o', 'data_percent', `${GROUP}/disk`));
  }

  /** As the agent sees the pool. */
  async reclaims(): Promise<boolean> {
    const cli = new LvmCli(async (command, args) => ({ stdout: execFileSync(command, args, { encoding: 'utf8' }), stderr: '' }), config);
    const wiper = { zero: async () => {} };
    const backend = new LvmThinBackend({ lvm: cli, pool: 'p1', group: GROUP, hasDevice: async () => true, wiper, thinPool: 'tp' });
    await backend.measure(new AbortController().signal);
    return backend.reclaims;
  }

  [Symbol.dispose](): void {
    lvm('vgremove', '--yes', '--force', GROUP);
    run('losetup', '-d', this.#loop);
    rmSync(this.#file);
  }
}

/**
 * Lets the target answer many writes, and kills it: chunks may be on their way back to the pool then.
 * @param comesBack all space of the disk comes back to the pool: waits for that before
 */
async function write(path: string, mode: 'mix' | 'zeros', seed: number, expected: Buffer, comesBack = false): Promise<void> {
  await using lab = new WireLab({ mtu: 9000 });
  lab.start(TARGET, '--interface', 'target0', '--export', `7.3=${path},reclaim`);
  const output = run('ip', 'netns', 'exec', lab.name, process.execPath, WRITER, mode, String(seed));
  for (const [sector, sectors, byte] of JSON.parse(output)) expected.fill(byte, sector * 512, (sector + sectors) * 512);
  if (!comesBack) return;
  // The last chunks go after the last answer.
  const limit = Date.now() + LIMIT_MS;
  while (Number(lvm('lvs', '--noheadings', '-o', 'data_percent', path)) > 0 && Date.now() < limit) await sleep(100);
}

for (const chunk of [64, 192, 1024]) {
  test(`chunks of ${chunk} KiB`, { timeout: 300_000 }, async () => {
    using disk = new ThinDisk(chunk, 'nopassdown');
    // The kernel splits discards of chunks that are no power of two: these are not tried, and the agent does not promise them.
    const isPowerOfTwo = Number.isInteger(Math.log2(chunk));
    assert.equal(await disk.reclaims(), isPowerOfTwo);
    const expected = Buffer.alloc(BYTES);
    for (let round = 0; round < ROUNDS; round++) {
      await write(disk.path, 'mix', SEED * 100 + round, expected);
      assert.ok(disk.content().equals(expected), `round ${round}: a write is lost, or old data shows (SEED=${SEED})`);
    }
    assert.ok(disk.percent > 0);
    await write(disk.path, 'zeros', SEED, expected, isPowerOfTwo);
    assert.ok(disk.content().every((byte) => byte === 0));
    if (isPowerOfTwo) assert.equal(disk.percent, 0);
  });
}

test('a pool that tells the disk below of discards is left alone by the agent', { timeout: 90_000 * PATIENCE }, async () => {
  using disk = new ThinDisk(64, 'passdown');
  assert.equal(await disk.reclaims(), false);
  // As docs/storage.md says, while the volume is active.
  lvm('lvchange', '--discards', 'nopassdown', `${GROUP}/tp`);
  assert.equal(await disk.reclaims(), true);
});
