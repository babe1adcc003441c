// Tests for a kernel with ext4 and XFS on loop devices: freeze.test.ts runs them in a guest.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { FreezeError, SystemFreezer } from '../../csi/node/freeze/freezer.ts';
import { FreezeFiles } from '../../csi/node/freeze/records.ts';
import { FreezeSessions } from '../../csi/node/freeze/sessions.ts';
import { deviceNumber } from '../../run/device-number.ts';
import { exec } from '../../run/exec.ts';

const KEEPER = join(import.meta.dirname, `freeze-keeper${extname(import.meta.filename)}`);
const BYTES = { ext4: 32 << 20, xfs: 320 << 20 };
const KILLS = 3;
const WAIT_MS = 90_000;
const LONG_MS = 60_000;

const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' }).trim();
const log = { debug() {}, info() {}, warn() {}, error() {} };

/** A file system on a loop device, mounted, with a program that writes to it all the time. */
class Mounted implements Disposable {
  readonly directory = mkdtempSync('/dev/shm/freeze-');
  readonly file = join(this.directory, 'disk');
  readonly path = join(this.directory, 'mnt');
  readonly records = join(this.directory, 'records');
  readonly device: string;
  readonly #loop: string;
  readonly #processes: ChildProcess[] = [];

  constructor(type: keyof typeof BYTES) {
    writeFileSync(this.file, '');
    truncateSync(this.file, BYTES[type]);
    run(`mkfs.${type}`, '-q', this.file);
    this.#loop = run('losetup', '-f', '--show', this.file);
    mkdirSync(this.path);
    run('mount', this.#loop, this.path);
    const { major, minor } = deviceNumber(statSync(this.#loop).rdev);
    this.device = `${major}:${minor}`;
    this.start(
      'sh',
      '-c',
      `n=0; while true; do n=$((n+1)); echo $n > ${this.path}/new; mv ${this.path}/new ${this.path}/n; sleep 0.01; done`,
    );
  }

  start(program: string, ...args: string[]): ChildProcess {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#processes.push(child);
    return child;
  }

  /** A node plugin. Fulfilled when it has said this word. */
  async keeper(word: string, limitMs: number, ...device: string[]): Promise<ChildProcess> {
    const child = this.start(process.execPath, KEEPER, this.records, String(limitMs), ...device);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (text: Buffer) => String(text).includes(word) && resolve());
      child.once('exit', () => reject(new Error(`the plugin ended before it was ${word}`)));
    });
    return child;
  }

  sessions(limitMs = LONG_MS): FreezeSessions {
    return new FreezeSessions({ freezer: this.freezer, records: new FreezeFiles(this.records), limitMs, log });
  }

  get freezer(): SystemFreezer {
    return new SystemFreezer(exec, new SystemMounter(exec));
  }

  written(): number {
    // Reading is not held up by a freeze.
    return Number(run('cat', join(this.path, 'n')));
  }

  async writes(): Promise<boolean> {
    const before = this.written();
    await sleep(300);
    return this.written() !== before;
  }

  async waitForWrites(): Promise<void> {
    for (const end = Date.now() + WAIT_MS; !(await this.writes().catch(() => false)); )
      assert.ok(Date.now() < end, 'the writer does not go on: the file system is still frozen');
  }

  recorded(): string[] {
    // A plugin that is killed early has not made the directory yet.
    return existsSync(this.records) ? readdirSync(this.records) : [];
  }

  async waitForRecords(): Promise<void> {
    for (const end = Date.now() + WAIT_MS; this.recorded().length > 0; await sleep(50)) assert.ok(Date.now() < end, 'a record is left');
  }

