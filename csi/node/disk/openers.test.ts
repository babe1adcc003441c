import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceNumber } from '../../../run/device-number.ts';
import { type Exec, exec } from '../../../run/exec.ts';
import { findOpeners as find, lookAtProcesses, type OpenersOptions } from './openers.ts';

const numberOf = (dev: number): string => Object.values(deviceNumber(dev)).join(':');
const signal = new AbortController().signal;
const findOpeners = async (options: OpenersOptions, wanted: Parameters<typeof find>[2], stop: AbortSignal): Promise<string[]> =>
  find(options, await lookAtProcesses(options, stop), wanted, stop);
/** A sys file system with these loop devices, each with what it is bound to. */
function fakeSysfs(loops: Record<string, string | undefined> = {}): string {
  const sysfs = mkdtempSync(join(tmpdir(), 'aoe-sysfs-'));
  mkdirSync(join(sysfs, 'block'));
  for (const [name, file] of Object.entries(loops)) {
    mkdirSync(join(sysfs, 'block', name, file === undefined ? '' : 'loop'), { recursive: true });
    if (file !== undefined) writeFileSync(join(sysfs, 'block', name, 'loop/backing_file'), `${file}\n`);
  }
  return sysfs;
}
const sysfs = fakeSysfs();

test('a real process that has a file of the file system open is named', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'aoe-openers-')), 'file');
  writeFileSync(file, '');
  const device = numberOf(statSync(file).dev);
  const child = spawn('sleep', ['60'], { stdio: [openSync(file, 'r'), 'ignore', 'ignore'] });
  await once(child, 'spawn');
  const found = await findOpeners({ exec, proc: '/proc', sysfs }, { paths: ['/dev/etherd/e0.0'], devices: new Set([device]) }, signal);
  child.kill('SIGKILL');
  rmSync(file);
  expect(found, found.join()).toContain(`process ${child.pid} (sleep)`);
});

/** A proc directory with one process, 77, and what it has open. */
function fakeProc(fds: Record<string, { link: string; mount: string }>, mounts = '27 1 0:21 / / rw - erofs none rw'): string {
  const proc = mkdtempSync(join(tmpdir(), 'aoe-proc-'));
  const own = join(proc, '77');
  for (const name of ['fd', 'fdinfo', 'ns']) mkdirSync(join(own, name), { recursive: true });
  mkdirSync(join(proc, 'sys'));
  writeFileSync(join(own, 'comm'), 'qemu\n');
  writeFileSync(join(own, 'mountinfo'), `${mounts}\n`);
  symlinkSync('mnt:[4026531841]', join(own, 'ns/mnt'));
  for (const [fd, { link, mount }] of Object.entries(fds)) {
    symlinkSync(link, join(own, 'fd', fd));
    writeFileSync(join(own, 'fdinfo', fd), `pos:\t0\nflags:\t02\nmnt_id:\t${mount}\n`);
  }
  return proc;
}

/** stat(1) that knows a block device and a regular file; the latter is on device 0:21. */
const statOf =
  (stated: string[] = []): Exec =>
  async (command, args) => {
    if (command !== 'stat') return { stdout: '', stderr: '' };
    const files = args.filter((each) => each.startsWith('/'));
    stated.push(...files);
    const lines = files.map((file) => (file.endsWith('/3') ? `6180 98:30 5 ${file}` : `81a4 0:0 21 ${file}`));
    return { stdout: lines.join('\n'), stderr: '' };
  };

test('a container that has the disk open through a device node of its own is named', async () => {
  const proc = fakeProc({ 3: { link: '/dev/xvda', mount: '27' }, 4: { link: '/etc/hosts', mount: '27' } });
  const wanted = { paths: ['/dev/etherd/e7.3'], devices: new Set(['152:48']) };
  expect(await findOpeners({ exec: statOf(), proc, sysfs }, wanted, signal)).toStrictEqual(['process 77 (qemu)']);
  expect(await findOpeners({ exec: statOf(), proc, sysfs }, { ...wanted, devices: new Set(['152:64']) }, signal)).toStrictEqual([]);
});

test('files on remote file systems, sockets and pipes are not asked about: stat(2) could hang', async () => {
  const proc = fakeProc(
    {
      1: { link: 'pipe:[1]', mount: '15' },
      3: { link: '/mnt/nfs/file', mount: '28' },
      4: { link: '/etc/hosts', mount: '27' },
    },
    ['27 1 0:21 / / rw - erofs none rw', '28 27 0:40 / /mnt/nfs rw - nfs4 server:/ rw'].join('\n'),
  );
  const stated: string[] = [];
  await findOpeners({ exec: statOf(stated), proc, sysfs }, { paths: ['/dev/etherd/e7.3'], devices: new Set() }, signal);
  expect(stated).toStrictEqual([join(proc, '77/fd/4')]);
});

test('no program is started for files on file systems that answer from memory, nor for loop devices that are not bound', async () => {
  const mounts = '27 1 0:21 / / rw - overlay overlay rw\n28 27 0:5 / /dev rw - devtmpfs none rw';
  const proc = fakeProc({ 3: { link: '/dev/null', mount: '28' }, 4: { link: '/etc/hosts', mount: '27' } }, mounts);
  const none: Exec = async (program) => assert.fail(`${program} was started`);
  const options = { exec: none, proc, sysfs: fakeSysfs({ loop0: undefined }) };
  const device = numberOf(statSync('/etc/hosts').dev);
  expect(await findOpeners(options, { paths: ['/dev/etherd/e7.3'], devices: new Set() }, signal)).toStrictEqual([]);
  expect(await findOpeners(options, { paths: ['/dev/etherd/e7.3'], devices: new Set([device]) }, signal)).toStrictEqual([
    'process 77 (qemu)',
  ]);
});

