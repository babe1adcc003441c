import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { MiB } from '../../../api/quantity.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import type { Semaphore } from '../../../run/semaphore.ts';
import type { Content, Disk, Filesystems } from '../contracts.ts';
import { detail } from '../disk/mounts.ts';

const PROBE_MS = 20_000;
const FORMAT_MS = 100_000;
const CHECK_MS = 100_000;
const BLANK_BYTES = MiB;

/** The file systems that a volume can be formatted with. */
export const FILESYSTEM_TYPES: readonly string[] = ['ext4', 'xfs'];

/**
 * Arguments that write least: each write is durable on its own, and targets take no discard. Inode tables and journal are
 * zeroed in the background after the mount.
 */
const FORMAT_ARGS: Readonly<Record<string, readonly string[]>> = {
  ext4: ['-q', '-F', '-m', '0', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'],
  xfs: ['-q', '-f', '-K'],
};

/** blkid(8), mkfs and fsck. */
export class SystemFilesystems implements Filesystems {
  readonly #exec: Exec;
  readonly #diskThreads: Semaphore;

  constructor(exec: Exec, diskThreads: Semaphore) {
    this.#exec = exec;
    this.#diskThreads = diskThreads;
  }

  async probe(path: string, signal: AbortSignal): Promise<Content> {
    try {
      const { stdout } = await this.#exec('blkid', ['-p', '-o', 'export', path], { timeoutMs: PROBE_MS, signal });
      return parseBlkid(stdout);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      // blkid(8), exit codes: 2 nothing was found, 8 several signatures contradict each other.
      if (code === 2) return { kind: 'nothing' };
      if (code === 8) return { kind: 'ambivalent', detail: detail(error) };
      throw new RpcError(Code.INTERNAL, `blkid cannot read ${path}: ${detail(error)}`, { cause: error });
    }
  }

  blank(disk: Disk, signal: AbortSignal): Promise<boolean> {
    return this.#diskThreads.runOrAbandon(async () => {
      await using file = await open(disk.path, constants.O_RDONLY);
      for (const start of [0, Math.max(0, disk.bytes - BLANK_BYTES)]) {
        const buffer = Buffer.alloc(Math.min(BLANK_BYTES, disk.bytes), 1);
        let at = 0;
        while (at < buffer.length) {
          const { bytesRead } = await file.read(buffer, at, buffer.length - at, start + at);
          // Shorter than the kernel said: nothing is known about the rest, so it does not count as zeros.
          if (bytesRead === 0) return false;
          at += bytesRead;
        }
        if (buffer.some((byte) => byte !== 0)) return false;
      }
      return true;
    }, signal);
  }

  async format(path: string, type: string, signal: AbortSignal): Promise<void> {
    const args = FORMAT_ARGS[type];
    if (!args) throw new RpcError(Code.INVALID_ARGUMENT, `cannot format with "${type}": use ${FILESYSTEM_TYPES.join(' or ')}`);
    try {
      await this.#exec(`mkfs.${type}`, [...args, path], { timeoutMs: FORMAT_MS, signal });
    } catch (error) {
      throw new RpcError(Code.INTERNAL, `mkfs.${type} of ${path} failed: ${detail(error)}`, { cause: error });
    }
  }

  async check(path: string, type: string, signal: AbortSignal): Promise<void> {
    // XFS replays its log at mount, and xfs_repair must not run unasked.
    if (type !== 'ext4') return;
    try {
      await this.#exec('e2fsck', ['-p', path], { timeoutMs: CHECK_MS, signal });
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      // e2fsck(8), exit codes: 1 and 2 mean that errors were corrected.
      if (code === 1 || code === 2) return;
      if (code === 4) {
        throw new RpcError(
          Code.FAILED_PRECONDITION,
          `file system on ${path} has errors that need a person: run e2fsck by hand (${detail(error)})`,
        );
      }
      if (code === undefined) {
        throw new RpcError(
          Code.DEADLINE_EXCEEDED,
          `e2fsck of ${path} did not end within ${CHECK_MS / 1000} s and begins anew each time: run "e2fsck -p ${path}" by hand on this node, then it mounts (${detail(error)})`,
          { cause: error },
        );
      }
      throw new RpcError(Code.INTERNAL, `e2fsck of ${path} failed: ${detail(error)}`, { cause: error });
    }
  }
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
