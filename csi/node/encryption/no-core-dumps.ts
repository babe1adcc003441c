import koffi from 'koffi';
import { lastError } from '../../../aoe/mod.ts';

const RLIMIT_CORE = 4;
/**
 * With a limit of one byte the kernel writes no file, and does not start the program of a core_pattern with a pipe either, which 0 would not
 * prevent (fs/coredump.c, do_coredump).
 */
const LIMIT = 1n;

/**
 * Keeps this process, and all programs that it starts, from leaving core dumps: they may have a passphrase in memory.
 * @throws Error when the limit cannot be set
 */
export function forbidCoreDumps(): void {
  const setrlimit = koffi.load(null).func('int setrlimit(int resource, const void *limit)');
  const limit = Buffer.alloc(16);
  limit.writeBigUInt64LE(LIMIT, 0);
  limit.writeBigUInt64LE(LIMIT, 8);
  if (setrlimit(RLIMIT_CORE, limit) !== 0) throw new Error(`core dumps cannot be forbidden: ${lastError()}`);
}
