import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Code, RpcError } from '../../../rpc/status.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import type { Exec } from '../../../run/exec.ts';
import { failureText } from '../failure-text.ts';
import { parseMountinfo } from './mountinfo.ts';
import { deviceOf } from './syscalls.ts';

const TOOL_MS = 10_000;
/** Files that one stat(1) is given: some 20 bytes each, far below the limit of a command line. */
const FILES_AT_ONCE = 2_000;
/** `%f` of stat(1), the mode in hexadecimal: the bits of the file type, and those of a block device (inode(7)). */
const TYPE_MASK = 0xf000;
const BLOCK_DEVICE = 0x6000;
/** File systems whose server may be silent: to ask for a file there can hang, and no device node is on them. */
const REMOTE = /^(nfs|cifs|smb|ceph|9p|fuse|afs|lustre|gluster|gfs|ocfs)/;
/** File systems that say from memory what an open file is. */
const IN_MEMORY = /^(devtmpfs|tmpfs|ramfs|ext[234]|xfs|btrfs|overlay|squashfs|proc|sysfs|cgroup2?|devpts|hostfs|rootfs)$/;

export interface OpenersOptions {
  readonly exec: Exec;
  /** The proc file system of the host: it must show the processes of all containers (hostPID). */
  readonly proc: string;
  readonly sysfs: string;
}

interface Wanted {
  /** Paths of device nodes, such as `/dev/etherd/e7.3`. */
  readonly paths: readonly string[];
  /** Device numbers, `major:minor`, of the disk, its partitions, and what is stacked on it. */
  readonly devices: ReadonlySet<string>;
}

/** What the processes of this node have open and mounted, by device (`major:minor`). */
export interface OpenFiles {
  /** Process IDs by the device that they have open, or on which they have a file open. */
  readonly pids: ReadonlyMap<string, ReadonlySet<string>>;
  /** A mount of the device in each mount namespace that has one, and a process that sees it. */
  readonly mounts: ReadonlyMap<string, readonly { readonly target: string; readonly pid: string }[]>;
}

/**
 * Finds who has a disk open, as far as the kernel shows it: file descriptors of processes on the disk or on a file system on it, mounts
 * in any process's mount namespace, and loop devices. The aoe driver counts opens, but shows the count only of a disk that is down
 * (drivers/block/aoe/aoeblk.c, aoedisk_show_state).
 * @param open what {@link lookAtProcesses} has just seen
 * @returns a phrase for each, such as `process 77 (qemu)`
 * @throws RpcError INTERNAL when it cannot be found out
 */
export async function findOpeners(options: OpenersOptions, open: OpenFiles, wanted: Wanted, signal: AbortSignal): Promise<string[]> {
  const { proc } = options;
  const devices = [...wanted.devices];
  const mounts = devices.flatMap((device) => open.mounts.get(device) ?? []);
  const pids = new Set(devices.flatMap((device) => [...(open.pids.get(device) ?? [])]));
  return [
    ...mounts.map(({ target, pid }) => `a mount at ${target}, as ${nameOf(proc, pid)} sees it`),
    ...[...pids].map((pid) => nameOf(proc, pid)),
    ...(await findLoops(options, wanted, signal)),
  ];
}

interface Process {
  readonly pid: string;
  readonly mounts: ReadonlyMap<string, { device: string; type: string }>;
}

