import { join } from 'node:path';
import { formatQuantity, MiB, parseQuantity } from '../../../api/quantity.ts';
import { kindOf, roundDown } from '../backend.ts';
import { mayShareBlocks } from './extents.ts';
import { type FileSystem, readable } from './file-system.ts';
import { BLOCK, type FileSize, type Own, type UnsharedBytes } from './unshared-bytes.ts';

/** A file of a volume is named by the UID and this. */
export const SUFFIX = '.img';
/** Names the pool that owns the directory, so that the mount point of an unmounted file system is not taken for the pool. */
export const MARKER = '.aoe-pool';

/**
 * A file on the file system of the kubelet: it mounts this one into each pod from its own directory. Outside of a pod it is on the root
 * file system.
 */
const KUBELET_FILE = '/etc/hosts';
/**
 * The reserve on the kubelet's file system, in percent. The kubelet evicts pods when less than 10 % are free, or 15 % where images are
 * (k8s.io, "Node-pressure Eviction"): full volumes leave it 5 % above that.
 */
const KUBELET_RESERVE = '20%';

/** A file pool beside others. */
export interface FilePool {
  readonly pool: string;
  readonly directory: string;
}

/** Where the space of a pool is, and who else may use it. */
export interface SpaceOptions {
  readonly fs: Pick<FileSystem, 'read' | 'readdir' | 'stat' | 'device' | 'mountedAt' | 'statfs'>;
  readonly unshared: Pick<UnsharedBytes, 'of'>;
  readonly directory: string;
  /** spec.reserve of the pool. */
  readonly reserve: string | undefined;
  /** The other file pools of this node. */
  readonly siblings: readonly FilePool[];
}

/** Sizes in bytes, as in a Measurement. They are those of all pools on the file system together. */
export interface Space {
  readonly size: number;
  readonly free: number;
  readonly message: string | undefined;
  /** Names of the other pools on the same file system. */
  readonly sharedWith: string[];
}

/** What is behind a Space, for snapshots. Sizes in bytes. */
export interface SpaceFound {
  readonly space: Space;
  /** As `space.free`, but negative when more is promised than there is. */
  readonly left: number;
  /** What is free on the file system. */
  readonly room: number;
  /** By path: what each file was taken to have of its own. It may have more. Those that were not counted yet are absent, and have nothing. */
  readonly own: ReadonlyMap<string, Own>;
}

/**
 * What volumes may take on the file system of a pool: what is free and what they have taken, less the reserve. Pools on one file system
 * have the same space, so none of it is promised twice.
 * @param own the files of the pool itself
 * @throws Error when the file system cannot be read; BackendError while another pool on it does not answer: what that has taken is not known
 */
export async function spaceOf(
  { fs, unshared, directory, reserve, siblings }: SpaceOptions,
  own: readonly FileSize[],
  signal: AbortSignal,
): Promise<SpaceFound> {
  const before = await fs.statfs(directory);
  const files = [...own];
  const sharedWith: string[] = [];
  for (const sibling of siblings) {
    const theirs = (await isBeside(fs, sibling.directory, directory)) ? await filesOf(fs, sibling) : undefined;
    if (!theirs) continue;
    sharedWith.push(sibling.pool);
    files.push(...theirs);
  }
  const owned = mayShareBlocks(before.type) ? await unshared.of(files, signal) : wholly(files);
  const taken = [...owned.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const promised = files.reduce((sum, { size: bytes }) => sum + bytes, 0);
  const kept = reserve ?? ((await isSameFileSystem(fs, KUBELET_FILE, directory)) ? KUBELET_RESERVE : '0%');
  const after = await fs.statfs(directory);
  // What files took meanwhile is in what they have taken, and what they gave back is not any more: it must not be free as well.
  const room = Math.min(before.bavail * before.bsize, after.bavail * after.bsize);
  // Not the size of the file system: the space that other software takes there cannot be promised.
  const size = roundDown(room + taken - bytesOf(kept, after.blocks * after.bsize), MiB);
  const message = messageOn(directory, files.length - owned.size, promised - taken - room);
  const left = size - promised;
  return { space: { size, free: Math.max(0, left), message, sharedWith: sharedWith.sort() }, left, room, own: owned };
}

/** @param missing bytes that were promised to volumes beyond what is free */
function messageOn(directory: string, uncounted: number, missing: number): string | undefined {
  if (uncounted > 0)
    return `which blocks are shared is still being counted for ${uncounted} files on the file system of ${directory}: until then all of theirs count as shared, so there is more room than it seems`;
  if (missing <= 0) return undefined;
  return `other software or snapshots fill the file system of ${directory}: its volumes were promised ${formatQuantity(missing)} more than is free, and writes to them fail when it is full. Make room there`;
}

/** Where files share no blocks, each has all of its own. */
function wholly(files: readonly FileSize[]): Map<string, Own> {
  return new Map(files.map(({ path, blocks }) => [path, { bytes: blocks * BLOCK, isShort: true }]));
}

/** Bytes of a file system of `total` bytes that a reserve such as `15%` or `20Gi` keeps from volumes. */
export function bytesOf(reserve: string, total: number): number {
  return reserve.endsWith('%') ? Math.ceil((total * Number(reserve.slice(0, -1))) / 100) : parseQuantity(reserve);
}

/** The files of the volumes in the directory of a pool; undefined when the pool is not there. @throws BackendError when it does not answer */
async function filesOf(fs: SpaceOptions['fs'], { pool, directory }: FilePool): Promise<FileSize[] | undefined> {
  const owner = (await readable(fs.read(join(directory, MARKER)))) ?? '';
  if (owner.trim() !== pool) return undefined;
  const files: FileSize[] = [];
  for (const name of await fs.readdir(directory)) {
    if (!name.endsWith(SUFFIX) || kindOf(name) !== 'volume') continue;
    const path = join(directory, name);
    const stats = await readable(fs.stat(path));
    if (stats) files.push({ path, size: stats.size, blocks: stats.blocks });
  }
  return files;
}

/** Whether the directory of another pool is on the same file system. @throws BackendError when that one does not answer, and it may be so */
async function isBeside(fs: SpaceOptions['fs'], other: string, directory: string): Promise<boolean> {
  try {
    return await isSameFileSystem(fs, other, directory);
  } catch (error) {
    // A disk that hangs stops no pool on another one.
    const [theirs, own] = await Promise.all([fs.mountedAt(other), fs.mountedAt(directory)]);
    if (theirs === own) throw error;
    return false;
  }
}

async function isSameFileSystem(fs: SpaceOptions['fs'], path: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([path, other].map((each) => readable(fs.device(each))));
  return a !== undefined && a === b;
}
