import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** By source file: names of its constants, and what each stands for in C. */
type Constants = Readonly<Record<string, string>>;

const same = (...names: string[]): Constants => Object.fromEntries(names.map((name) => [name, name]));

/**
 * The numbers of the kernel's and the C library's interfaces that are written in our sources, because neither Node.js nor the libc crate
 * has them. Some of the kernel's numbers differ from one architecture to another, such as O_DIRECT and O_DIRECTORY.
 */
const CONSTANTS: Readonly<Record<string, Constants>> = {
  'csi/node/disk/syscalls.ts': {
    ...same('MS_BIND', 'MNT_DETACH', 'UMOUNT_NOFOLLOW', 'AT_FDCWD', 'AT_STATX_DONT_SYNC', 'STATX_TYPE', 'S_IFMT', 'S_IFBLK'),
    STATX_BYTES: 'sizeof(struct statx)',
    MODE: 'offsetof(struct statx, stx_mode)',
    RDEV: 'offsetof(struct statx, stx_rdev_major)',
    DEV: 'offsetof(struct statx, stx_dev_major)',
  },
  'csi/node/disk/openers.ts': { TYPE_MASK: 'S_IFMT', BLOCK_DEVICE: 'S_IFBLK' },
  'csi/node/disk/kernel-driver.ts': same('HDIO_GET_IDENTITY'),
  'csi/node/freeze/freezer.ts': same('FITHAW'),
  'csi/node/encryption/no-core-dumps.ts': same('RLIMIT_CORE'),
  'agent/backends/file/extents.ts': {
    ...same('FS_IOC_FIEMAP'),
    HEADER_BYTES: 'sizeof(struct fiemap)',
    EXTENT_BYTES: 'sizeof(struct fiemap_extent)',
    REQUEST_FLAGS_AT: 'offsetof(struct fiemap, fm_flags)',
    MAPPED_COUNT_AT: 'offsetof(struct fiemap, fm_mapped_extents)',
    EXTENT_COUNT_AT: 'offsetof(struct fiemap, fm_extent_count)',
    PHYSICAL_AT: 'offsetof(struct fiemap_extent, fe_physical)',
    LENGTH_AT: 'offsetof(struct fiemap_extent, fe_length)',
    FLAGS_AT: 'offsetof(struct fiemap_extent, fe_flags)',
    LAST: 'FIEMAP_EXTENT_LAST',
    SHARED: 'FIEMAP_EXTENT_SHARED',
    SYNC: 'FIEMAP_FLAG_SYNC',
    UNWRITTEN: 'FIEMAP_EXTENT_UNWRITTEN',
    NO_PLACE: `(${['UNKNOWN', 'DELALLOC', 'ENCODED', 'DATA_ENCRYPTED', 'NOT_ALIGNED', 'DATA_INLINE', 'DATA_TAIL']
      .map((name) => `FIEMAP_EXTENT_${name}`)
      .join(' | ')})`,
    EXT4: 'EXT4_SUPER_MAGIC',
  },
  'aoe/net/poller.ts': { ...same('POLLIN'), POLLFD_LENGTH: 'sizeof(struct pollfd)', EFD_NONBLOCK_CLOEXEC: '(EFD_NONBLOCK | EFD_CLOEXEC)' },
  'aoe/net/socket.ts': {
    ...same(
      'AF_PACKET',
      'SOCK_RAW',
      'SOL_SOCKET',
      'SO_ATTACH_FILTER',
      'SO_RCVBUF',
      'SOL_PACKET',
      'PACKET_ADD_MEMBERSHIP',
      'PACKET_MR_PROMISC',
    ),
    ...same('MSG_DONTWAIT'),
    SOCK_NONBLOCK_CLOEXEC: '(SOCK_NONBLOCK | SOCK_CLOEXEC)',
  },
  'run/spawn.ts': {
    ...same('O_CLOEXEC', 'WNOHANG'),
    SETSIGDEF: 'POSIX_SPAWN_SETSIGDEF',
    SETSIGMASK: 'POSIX_SPAWN_SETSIGMASK',
    SETSID: 'POSIX_SPAWN_SETSID',
  },
  'copier/src/disk/open.rs': same('BLKGETSIZE64'),
  'target/src/disk/open.rs': same('BLKSSZGET', 'BLKPBSZGET', 'BLKGETSIZE64', 'BLKROGET', 'TMPFS_MAGIC', 'RAMFS_MAGIC'),
  'target/src/disk/reclaim.rs': same('BLKDISCARD'),
  'target/src/privileges.rs': { VERSION_3: '_LINUX_CAPABILITY_VERSION_3' },
  'target/src/net/filter.rs': { PACKET_TYPE: '(__u32)(SKF_AD_OFF + SKF_AD_PKTTYPE)' },
};

const HEADERS = ['fcntl', 'poll', 'spawn', 'stddef', 'sys/eventfd', 'sys/mount', 'sys/resource', 'sys/socket', 'sys/stat', 'sys/wait'];
const KERNEL_HEADERS = ['capability', 'fiemap', 'filter', 'fs', 'hdreg', 'if_packet', 'magic'];

/** What is not a number in a source: sizes that it counts on. */
const SIZES: readonly string[] = [
  'sizeof(posix_spawnattr_t) <= 512 && sizeof(posix_spawn_file_actions_t) <= 512 && sizeof(sigset_t) <= 512',
  'sizeof(struct rlimit) == 16 && sizeof(long) == 8 && sizeof(void *) == 8',
  'offsetof(struct pollfd, revents) == 6 && offsetof(struct pollfd, events) == 4',
  '__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__',
];

/** The number that a source gives a constant. @throws Error when it has no such constant */
export function constantIn(path: string, source: string, name: string): string {
  const [, value] = new RegExp(`^const ${name}(?:: [\\w:]+)? = (-?[\\w]+);`, 'm').exec(source) ?? [];
  if (value === undefined) throw new Error(`${path} has no constant ${name}`);
  return value.replaceAll('_', '').replace(/^0o/, '0');
}

/** A C program that a compiler accepts only if all of these numbers are those of its architecture's headers. */
export function constantsAsC(): string {
  const asserts = Object.entries(CONSTANTS).flatMap(([path, constants]) => {
    const source = readFileSync(join(ROOT, path), 'utf8');
    return Object.entries(constants).map(
      ([name, meaning]) => `_Static_assert(${constantIn(path, source, name)} == ${meaning}, "${path}: ${name}");`,
    );
  });
  const headers = [...HEADERS, ...KERNEL_HEADERS.map((name) => `linux/${name}`)];
  return [
    '#define _GNU_SOURCE',
    ...headers.map((name) => `#include <${name}.h>`),
    ...asserts,
    ...SIZES.map((condition) => `_Static_assert(${condition}, "sizes");`),
    '',
  ].join('\n');
}
