import koffi from 'koffi';

const libc = koffi.load(null);
const mount = libc.func('int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)');
const umount2 = libc.func('int umount2(const char *target, int flags)');
const statx = libc.func('int statx(int directory, const char *path, int flags, unsigned int mask, void *result)');

const MS_BIND = 0x1000;
/** Flags of mount(2), by the words that mount(8) has for them. */
const MS_FLAGS: Readonly<Record<string, number>> = { ro: 0x1, nosuid: 0x2, nodev: 0x4, noexec: 0x8 };
const MNT_DETACH = 0x2;
const UMOUNT_NOFOLLOW = 0x8;
const AT_FDCWD = -100;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE = 0x1;
const S_IFMT = 0o170000;
const S_IFBLK = 0o060000;
/** struct statx (linux/stat.h): its size, and the offsets of stx_mode, stx_rdev_major and stx_dev_major. */
const STATX_BYTES = 256;
const MODE = 28;
const RDEV = 128;
const DEV = 136;

/** mount(2) with MS_BIND, on a thread of the pool. @returns whether it succeeded */
export function bindMount(source: string, target: string): Promise<boolean> {
  return call((done) => mount.async(source, target, null, MS_BIND, null, done));
}

/** mount(2) of a new tmpfs, on a thread of the pool. @returns whether it succeeded */
export function mountTmpfs(source: string, target: string, options: readonly string[]): Promise<boolean> {
  const flags = options.reduce((all, option) => all | (MS_FLAGS[option] ?? 0), 0);
  const data = options.filter((option) => !(option in MS_FLAGS)).join();
  return call((done) => mount.async(source, target, 'tmpfs', flags, data, done));
}

/**
 * umount2(2), on a thread of the pool: only for a mount whose file system has no disk, or is mounted elsewhere too. Else the kernel writes what it has
 * cached to the disk, and a thread that waits for a dead disk keeps this process from ending.
 * @returns whether it succeeded
 */
export function detachMount(target: string, { lazy }: { lazy: boolean }): Promise<boolean> {
  return call((done) => umount2.async(target, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0), done));
}

function call(start: (done: (error: unknown, result: number) => void) => void): Promise<boolean> {
  return new Promise((resolve, reject) => {
    start((error, result) => (error ? reject(error) : resolve(result === 0)));
  });
}

const result = Buffer.alloc(STATX_BYTES);

/**
 * The block device that a file is, or else the one that it is on, as `major:minor`. Answered from memory: the server of a file system is
 * not asked.
 * @returns undefined when the file does not exist
 */
export function deviceOf(path: string): string | undefined {
  if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, result) !== 0) return undefined;
  const at = (result.readUInt16LE(MODE) & S_IFMT) === S_IFBLK ? RDEV : DEV;
  return `${result.readUInt32LE(at)}:${result.readUInt32LE(at + 4)}`;
}
