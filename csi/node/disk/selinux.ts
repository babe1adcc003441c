import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Exec } from '../../../run/exec.ts';

const MOUNT_POINT = '/sys/fs/selinux';
const CONFIG = '/etc/selinux/config';
const MOUNT_MS = 10_000;

/** Whether mount options give the files of a file system an SELinux label, as the kubelet does when CSIDriver has seLinuxMount. */
export const hasLabel = (options: readonly string[]): boolean =>
  options.some((option) => /^(context|fscontext|defcontext|rootcontext)=/.test(option));

/**
 * Lets mount(8) see that the kernel has SELinux. It drops labels without a word where libselinux finds no selinuxfs, or no
 * /etc/selinux/config (is_selinux_enabled(3)), and a container has neither. On a kernel without SELinux nothing is done, and mount(8) is
 * right to drop them.
 * @param root where /proc and /etc are
 * @throws Error when selinuxfs cannot be mounted
 */
export async function showSelinux(exec: Exec, signal: AbortSignal, root = '/'): Promise<void> {
  if (!/^nodev\tselinuxfs$/m.test(await readFile(join(root, 'proc/filesystems'), 'utf8'))) return;
  const isMounted = async (): Promise<boolean> => /^\S+ \S+ selinuxfs /m.test(await readFile(join(root, 'proc/self/mounts'), 'utf8'));
  const config = join(root, CONFIG);
  await mkdir(dirname(config), { recursive: true });
  await writeFile(config, '# Only its presence counts here: see is_selinux_enabled(3).\n', { flag: 'wx' }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
  if (await isMounted()) return;
  try {
    await exec('mount', ['-t', 'selinuxfs', 'selinuxfs', MOUNT_POINT], { timeoutMs: MOUNT_MS, signal });
  } catch (error) {
    // The mount of another volume may have been first.
    if (!(await isMounted())) throw error;
  }
}
