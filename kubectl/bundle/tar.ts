import { gzipSync } from 'node:zlib';

/** A file of an archive. */
export interface TarFile {
  /** Relative, with slashes. */
  readonly path: string;
  readonly text: string;
}

const BLOCK = 512;

/**
 * A .tar.gz (POSIX ustar, pax(1)) of text files, all of them readable by their owner only.
 * @param time in seconds since 1970, of all files
 */
export function tarGz(files: readonly TarFile[], time: number): Buffer {
  const parts = files.flatMap(({ path, text }) => {
    const data = Buffer.from(text, 'utf8');
    return [header(path, data.length, time), data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)];
  });
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]));
}

function header(path: string, size: number, time: number): Buffer {
  const { name, prefix } = split(path);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) => block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  block.write(name, 0, 'utf8');
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(time, 136, 12);
  // The checksum counts its own field as blanks.
  block.write('        ', 148, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\0' + '00', 257, 'latin1');
  block.write(prefix, 345, 'utf8');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  block.write('\0 ', 154, 'latin1');
  return block;
}

/** ustar has 100 bytes for a name, and 155 for the folders before it. */
function split(path: string): { name: string; prefix: string } {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: '' };
  const at = [...path.matchAll(/\//g)].map(({ index }) => index).find((index) => Buffer.byteLength(path.slice(index + 1)) <= 100);
  const prefix = at === undefined ? '' : path.slice(0, at);
  if (at === undefined || Buffer.byteLength(prefix) > 155) return { name: shortened(path), prefix: '' };
  return { name: path.slice(at + 1), prefix };
}

function shortened(path: string): string {
  return Buffer.from(path).subarray(-100).toString('latin1');
}
