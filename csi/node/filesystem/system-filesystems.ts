import { statfs } from 'node:fs/promises';
import { MiB } from '../../../api/quantity.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import { FILESYSTEM_TYPES } from '../../filesystem-types.ts';
import type { Content, Disk, Filesystems, FilesystemUsage } from '../contracts.ts';
import { failureText } from '../failure-text.ts';
import { growCommand, sizeInSuperblock } from './grow.ts';
import { Quick } from './quick.ts';
import { areZero, type Part } from './zeros.ts';

const PROBE_MS = 20_000;
/** mkfs and e2fsck go on across the calls of the kubelet. A full check of 10 TiB with many files takes hours. */
const FORMAT_MS = 3_600_000;
const CHECK_MS = 6 * 3_600_000;
const READ_MS = 60_000;
/** Growing writes the metadata of what is new: minutes for many TiB. */
const GROW_MS = 3_600_000;
const SUPERBLOCK_BYTES = 2048;
const USAGE_MS = 10_000;
const BLANK_BYTES = MiB;

/**
 * Arguments that make mkfs write as little as possible: targets make each write durable, and know no discard. ext4 zeroes inode tables
 * and journal in the background after the mount.
 */
const FORMAT_ARGS: Readonly<Record<string, readonly string[]>> = {
  ext4: ['-q', '-F', '-m', '0', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'],
  xfs: ['-q', '-f', '-K'],
};
/**
 * Below 512 MiB mkfs.ext4 chooses blocks of 1 KiB, which remain when the volume grows, and for which the kernel reads a page before it
 * writes a part of it. From this size on blocks of 4 KiB leave enough: the journal takes a sixteenth. A disk of less than 8 MiB would
 * get none.
 */
const FROM_4_KIB_BLOCKS = 64 * MiB;

/** blkid(8), mkfs(8), fsck(8) and others: a disk that hangs hangs a program that can be given up. */
export class SystemFilesystems implements Filesystems {
  readonly #exec: Exec;
  readonly #quick: Quick;

  constructor(exec: Exec, quick = new Quick()) {
    this.#exec = exec;
    this.#quick = quick;
  }

  async probe(path: string, signal: AbortSignal): Promise<Content> {
    try {
      const { stdout } = await this.#exec('blkid', ['-p', '-o', 'export', path], { timeoutMs: PROBE_MS, signal });
      return parseBlkid(stdout);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      // Exit statuses of blkid(8): 2, nothing was found; 8, several signatures contradict each other.
      if (code === 2) return { kind: 'nothing' };
      if (code === 8) return { kind: 'ambivalent', detail: failureText(error) };
      throw new RpcError(Code.INTERNAL, `blkid cannot read ${path}: ${failureText(error)}`, { cause: error });
    }
  }

  async isBlank({ path, bytes }: Disk, signal: AbortSignal): Promise<boolean> {
    const length = Math.min(BLANK_BYTES, bytes);
    const ends = [0, bytes - length].map((start) => ({ start, length }));
    try {
      const isBlank = await this.#quick.attempt(() => areZero(path, ends), signal);
      if (isBlank !== undefined) return isBlank;
      return !(await Promise.all(ends.map((end) => this.#isZero(path, end, signal)))).includes(false);
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `${path} cannot be read: ${failureText(error)}`, { cause: error });
    }
  }

  /** False also when there are fewer bytes than that: nothing is known about the rest. */
  async #isZero(path: string, { start, length }: Part, signal: AbortSignal): Promise<boolean> {
    const args = [`if=${path}`, `bs=${length}`, 'count=1', `skip=${start}`, 'iflag=skip_bytes,fullblock', 'status=none'];
    const { stdout } = await this.#exec('dd', args, { timeoutMs: READ_MS, signal });
    return stdout.length === length && !/[^\0]/.test(stdout);
  }

  async format({ path, bytes }: Disk, type: string, signal: AbortSignal): Promise<void> {
    const args = FORMAT_ARGS[type];
    const blocks = type === 'ext4' && bytes >= FROM_4_KIB_BLOCKS ? ['-b', '4096'] : [];
    if (!args) throw new RpcError(Code.INVALID_ARGUMENT, `cannot format with "${type}": use ${FILESYSTEM_TYPES.join(' or ')}`);
    try {
      await this.#exec(`mkfs.${type}`, [...args, ...blocks, path], { timeoutMs: FORMAT_MS, signal });
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `mkfs.${type} of ${path} failed: ${failureText(error)}`, { cause: error });
    }
  }

  async check(path: string, type: string, signal: AbortSignal): Promise<void> {
    // XFS replays its log when it is mounted, and xfs_repair must not run unless a person asks for it.
    if (type !== 'ext4') return;
    try {
      await this.#exec('e2fsck', ['-p', path], { timeoutMs: CHECK_MS, signal });
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      // Exit statuses of e2fsck(8): with 1 and 2, errors were corrected.
      if (code === 1 || code === 2) return;
      if (code === 4) {
        throw new RpcError(
          Code.FAILED_PRECONDITION,
          `file system on ${path} has errors that need a person: run e2fsck by hand (${failureText(error)})`,
        );
      }
      if (code === undefined) {
        throw new RpcError(
          Code.DEADLINE_EXCEEDED,
          `e2fsck of ${path} did not end within ${CHECK_MS / 3_600_000} h, and starts from the beginning each time: run "e2fsck -p ${path}" by hand on this node, then the volume can be mounted (${failureText(error)})`,
          { cause: error },
        );
      }
      throw new RpcError(Code.INTERNAL, `e2fsck of ${path} failed: ${failureText(error)}`, { cause: error });
    }
  }

  async size(path: string, type: string, signal: AbortSignal): Promise<number | undefined> {
    const args = ['-An', '-v', '-tx1', `-N${SUPERBLOCK_BYTES}`, path];
    const { stdout } = await this.#exec('od', args, { timeoutMs: READ_MS, signal }).catch((error: unknown) => {
      throw new RpcError(Code.INTERNAL, `the superblock on ${path} cannot be read: ${failureText(error)}`, { cause: error });
    });
    return sizeInSuperblock(Buffer.from(stdout.replace(/\s/g, ''), 'hex'), type);
  }

  async grow(filesystem: { device: string; path: string; type: string }, signal: AbortSignal): Promise<void> {
    const [program, args] = growCommand(filesystem);
    try {
      await this.#exec(program, args, { timeoutMs: GROW_MS, signal });
    } catch (error) {
      const message = `${program} of ${filesystem.device} failed, so the file system has not grown: ${failureText(error)}`;
      throw new RpcError(Code.INTERNAL, message, { cause: error });
    }
  }

  async usage(path: string, signal: AbortSignal): Promise<FilesystemUsage> {
    try {
      return (await this.#quick.attempt(() => usageOf(path), signal)) ?? (await this.#usageByProgram(path, signal));
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `the usage of ${path} cannot be read: ${failureText(error)}`, { cause: error });
    }
  }

  async #usageByProgram(path: string, signal: AbortSignal): Promise<FilesystemUsage> {
    const args = ['--file-system', '--format=%S %b %f %a %c %d', path];
    const { stdout } = await this.#exec('stat', args, { timeoutMs: USAGE_MS, signal });
    const [bsize = 0, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0] = stdout.trim().split(' ').map(Number);
    return toUsage({ bsize, blocks, bfree, bavail, files, ffree });
  }
}

async function usageOf(path: string): Promise<FilesystemUsage> {
  return toUsage(await statfs(path));
}

function toUsage({
  bsize,
  blocks,
  bfree,
  bavail,
  files,
  ffree,
}: Record<'bsize' | 'blocks' | 'bfree' | 'bavail' | 'files' | 'ffree', number>): FilesystemUsage {
  return {
    bytes: { total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
    inodes: { total: files, used: files - ffree, available: ffree },
  };
}

/** Reads the output of `blkid -p -o export`: a file system or other signature (TYPE), or a partition table (PTTYPE). */
export function parseBlkid(output: string): Content {
  const values = new Map(output.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  const type = values.get('TYPE');
  const table = values.get('PTTYPE');
  if (type) return { kind: 'found', type };
  if (table) return { kind: 'found', type: `a ${table} partition table` };
  return output.trim() === '' ? { kind: 'nothing' } : { kind: 'ambivalent', detail: output.trim().replaceAll('\n', ' ') };
}
