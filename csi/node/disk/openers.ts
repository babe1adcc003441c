import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { stat as statFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Code, RpcError } from '../../../rpc/status.ts';
import { deviceNumber } from '../../../run/device-number.ts';
import type { Exec } from '../../../run/exec.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { failureText } from '../failure-text.ts';
import { parseMountinfo } from './mountinfo.ts';
import { deviceOf } from './syscalls.ts';

const TOOL_MS = 10_000;
/** How many things are asked about at a time, each alone, once something among them has hung. */
const AT_ONCE = 8;
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

/**
 * Files of a file system that does not answer are left out: file systems on disks, and those with device nodes, answer from memory.
 * @throws RpcError INTERNAL when it cannot be found out what some files are
 */
export async function lookAtProcesses({ exec, proc }: OpenersOptions, signal: AbortSignal): Promise<OpenFiles> {
  const namespaces = new Map<string, Process['mounts']>();
  const pids = new Map<string, Set<string>>();
  const mounts = new Map<string, { target: string; pid: string }[]>();
  const unknown: OpenFile[] = [];
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
      if (!file.isInMemory) unknown.push(file);
      else note(deviceOf(file.path) ?? '', pid);
    }
  }
  for (let start = 0; start < unknown.length; start += FILES_AT_ONCE) {
    for (const { path, device } of await statAll(exec, unknown.slice(start, start + FILES_AT_ONCE), signal))
      note(device, path.slice(proc.length + 1).split('/')[0] ?? '');
  }
  return { pids, mounts };
}

interface OpenFile {
  /** Below /proc/PID/fd. */
  readonly path: string;
  /** Number of the mount that it is on. */
  readonly mount: string;
  readonly isInMemory: boolean;
}

/** Open files of a process that have a path and are not on a remote file system. */
function localFiles(proc: string, { pid, mounts }: Process): OpenFile[] {
  return listOf(join(proc, pid, 'fd')).flatMap((fd) => {
    const path = join(proc, pid, 'fd', fd);
    // Sockets and pipes have no path.
    const link = attempt(() => readlinkSync(path));
    if (!link?.startsWith('/')) return [];
    // Many of the files that are open; /dev is not on a remote file system.
    if (link === '/dev/null') return [{ path, mount: '', isInMemory: true }];
    const info = textOf(join(proc, pid, 'fdinfo', fd));
    // A mount that was detached lazily is in no table.
    const mount = /^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '';
    const type = mounts.get(mount)?.type;
    if (type !== undefined && REMOTE.test(type)) return [];
    return [{ path, mount, isInMemory: type !== undefined && IN_MEMORY.test(type) }];
  });
}

/**
 * What open files are, or are on, of which it is not known that their file system answers. In a program of its own, since it can hang.
 * Files that were closed meanwhile are left out, and so are those of a mount that hangs.
 */
async function statAll(exec: Exec, files: readonly OpenFile[], signal: AbortSignal): Promise<{ path: string; device: string }[]> {
  // The server is not asked (AT_STATX_DONT_SYNC), as far as the file system follows that.
  const options = ['--cached=always', '--dereference', '--format=%f %t:%T %d %n'];
  const groups = [...Map.groupBy(files, ({ mount }) => mount).values()];
  const argsFor = (some: readonly OpenFile[][]): string[] => [...options, ...some.flat().map(({ path }) => path)];
  const execStat: Exec = (...args) =>
    exec(...args).catch((error: unknown) => {
      // Exit status 1: some of the files do not exist any more.
      const { code, stdout } = error as { code?: unknown; stdout?: unknown };
      if (code === 1 && typeof stdout === 'string') return { stdout, stderr: '' };
      throw error;
    });
  const output = await unlessHung(execStat, { program: 'stat', things: groups, argsFor }, signal).catch((error: unknown) => {
    throw new RpcError(Code.INTERNAL, `cannot find out which programs have the disk open: ${failureText(error)}`, { cause: error });
  });
  return output.split('\n').flatMap((line) => {
    const [, mode, major, minor, on, path] = /^(\w+) (\w+):(\w+) (\d+) (.+)$/.exec(line) ?? [];
    if (!mode || !major || !minor || !on || !path) return [];
    const isBlockDevice = (Number.parseInt(mode, 16) & TYPE_MASK) === BLOCK_DEVICE;
    const device = isBlockDevice ? `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}` : numberOf(Number(on));
    return [{ path, device }];
  });
}

/**
 * What a program says of some things. When it hangs, it is asked about each thing alone, and the things at which it hangs again are left out.
 * @throws what exec() rejects with, also when the program takes too long because the machine is slow
 */
async function unlessHung<T>(
  exec: Exec,
  { program, things, argsFor }: { program: string; things: readonly T[]; argsFor: (some: readonly T[]) => readonly string[] },
  signal: AbortSignal,
): Promise<string> {
  const all = await outputOf(exec, program, argsFor(things), signal);
  if (all !== undefined) return all;
  const places = new Semaphore(AT_ONCE);
  const askAlone = async (thing: T): Promise<string> => {
    const [output, version] = await Promise.all(
      [[...argsFor([thing])], ['--version']].map((args) => outputOf(exec, program, args, signal)),
    );
    if (output === undefined && version === undefined)
      throw new Error(`${program} takes longer than ${TOOL_MS / 1000} s, whatever it is asked`);
    return output ?? '';
  };
  return (await Promise.all(things.map((thing) => places.run(() => askAlone(thing), signal)))).join('\n');
}

/** Undefined when the program was killed because it took too long. */
async function outputOf(exec: Exec, program: string, args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  let isKilled = false;
  const onKilled = (): void => {
    isKilled = true;
  };
  try {
    return (await exec(program, args, { timeoutMs: TOOL_MS, signal, onKilled })).stdout;
  } catch (error) {
    signal.throwIfAborted();
    if (isKilled) return undefined;
    throw error;
  }
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
  const bound = readdirSync(block).filter((name) => name.startsWith('loop') && existsSync(join(block, name, 'loop/backing_file')));
  if (bound.length === 0) return [];
  const nodes = (await Promise.all(paths.map((path) => statFile(path).catch(() => undefined)))).flatMap((each) => each ?? []);
  const options = ['--list', '--noheadings', '--raw', '--output', 'NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE'];
  // The kernel asks the file system of the file that a loop device is bound to (drivers/block/loop.c, loop_get_status).
  const argsFor = (names: readonly string[]): string[] => [...options, ...(names === bound ? [] : names.map((name) => `/dev/${name}`))];
  const stdout = await unlessHung(exec, { program: 'losetup', things: bound, argsFor }, signal).catch((error: unknown) => {
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