test('of a file on a mount that was detached lazily a program says what it is, without asking a server', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'aoe-openers-')), 'file');
  writeFileSync(file, '');
  const proc = fakeProc({ 4: { link: file, mount: '99' } }, '27 1 0:21 / / rw - overlay overlay rw');
  const programs: string[] = [];
  const spy: Exec = (program, args, options) => {
    programs.push(`${program} ${args[0]}`);
    return exec(program, args, options);
  };
  const wanted = { paths: ['/dev/etherd/e7.3'], devices: new Set([numberOf(statSync(file).dev)]) };
  expect(await findOpeners({ exec: spy, proc, sysfs }, wanted, signal)).toStrictEqual(['process 77 (qemu)']);
  expect(programs).toStrictEqual(['stat --cached=always']);
});

/** A program that ends when its time is over, once it is asked about something that hangs; `slow`: in any case. */
const hangingAt =
  (hangs: RegExp, exec: Exec, { slow = false } = {}): Exec =>
  async (program, args, options) => {
    const isList = program === 'losetup' && !args.some((each) => each.startsWith('/') || each === '--version');
    if (!slow && !isList && !args.some((each) => hangs.test(each))) return exec(program, args, options);
    options.onKilled?.(Promise.resolve());
    throw new Error(`${program}: took longer than 10 s and was killed`);
  };

test('files on a mount whose server is dead are left out, and those of all others are looked at', async () => {
  const proc = fakeProc({ 3: { link: '/dev/xvda', mount: '98' }, 5: { link: '/a', mount: '99' }, 6: { link: '/b', mount: '99' } });
  const wanted = { paths: ['/dev/etherd/e7.3'], devices: new Set(['152:48']) };
  const asked: string[] = [];
  expect(await findOpeners({ exec: hangingAt(/[56]$/, statOf(asked)), proc, sysfs }, wanted, signal)).toStrictEqual(['process 77 (qemu)']);
  expect(asked).toStrictEqual([join(proc, '77/fd/3')]);
});

test('a program that takes too long because the machine is slow says nothing about a file', async () => {
  const proc = fakeProc({ 3: { link: '/dev/xvda', mount: '98' } });
  const wanted = { paths: ['/dev/etherd/e7.3'], devices: new Set(['152:48']) };
  await expect(findOpeners({ exec: hangingAt(/./, statOf(), { slow: true }), proc, sysfs }, wanted, signal)).rejects.toThrow(
    /cannot find out which programs.*whatever it is asked/,
  );
});

test('a loop device on a file of a dead server does not hide those of the disk', async () => {
  const list: Exec = async (_program, args) => ({ stdout: `${args.at(-1)} 0:5 77 /dev/etherd/e7.3\n`, stderr: '' });
  const loops = fakeSysfs({ loop0: '/nfs/image', loop1: '/dev/etherd/e7.3' });
  const options = { exec: hangingAt(/loop0/, list), proc: fakeProc({}), sysfs: loops };
  const found = await findOpeners(options, { paths: ['/dev/etherd/e7.3'], devices: new Set() }, signal);
  expect(found.join()).toMatch(/^\/dev\/loop1 \(a loop device[^,]*$/);
});

test('a mount of the disk in the mount namespace of a process is named', async () => {
  const proc = fakeProc({}, '27 1 152:48 / /data rw - ext4 /dev/etherd/e7.3 rw');
  const found = await findOpeners({ exec: statOf(), proc, sysfs }, { paths: ['/dev/etherd/e7.3'], devices: new Set(['152:48']) }, signal);
  expect(found).toStrictEqual(['a mount at /data, as process 77 (qemu) sees it']);
});

test('a file that was closed meanwhile does not matter; a stat that fails does', async () => {
  const proc = fakeProc({ 3: { link: '/dev/xvda', mount: '27' } });
  const wanted = { paths: ['/dev/etherd/e7.3'], devices: new Set(['152:48']) };
  const failing =
    (error: object): Exec =>
    async (command) => {
      if (command === 'stat') throw Object.assign(new Error('stat failed'), error);
      return { stdout: '', stderr: '' };
    };
  expect(await findOpeners({ exec: failing({ code: 1, stdout: '' }), proc, sysfs }, wanted, signal)).toStrictEqual([]);
  await expect(findOpeners({ exec: failing({ code: undefined, stdout: '' }), proc, sysfs }, wanted, signal)).rejects.toThrow(
    /cannot find out/,
  );
});

test('a loop device is found by the inode of the node, whatever path the kubelet has bound it to', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'aoe-openers-')), 'e7.3');
  closeSync(openSync(path, 'w'));
  const { dev, ino } = statSync(path);
  const list: Exec = async (command) => ({
    stdout:
      command === 'losetup'
        ? `/dev/loop0 \\x20\\x200:5\\x20 77 /other\n/dev/loop3 \\x20${numberOf(dev)}\\x20\\x20 ${ino} /pods/dev/a\\x20b\n`
        : '',
    stderr: '',
  });
  const found = await findOpeners(
    { exec: list, proc: fakeProc({}), sysfs: fakeSysfs({ loop0: '/other', loop3: '/pods/dev/a b', loop4: undefined }) },
    { paths: [path], devices: new Set() },
    signal,
  );
  expect(found).toHaveLength(1);
  expect(found[0] ?? '').toMatch(/^\/dev\/loop3 \(a loop device/);
});
