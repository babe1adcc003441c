import { type FileHandle, open } from 'node:fs/promises';

const CHUNK = 128 << 10;
const ZEROS = Buffer.alloc(CHUNK);

export interface Part {
  readonly start: number;
  readonly length: number;
}

/**
 * Whether all parts of a disk hold only zeros. False also for a part that is not there: nothing is known about it.
 * @param path a disk that was opened before: the first open can hang longer than a read
 * @throws what open(2) or read(2) gives
 */
export async function areZero(path: string, parts: readonly Part[]): Promise<boolean> {
  const chunk = Buffer.alloc(CHUNK);
  await using file = await open(path);
  for (const part of parts) if (!(await isZero(file, part, chunk))) return false;
  return true;
}

async function isZero(file: FileHandle, { start, length }: Part, chunk: Buffer): Promise<boolean> {
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK, length - done), start + done);
    if (bytesRead === 0 || ZEROS.compare(chunk, 0, bytesRead, 0, bytesRead) !== 0) return false;
    done += bytesRead;
  }
  return true;
}
