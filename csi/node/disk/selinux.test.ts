import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasLabel, showSelinux } from './selinux.ts';

const WITH = 'nodev\tsysfs\nnodev\tselinuxfs\n\text4\n';
const WITHOUT = 'nodev\tsysfs\n\text4\n';
const MOUNTED = 'sysfs /sys sysfs rw 0 0\nselinuxfs /sys/fs/selinux selinuxfs rw 0 0\n';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'selinux-'));
});

afterEach(() => rm(root, { recursive: true, force: true }));

async function show(filesystems: string, mounts: string): Promise<string[]> {
  await mkdir(join(root, 'proc/self'), { recursive: true });
  await writeFile(join(root, 'proc/filesystems'), filesystems);
  await writeFile(join(root, 'proc/self/mounts'), mounts);
  const commands: string[] = [];
  await showSelinux(
    async (file, args) => {
      commands.push([file, ...args].join(' '));
      return { stdout: '', stderr: '' };
    },
    new AbortController().signal,
    root,
  );
  return commands;
}

const config = () => readFile(join(root, 'etc/selinux/config'), 'utf8').catch(() => undefined);

it.each([
  [['context="system_u:object_r:container_file_t:s0:c1,c2"'], true],
  [['noatime', 'rootcontext=system_u:object_r:a_t'], true],
  [['noatime', 'x-context=1'], false],
  [[], false],
])('of the options %j, it says that a label is among them: %s', (options, expected) => {
  expect(hasLabel(options)).toBe(expected);
});

it('mounts selinuxfs and makes a configuration in a container on a kernel with SELinux', async () => {
  expect(await show(WITH, 'sysfs /sys sysfs rw 0 0\n')).toStrictEqual(['mount -t selinuxfs selinuxfs /sys/fs/selinux']);
  expect(await config()).toContain('is_selinux_enabled');
});

it('mounts selinuxfs once', async () => {
  expect(await show(WITH, MOUNTED)).toStrictEqual([]);
  expect(await config()).toBeDefined();
});

it('is content when the mount of another volume was first, and tells any other failure', async () => {
  const failing = async (mountsThen: string): Promise<void> => {
    await mkdir(join(root, 'proc/self'), { recursive: true });
    await writeFile(join(root, 'proc/filesystems'), WITH);
    await writeFile(join(root, 'proc/self/mounts'), 'sysfs /sys sysfs rw 0 0\n');
    const exec = async () => {
      await writeFile(join(root, 'proc/self/mounts'), mountsThen);
      throw new Error('already mounted or mount point busy');
    };
    await showSelinux(exec, new AbortController().signal, root);
  };
  await failing(MOUNTED);
  await expect(failing('sysfs /sys sysfs rw 0 0\n')).rejects.toThrow('busy');
});

it('keeps the configuration that is there', async () => {
  await mkdir(join(root, 'etc/selinux'), { recursive: true });
  await writeFile(join(root, 'etc/selinux/config'), 'SELINUX=enforcing\n');
  await show(WITH, MOUNTED);
  expect(await config()).toBe('SELINUX=enforcing\n');
});

it('does nothing on a kernel without SELinux', async () => {
  expect(await show(WITHOUT, 'sysfs /sys sysfs rw 0 0\n')).toStrictEqual([]);
  expect(await config()).toBeUndefined();
});
