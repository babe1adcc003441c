import { readFile } from 'node:fs/promises';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import type { Mounter, MountPoint } from '../contracts.ts';
import { failureText } from '../failure-text.ts';
import { mountAt, parseMountinfo } from './mountinfo.ts';
import { hasLabel, showSelinux } from './selinux.ts';
import { bindMount, detachMount, mountTmpfs } from './syscalls.ts';

const MOUNT_MS = 60_000;

/**
 * mount(8), umount(8) and the mount table of this process. What cannot wait for a disk is done without a program; when that fails, the
 * program tries it too, and says why it fails.
 */
export class SystemMounter implements Mounter {
  readonly #exec: Exec;

  constructor(exec: Exec) {
    this.#exec = exec;
  }

  async list(): Promise<MountPoint[]> {
    return parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
  }

  async mount(
    source: string,
    target: string,
    { type, options, signal }: { type?: string; options: readonly string[]; signal: AbortSignal },
  ): Promise<void> {
    if (options.join() === 'bind' && !type && (await bindMount(source, target))) return;
    if (type === 'tmpfs' && (await mountTmpfs(source, target, options))) return;
    const args = [...(type ? ['-t', type] : []), ...(options.length > 0 ? ['-o', options.join(',')] : []), source, target];
    try {
      if (hasLabel(options)) await showSelinux(this.#exec, signal);
      await this.#exec('mount', args, { timeoutMs: MOUNT_MS, signal });
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `mount of ${source} at ${target} failed: ${failureText(error)}`, { cause: error });
    }
  }

  async unmount(target: string, { lazy = false, signal }: { lazy?: boolean; signal: AbortSignal }): Promise<void> {
    const mounts = await this.list();
    const top = mountAt(mounts, target);
    const isQuick = top?.type === 'tmpfs' || mounts.some(({ device, id }) => device === top?.device && id !== top.id);
    let failure: unknown;
    try {
      if (!isQuick || !(await detachMount(target, { lazy })))
        await this.#exec('umount', [...(lazy ? ['-l'] : []), target], { timeoutMs: MOUNT_MS, signal });
    } catch (error) {
      failure = error;
    }
    // Only the mount table says whether it is unmounted. What lay below stays.
    if (!(await this.list()).some((each) => each.id === top?.id && each.target === target)) return;
    throw new RpcError(Code.INTERNAL, `unmount of ${target} failed, it is still mounted: ${failureText(failure)}`, { cause: failure });
  }
}
