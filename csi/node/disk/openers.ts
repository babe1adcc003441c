import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, RpcError } from '../../../rpc/status.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import type { Exec } from '../../../run/exec.ts';
import { failureText } from '../failure-text.ts';
import { parseMountinfo } from './mountinfo.ts';

const TOOL_MS = 10_000;
/** Files that one stat(1) is given: some 20 bytes each, far below the limit of a command line. */
const FILES_AT_ONCE = 2_000;
/** `%f` of stat(1), the mode in hexadecimal: the bits of the file type, and those of a block device (inode(7)). */
const TYPE_MASK = 0xf000;
const BLOCK_DEVICE = 0x6000;
/** File systems whose server may be silent: stat(2) of a file there can hang, and no device node is on them. */
const REMOTE = /^(nfs|cifs|smb|ceph|9p|fuse|afs|lustre|gluster|gfs|ocfs)/;

export interface OpenersOptions {
  readonly exec: Exec;
  /** The proc file system of the host: it must show the processes of all containers (hostPID). */
  readonly proc: string;
}

interface Wanted {
  /** Path of the disk's device node, such as `/dev/etherd/e7.3`. */
  readonly path: string;
  /** Device numbers, `major:minor`, of the disk and its partitions. */
  readonly devices: ReadonlySet<string>;
}

/**
 * Finds who has a disk open, as far as the kernel shows it: file descriptors of processes on the disk or on a file system on it, mounts
 * in any process's mount namespace, and loop devices. The aoe driver counts opens, but shows the count only of a disk that is down
 * (drivers/block/aoe/aoeblk.c, aoedisk_show_state).
 * @returns a phrase for each, such as `process 77 (qemu)`
 * @throws RpcError INTERNAL when it cannot be found out
 */
export async function findOpeners(options: OpenersOptions, wanted: Wanted, signal: AbortSignal): Promise<string[]> {
  const [processes, loops] = await Promise.all([findProcesses(options, wanted, signal), findLoops(options, wanted, signal)]);
  return [...processes, ...loops];
}

interface Process {
  readonly pid: string;
  readonly mounts: ReadonlyMap<string, { device: string; type: string }>;
}

async function findProcesses({ exec, proc }: OpenersOptions, { devices }: Wanted, signal: AbortSignal): Promise<string[]> {
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  const namespaces = new Map<string, Process['mounts']>();
  const found = new Map<string, string>();
  const files: string[] = [];
  for (const pid of pids) {
    signal.throwIfAborted();
    const namespace = await readlink(join(proc, pid, 'ns/mnt')).catch(() => undefined);
    if (namespace === undefined) continue;
    let mounts = namespaces.get(namespace);
    if (!mounts) {
      const table = parseMountinfo(await readFile(join(proc, pid, 'mountinfo'), 'utf8').catch(() => ''));
      mounts = new Map(table.map(({ id, device, type }) => [id, { device, type }]));
      namespaces.set(namespace, mounts);
      const mount = table.find(({ device }) => devices.has(device));
      if (mount) found.set(`mount ${namespace}`, `a mount at ${mount.target}, as ${await nameOf(proc, pid)} sees it`);
    }
    files.push(...(await localFiles(proc, { pid, mounts })));
  }
  for (let start = 0; start < files.length; start += FILES_AT_ONCE) {
    for (const file of await statAll(exec, files.slice(start, start + FILES_AT_ONCE), signal)) {
      if (!devices.has(file.device)) continue;
      const pid = file.path.slice(proc.length + 1).split('/')[0] ?? '';
      if (!found.has(pid)) found.set(pid, await nameOf(proc, pid));
    }
  }
  return [...found.values()];
}

/** Open files of a process that have a path and are not on a remote file system, as paths below /proc/PID/fd. */
async function localFiles(proc: string, { pid, mounts }: Process): Promise<string[]> {
  const fds = await readdir(join(proc, pid, 'fd')).catch(() => []);
  const files = await Promise.all(
    fds.map(async (fd) => {
      // Reading these links and files asks no file system, so it cannot hang. Sockets and pipes have no path.
      const link = await readlink(join(proc, pid, 'fd', fd)).catch(() => '');
      if (!link.startsWith('/')) return undefined;
      const info = await readFile(join(proc, pid, 'fdinfo', fd), 'utf8').catch(() => '');
      const mount = mounts.get(/^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '');
      return mount && REMOTE.test(mount.type) ? undefined : join(proc, pid, 'fd', fd);
    }),
  );
  return files.filter((file) => file !== undefined);
}

/**
 * What the open files are, or are on. In a program of its own: a file can be on a file system that hangs and was unmounted lazily.
 * Files that were closed meanwhile are left out.
 */
async function statAll(exec: Exec, files: readonly string[], signal: AbortSignal): Promise<{ path: string; device: string }[]> {
  const output = await exec('stat', ['--dereference', '--format=%f %t:%T %d %n', ...files], { timeoutMs: TOOL_MS, signal }).then(
    ({ stdout }) => stdout,
    (error: unknown) => {
      // Exit status 1: some of the files do not exist any more.
      const { code, stdout } = error as { code?: unknown; stdout?: unknown };
      if (code === 1 && typeof stdout === 'string') return stdout;
      throw new RpcError(Code.INTERNAL, `cannot find out which programs have the disk open: ${failureText(error)}`, { cause: error });
    },
  );
  return output.split('\n').flatMap((line) => {
    const [, mode, major, minor, on, path] = /^(\w+) (\w+):(\w+) (\d+) (.+)$/.exec(line) ?? [];
    if (!mode || !major || !minor || !on || !path) return [];
    const isBlockDevice = (Number.parseInt(mode, 16) & TYPE_MASK) === BLOCK_DEVICE;
    const device = isBlockDevice ? `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}` : numberOf(Number(on));
    return [{ path, device }];
  });
}

/** A device number of stat(2) as `major:minor`, as mountinfo and sysfs write it. */
function numberOf(dev: number): string {
  const { major, minor } = deviceNumber(dev);
  return `${major}:${minor}`;
}

async function nameOf(proc: string, pid: string): Promise<string> {
  const name = await readFile(join(proc, pid, 'comm'), 'utf8').catch(() => '');
  return `process ${pid}${name.trim() === '' ? '' : ` (${name.trim()})`}`;
}

/** Loop devices on the disk: the kubelet makes one for each pod that uses a raw block volume, and keeps it as long as the pod. */
async function findLoops({ exec }: OpenersOptions, { path }: Wanted, signal: AbortSignal): Promise<string[]> {
  const node = await stat(path).catch(() => undefined);
  const args = ['--list', '--noheadings', '--raw', '--output', 'NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE'];
  const { stdout } = await exec('losetup', args, { timeoutMs: TOOL_MS, signal }).catch((error: unknown) => {
    throw new RpcError(Code.INTERNAL, `cannot find out which loop devices have the disk open: ${failureText(error)}`, { cause: error });
  });
  return stdout.split('\n').flatMap((line) => {
    // Blanks are written as \x20, also those with which numbers are padded.
    const [name, device, inode, file = ''] = line.split(' ').map((field) => field.replaceAll('\\x20', ' ').trim());
    // The inode is that of the disk's node, whatever path the kubelet has bound it to.
    const isOurs = (node && device === numberOf(node.dev) && inode === String(node.ino)) || file === path;
    return name && isOurs ? [`${name} (a loop device: a pod has the volume as a raw block device)`] : [];
  });
}
