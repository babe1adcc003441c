import { readSync } from 'node:fs';

const SECTOR = 512;
/** Kernel: drivers/md/dm-log-writes.c. */
const MAGIC = 0x6a736677736872n;
const Flag = { discard: 4, mark: 8 } as const;
/** The kernel's own last mark, when the device is removed. */
const END = 'dm-log-writes-end';

/**
 * Replays the log of a dm-log-writes device. The log has only what is on stable storage: a write stands in it once the
 * flush that follows it has ended, or when it was a FUA write itself (Documentation/admin-guide/device-mapper/log-writes.rst).
 * @param log an open file of the log device
 * @param image gets the content of the device; as long as it is
 * @param onMark is called with each mark at the moment of its replay
 * @throws RangeError when it is not such a log
 */
export function replay(log: number, image: Buffer, onMark: (mark: string) => void): void {
  const head = read(log, 0, SECTOR);
  if (head.readBigUInt64LE(0) !== MAGIC) throw new RangeError('not the log of a dm-log-writes device');
  const entries = head.readBigUInt64LE(16);
  const sectorSize = head.readUInt32LE(24);
  let at = sectorSize;
  for (let entry = 0n; entry < entries; entry++) {
    const fields = read(log, at, sectorSize);
    const sector = Number(fields.readBigUInt64LE(0));
    const length = Number(fields.readBigUInt64LE(8)) * SECTOR;
    const flags = Number(fields.readBigUInt64LE(16));
    const data = Number(fields.readBigUInt64LE(24));
    at += sectorSize;
    if (flags & Flag.mark) {
      // A mark's text stands in its own sector, behind the fields.
      const mark = fields.toString('latin1', 32, 32 + data).replace(/\0.*$/s, '');
      if (mark !== END) onMark(mark);
    } else if (flags & Flag.discard) {
      image.fill(0, sector * SECTOR, sector * SECTOR + length);
    } else {
      read(log, at, length).copy(image, sector * SECTOR);
      at += Math.ceil(length / sectorSize) * sectorSize;
    }
  }
}

function read(file: number, at: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const got = readSync(file, buffer, done, length - done, at + done);
    if (got === 0) throw new RangeError('the log is cut short');
    done += got;
  }
  return buffer;
}
