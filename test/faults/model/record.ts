import { crc32 } from 'node:zlib';

/** Bytes of a record. */
export const RECORD = 4096;
const MAGIC = 'aoe-csi!';
const SUM = RECORD - 4;

/** A record of the log: its epoch, its position, a filling that differs in each sector, and a checksum over all. */
export function emitRecord(epoch: number, position: number): Buffer {
  const bytes = Buffer.alloc(RECORD);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(epoch, 8);
  bytes.writeUInt32LE(position, 12);
  for (let at = 16; at < SUM; at += 4) bytes.writeUInt32LE(Math.imul(epoch * 65_537 + position * 1024 + at, 0x9e37_79b1) >>> 0, at);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SUM)), SUM);
  return bytes;
}

/** Epoch of the record that belongs at the position; undefined when there is no whole one. */
export function epochOf(bytes: Buffer, position: number): number | undefined {
  const whole =
    bytes.length === RECORD &&
    bytes.toString('latin1', 0, 8) === MAGIC &&
    bytes.readUInt32LE(12) === position &&
    bytes.readUInt32LE(SUM) === crc32(bytes.subarray(0, SUM));
  return whole ? bytes.readUInt32LE(8) : undefined;
}
