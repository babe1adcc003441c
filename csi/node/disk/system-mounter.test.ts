import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Exec, exec } from '../../../run/exec.ts';
import { guard } from './guard.ts';
import { mountAt } from './mountinfo.ts';
import { SystemMounter } from './system-mounter.ts';

const signal = AbortSignal.timeout(30_000);

test('a failed unmount of a path that is no mount is success: only the mount table counts', async () => {
  const mounter = new SystemMounter(async () => {
    throw new Error('not mounted');
  });
  await mounter.unmount('/no/such/mount', { signal });
});

test('a mount that stays is an error with the words of umount(8)', async () => {
  const mounter = new SystemMounter(async () => {
    throw new Error('target is busy');
  });
  mounter.list = async () => [
    { id: '1', device: '0:1', root: '/', target: '/no/such/mount', options: [], type: 'ext4', source: '/dev/x', superOptions: [] },
  ];
  await expect(mounter.unmount('/no/such/mount', { signal })).rejects.toThrow(/still mounted: target is busy/);
});

const directory = mkdtempSync(join(tmpdir(), 'aoe-mounter-'));
afterAll(() => rmSync(directory, { recursive: true }));
const [staging, pod] = [join(directory, 'staging'), join(directory, 'pod')];
for (const path of [staging, pod]) mkdirSync(path);

const programs: string[] = [];
const counted: Exec = (program, args, options) => {
  programs.push([program, ...args].join(' '));
  return exec(program, args, options);
};
const mounter = new SystemMounter(counted);
const mayMount = await mounter.mount('none', staging, { type: 'ramfs', options: [], signal }).then(
  () => true,
  () => false,
);

describe.skipIf(mayMount ? '' : 'no right to mount')('mount and unmount', () => {
  test('programs run only where a disk may be waited for: for the file system, not for its bind mounts', async () => {
    programs.length = 0;
    await mounter.mount(staging, pod, { options: ['bind'], signal });
    expect(mountAt(await mounter.list(), pod)?.type).toBe('ramfs');
    await mounter.unmount(pod, { signal });
    expect(mountAt(await mounter.list(), pod)).toBeUndefined();
    expect(programs).toStrictEqual([]);
    await mounter.unmount(staging, { signal });
    expect(programs).toStrictEqual([`umount ${staging}`]);
  });

  test('what is mounted on a guard goes without it, and then not even root can write there', async () => {
    programs.length = 0;
    await mounter.mount('none', staging, { type: 'ramfs', options: [], signal });
    expect(await guard(mounter, pod, signal)).toBe(true);
    expect(await guard(mounter, pod, signal)).toBe(false);
    await mounter.mount(staging, pod, { options: ['bind'], signal });
    writeFileSync(join(pod, 'file'), 'x');
    await mounter.unmount(pod, { lazy: true, signal });
    expect(mountAt(await mounter.list(), pod)).toMatchObject({ type: 'tmpfs', options: expect.arrayContaining(['ro', 'noexec']) });
    expect(statSync(pod).mode & 0o7777).toBe(0);
    expect(() => writeFileSync(join(pod, 'file'), 'x')).toThrow(/EROFS/);
    await mounter.unmount(pod, { signal });
    expect(mountAt(await mounter.list(), pod)).toBeUndefined();
    expect(programs).toStrictEqual([`mount -t ramfs none ${staging}`]);
    await mounter.unmount(staging, { signal });
  });

  test('a read-only bind mount is one command', async () => {
    programs.length = 0;
    await mounter.mount(staging, pod, { options: ['bind', 'ro'], signal });
    expect(mountAt(await mounter.list(), pod)?.options).toContain('ro');
    expect(programs).toStrictEqual([`mount -o bind,ro ${staging} ${pod}`]);
    await mounter.unmount(pod, { signal });
  });

  test('what the system call refuses is reported by the program', async () => {
    await expect(mounter.mount(join(directory, 'missing'), pod, { options: ['bind'], signal })).rejects.toThrow(
      /mount of .*missing at .*pod failed: mount: .*does not exist/,
    );
  });
});