/** @throws RpcError INTERNAL when it cannot be found out what some files are */
export async function lookAtProcesses({ exec, proc }: OpenersOptions, signal: AbortSignal): Promise<OpenFiles> {
  const namespaces = new Map<string, Process['mounts']>();
  const pids = new Map<string, Set<string>>();
  const mounts = new Map<string, { target: string; pid: string }[]>();
  const unknown: string[] = [];
  const note = (device: string, pid: string): void => void pids.set(device, (pids.get(device) ?? new Set()).add(pid));
  for (const pid of readdirSync(proc).filter((name) => /^\d+$/.test(name))) {
    // The files of proc are read at once, since that asks no file system; but other work of this process gets its turn.
    await nextTurn(undefined, { signal });
    const namespace = attempt(() => readlinkSync(join(proc, pid, 'ns/mnt')));
    if (namespace === undefined) continue;
    let known = namespaces.get(namespace);
    if (!known) {
      const table = parseMountinfo(textOf(join(proc, pid, 'mountinfo')));
      known = new Map(table.map(({ id, device, type }) => [id, { device, type }]));
      namespaces.set(namespace, known);
      // Of several mounts of a device the first one.
      for (const [device, target] of new Map(table.toReversed().map((mount) => [mount.device, mount.target])))
        mounts.set(device, [...(mounts.get(device) ?? []), { target, pid }]);
    }
    for (const file of localFiles(proc, { pid, mounts: known })) {
      if (!file.isInMemory) unknown.push(file.path);
      else note(deviceOf(file.path) ?? '', pid);
    }
  }
  for (let start = 0; start < unknown.length; start += FILES_AT_ONCE) {
    for (const { path, device } of await statAll(exec, unknown.slice(start, start + FILES_AT_ONCE), signal))
      note(device, path.slice(proc.length + 1).split('/')[0] ?? '');
  }
  return { pids, mounts };
}

/** Open files of a process that have a path and are not on a remote file system, as paths below /proc/PID/fd. */
function localFiles(proc: string, { pid, mounts }: Process): { path: string; isInMemory: boolean }[] {
  return listOf(join(proc, pid, 'fd')).flatMap((fd) => {
    const path = join(proc, pid, 'fd', fd);
    // Sockets and pipes have no path.
    const link = attempt(() => readlinkSync(path));
    if (!link?.startsWith('/')) return [];
    // Many of the files that are open; /dev is not on a remote file system.
    if (link === '/dev/null') return [{ path, isInMemory: true }];
    const info = textOf(join(proc, pid, 'fdinfo', fd));
    // A mount that was detached lazily is in no table.
    const type = mounts.get(/^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '')?.type;
    if (type !== undefined && REMOTE.test(type)) return [];
    return [{ path, isInMemory: type !== undefined && IN_MEMORY.test(type) }];
  });
}

/**
 * What open files are, or are on, of which it is not known that their file system answers. In a program of its own, since it can hang.
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

function nameOf(proc: string, pid: string): string {
  const name = textOf(join(proc, pid, 'comm')).trim();
  return `process ${pid}${name === '' ? '' : ` (${name})`}`;
}

/** Loop devices on the disk: the kubelet makes one for each pod that uses a raw block volume, and keeps it as long as the pod. */
async function findLoops({ exec, sysfs }: OpenersOptions, { paths }: Wanted, signal: AbortSignal): Promise<string[]> {
  const block = join(sysfs, 'block');
  const isBound = (name: string): boolean => existsSync(join(block, name, 'loop/backing_file'));
  if (!readdirSync(block).some((name) => name.startsWith('loop') && isBound(name))) return [];
  const nodes = (await Promise.all(paths.map((path) => stat(path).catch(() => undefined)))).flatMap((each) => each ?? []);
  const args = ['--list', '--noheadings', '--raw', '--output', 'NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE'];
  const { stdout } = await exec('losetup', args, { timeoutMs: TOOL_MS, signal }).catch((error: unknown) => {
    throw new RpcError(Code.INTERNAL, `cannot find out which loop devices have the disk open: ${failureText(error)}`, { cause: error });
  });
  return stdout.split('\n').flatMap((line) => {
    // Blanks are written as \x20, also those with which numbers are padded.
    const [name, device, inode, file = ''] = line.split(' ').map((field) => field.replaceAll('\\x20', ' ').trim());
    // The inode is that of the device's node, whatever path the kubelet has bound it to.
    const isOurs = paths.includes(file) || nodes.some(({ dev, ino }) => device === numberOf(dev) && inode === String(ino));
    return name && isOurs ? [`${name} (a loop device: a pod has the volume as a raw block device)`] : [];
  });
}

/** Processes end, and files are closed, while they are looked at: what is gone gives undefined, no names, or no text. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function listOf(directory: string): string[] {
  return attempt(() => readdirSync(directory)) ?? [];
}

function textOf(path: string): string {
  return attempt(() => readFileSync(path, 'utf8')) ?? '';
}
