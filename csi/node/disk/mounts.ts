import { readFile } from 'node:fs/promises';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import type { Mounter, MountPoint } from '../contracts.ts';

const MOUNT_MS = 60_000;

/** Parses /proc/self/mountinfo (proc(5)). Lines that cannot be read are left out. */
export function parseMountinfo(text: string): MountPoint[] {
  return text.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ');
    const [, , device, root, target, options] = left?.split(' ') ?? [];
    const [type, source, superOptions] = right?.split(' ') ?? [];
    if (!device || !root || !target || !type || source === undefined) return [];
    return [
      {
        device,
        root: unescapePath(root),
        target: unescapePath(target),
        options: options?.split(',') ?? [],
        type,
        source: unescapePath(source),
        superOptions: superOptions?.split(',') ?? [],
      },
    ];
  });
}

/** Blank, tab, newline and backslash are written as octal. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mount on top at a path: the one that is seen there. */
export function mountAt(mounts: readonly MountPoint[], target: string): MountPoint | undefined {
  return mounts.findLast((each) => each.target === target);
}

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
    const args = [...(type ? ['-t', type] : []), ...(options.length > 0 ? ['-o', options.join(',')] : []), source, target];
    try {
      await this.#exec('mount', args, { timeoutMs: MOUNT_MS, signal });
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `mount of ${source} at ${target} failed: ${detail(error)}`, { cause: error });
    }
  }

  async unmount(target: string, { lazy = false, signal }: { lazy?: boolean; signal: AbortSignal }): Promise<void> {
    let failure: unknown;
    try {
      await this.#exec('umount', [...(lazy ? ['-l'] : []), target], { timeoutMs: MOUNT_MS, signal });
    } catch (error) {
      failure = error;
    }
    // Only the mount table tells whether it is done.
    if (!mountAt(await this.list(), target)) return;
    if (!failure) return this.unmount(target, { lazy, signal });
    throw new RpcError(Code.INTERNAL, `unmount of ${target} failed, it is still mounted: ${detail(failure)}`, { cause: failure });
  }
}

/** What the program wrote about its failure, on one line. */
export function detail(error: unknown): string {
  const stderr = (error as { stderr?: unknown }).stderr;
  const text = typeof stderr === 'string' && stderr.trim() !== '' ? stderr : messageOf(error);
  return text.trim().replaceAll(/\s*\n\s*/g, '; ');
}
