import type { MountPoint } from '../contracts.ts';

/** Parses /proc/PID/mountinfo (proc(5)). Malformed lines are left out. */
export function parseMountinfo(text: string): MountPoint[] {
  return text.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ');
    const [id, , device, root, target, options] = left?.split(' ') ?? [];
    const [type, source, superOptions] = right?.split(' ') ?? [];
    if (!id || !device || !root || !target || !type || source === undefined) return [];
    return [
      {
        id,
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

/** The kernel writes blank, tab, newline and backslash as three octal digits after a backslash. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The topmost mount at a path: the one that programs see there. */
export function mountAt(mounts: readonly MountPoint[], target: string): MountPoint | undefined {
  return mounts.findLast((each) => each.target === target);
}
