import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { exec } from '../../../run/exec.ts';
import { zeroFreeSpace } from './zero-free-space.ts';

const MiB = 2 ** 20;
const { signal } = new AbortController();
/** Half a GiB is written, and the disk of a busy machine may be slow. */
const LIMIT_MS = 300_000;

function sh(...[program = '', ...args]: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** A file system in a file, mounted; undefined where that cannot be. */
function mounted(type: 'ext4' | 'xfs', bytes: number) {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-free-'));
  const [image, path] = [join(directory, 'image'), join(directory, 'mnt')];
  mkdirSync(path);
  writeFileSync(image, '');
  truncateSync(image, bytes);
  const clean = (): void => {
    for (let tries = 0; tries < 300 && !sh('umount', path); tries++) sh('sleep', '0.1');
    rmSync(directory, { recursive: true, force: true, maxRetries: 0 });
  };
  onTestFinished(clean);
  const made = sh(`mkfs.${type}`, '-q', image) && sh('mount', '-o', 'loop', image, path);
  const free = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  /** Waits until about as much is free as before: the kernel frees the blocks of a killed program's file a moment later. */
  const isFreed = async (before: number): Promise<boolean> => {
    for (let tries = 0; tries < 400 && free() < before - MiB; tries++) await delay(50);
    return free() >= before - MiB;
  };
  return { made, path, image, free, isFreed, taken: () => statSync(image).blocks * 512 };
}

const whyNot = [
  process.getuid?.() !== 0 && 'needs root, to mount',
  ...['/usr/sbin/xfs_io', '/bin/dd', '/dev/loop-control'].map((path) => !existsSync(path) && `needs ${path}`),
].find((each) => each !== false);

describe.skipIf(whyNot ?? false)('free space of a real file system', () => {
  for (const type of ['ext4', 'xfs'] as const) {
    test(
      `zeros take the free space of ${type} but for the reserve, and then nothing is left of them`,
      async () => {
        const disk = mounted(type, 512 * MiB);
        expect(disk.made).toBe(true);
        writeFileSync(join(disk.path, 'data'), 'x'.repeat(1000));
        const names = readdirSync(disk.path);
        const before = disk.free();
        const request = { path: disk.path, disk: '/dev/none', reserve: 100 * MiB, limitSeconds: 280 };
        let least = before;
        const watch = setInterval(() => {
          least = Math.min(least, disk.free());
          expect(readdirSync(disk.path)).toStrictEqual(names);
        }, 10);
        const written: number[] = [];
        const wrong: number[] = [];
        const onWritten = (size: number): void => {
          // What is free, and what will be: as if the file were not there, but for a slice. With the last line it may be gone already.
          if (size !== written.at(-1)) wrong.push(disk.free() + size - before);
          written.push(size);
        };
        const { bytes, end } = await zeroFreeSpace(exec, request, { signal, sliceBytes: 16 * MiB, settleSeconds: 1, onWritten });
        expect([written[0], written.at(-1)]).toStrictEqual([16 * MiB, bytes]);
        expect(Math.max(...wrong.map(Math.abs))).toBeLessThan(20 * MiB);
        clearInterval(watch);
        expect(end).toBe('all');
        expect(bytes).toBeGreaterThan(before - 124 * MiB);
        expect(least).toBeGreaterThanOrEqual(98 * MiB);
        expect(least).toBeLessThan(124 * MiB);
        expect(await disk.isFreed(before)).toBe(true);
        // Written, and not left out: the loop device has no holes there.
        expect(disk.taken()).toBeGreaterThan(bytes);
      },
      LIMIT_MS,
    );
  }

  test(
    'space that somebody needs is freed at once, and a run that is ended leaves nothing',
    async () => {
      const disk = mounted('ext4', 512 * MiB);
      const before = disk.free();
      const request = { path: disk.path, disk: '/dev/none', reserve: 100 * MiB, limitSeconds: 280 };
      const until = async (bytes: number): Promise<void> => {
        while (disk.free() > bytes) await delay(5);
      };
      const run = zeroFreeSpace(exec, request, { signal, sliceBytes: 16 * MiB, settleSeconds: 30 });
      await until(124 * MiB);
      const begun = performance.now();
      expect(sh('fallocate', '-l', String(70 * MiB), join(disk.path, 'users'))).toBe(true);
      expect(await run).toMatchObject({ end: 'needed' });
      expect(performance.now() - begun).toBeLessThan(15_000);
      expect(await disk.isFreed(before - 70 * MiB)).toBe(true);

      const ended = Promise.withResolvers<void>();
      const caller = new AbortController();
      const killed = zeroFreeSpace(exec, request, {
        signal: caller.signal,
        sliceBytes: 16 * MiB,
        onKilled: (end) => void end.then(ended.resolve),
      });
      await until(before - 120 * MiB);
      caller.abort(new Error('unstage'));
      await expect(killed).rejects.toThrow('unstage');
      await ended.promise;
      expect(await disk.isFreed(before - 70 * MiB)).toBe(true);
      expect(readdirSync(disk.path).sort()).toStrictEqual(['lost+found', 'users']);
    },
    LIMIT_MS,
  );

  test(
    'it goes near to the reserve by small steps',
    async () => {
      const disk = mounted('ext4', 256 * MiB);
      const reserve = 103 * MiB;
      let least = disk.free();
      const watch = setInterval(() => {
        least = Math.min(least, disk.free());
      }, 2);
      const { bytes, end } = await zeroFreeSpace(
        exec,
        { path: disk.path, disk: '/dev/none', reserve, limitSeconds: 280 },
        { signal, settleSeconds: 1 },
      );
      clearInterval(watch);
      expect(end).toBe('all');
      expect(bytes % (4 * MiB)).toBe(0);
      expect(least).toBeGreaterThanOrEqual(reserve - MiB);
      expect(least).toBeLessThan(reserve + 5 * MiB);
    },
    LIMIT_MS,
  );

  test(
    'time that is over ends it, and so does a file system that is nearly full from the start',
    async () => {
      const disk = mounted('ext4', 512 * MiB);
      const request = { path: disk.path, disk: '/dev/none', reserve: 100 * MiB, limitSeconds: 0 };
      expect(await zeroFreeSpace(exec, request, { signal, settleSeconds: 0 })).toStrictEqual({ bytes: 0, end: 'limit' });
      const full = { ...request, reserve: disk.free(), limitSeconds: 280 };
      expect(await zeroFreeSpace(exec, full, { signal })).toStrictEqual({ bytes: 0, end: 'all' });
      await expect(zeroFreeSpace(exec, { ...request, path: '/nowhere' }, { signal })).rejects.toThrow(/nowhere/);
    },
    LIMIT_MS,
  );
});