  [Symbol.dispose](): void {
    for (const child of this.#processes) child.kill('SIGKILL');
    try {
      execFileSync('fsfreeze', ['--unfreeze', this.path], { stdio: 'ignore' });
    } catch {
      // It was not frozen.
    }
    run('umount', '-l', this.path);
    run('losetup', '-d', this.#loop);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

for (const type of ['ext4', 'xfs'] as const) {
  test(`${type}: a frozen file system keeps writers waiting, its disk has all that was written, and it goes on after the thaw`, async () => {
    using disk = new Mounted(type);
    const sessions = disk.sessions();
    await sessions.recover(new AbortController().signal);
    await disk.waitForWrites();
    await sessions.freeze('v1', 'f1', disk.device);
    assert.deepEqual(disk.recorded(), ['v1.json']);
    const last = disk.written();
    assert.equal(await disk.writes(), false);
    // As a snapshot of the disk.
    const copy = join(disk.directory, 'copy');
    copyFileSync(disk.file, copy);
    assert.equal(await disk.writes(), false);
    assert.equal(await sessions.thaw('f1'), undefined);
    assert.deepEqual(disk.recorded(), []);
    await disk.waitForWrites();
    // A frozen ext4 needs no recovery of its journal. XFS leaves its log so that inodes without a name are freed at the next mount.
    if (type === 'ext4') assert.doesNotMatch(run('dumpe2fs', '-h', copy), /needs_recovery/);
    const mounted = join(disk.directory, 'copied');
    mkdirSync(mounted);
    run('mount', '-o', `loop${type === 'xfs' ? ',nouuid' : ''}`, copy, mounted);
    // Nobody has synced it.
    const read = Number(run('cat', join(mounted, 'n')));
    run('umount', mounted);
    assert.equal(read, last);
  });

  test(`${type}: what a killed plugin has left frozen is thawed when it starts again`, async () => {
    using disk = new Mounted(type);
    await disk.waitForWrites();
    const killed = await disk.keeper('frozen', LONG_MS, disk.device);
    killed.kill('SIGKILL');
    assert.equal(await disk.writes(), false);
    assert.deepEqual(disk.recorded(), ['v1.json']);
    await disk.keeper('recovered', LONG_MS);
    await disk.waitForWrites();
    await disk.waitForRecords();
  });
}

test('a plugin that is killed anywhere leaves nothing frozen after its next start', { timeout: 270_000 }, async () => {
  using disk = new Mounted('ext4');
  await disk.waitForWrites();
  for (let round = 0; round < KILLS; round++) {
    const killed = await disk.keeper('recovered', LONG_MS, disk.device);
    await sleep(Math.random() * 60);
    killed.kill('SIGKILL');
    const next = await disk.keeper('recovered', LONG_MS);
    await disk.waitForWrites();
    await disk.waitForRecords();
    next.kill('SIGKILL');
  }
});

test('a freeze ends at its limit without anybody, and the thaw says so', async () => {
  using disk = new Mounted('ext4');
  const sessions = disk.sessions(5_000);
  await sessions.recover(new AbortController().signal);
  await disk.waitForWrites();
  await sessions.freeze('v1', 'f1', disk.device);
  await disk.waitForWrites();
  await disk.waitForRecords();
  assert.match((await sessions.thaw('f1')) ?? '', /has ended before/);
});

test('what a person has frozen stays so, and what a person has thawed was not frozen throughout', async () => {
  using disk = new Mounted('xfs');
  const sessions = disk.sessions();
  await sessions.recover(new AbortController().signal);
  await disk.waitForWrites();
  run('fsfreeze', '--freeze', disk.path);
  await assert.rejects(sessions.freeze('v1', 'f1', disk.device), (error: FreezeError) => error instanceof FreezeError && error.isOfOther);
  assert.equal(await disk.writes(), false);
  assert.deepEqual(disk.recorded(), []);
  run('fsfreeze', '--unfreeze', disk.path);
  await sessions.freeze('v1', 'f2', disk.device);
  run('fsfreeze', '--unfreeze', disk.path);
  assert.match((await sessions.thaw('f2')) ?? '', /somebody else has thawed it/);
});

test('a device that is mounted nowhere is not frozen, and nothing below its mount point is', async () => {
  using disk = new Mounted('ext4');
  const sessions = disk.sessions();
  await sessions.recover(new AbortController().signal);
  await assert.rejects(sessions.freeze('v1', 'f1', '7:250'), /is not mounted/);
  await disk.waitForRecords();
  // The table of mounts is behind: it still names a place where another file system is now.
  const mounts = [{ id: '1', device: '7:250', root: '/', target: disk.path, options: [], type: 'ext4', source: '', superOptions: [] }];
  const late = new SystemFreezer(exec, { list: async () => mounts });
  const { signal } = new AbortController();
  await assert.rejects(late.freeze('7:250', { timeoutMs: 1_000, signal }), /another file system/);
  await disk.waitForWrites();
});
