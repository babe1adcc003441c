import { SECTOR } from './ata.ts';
import { viewOf } from './header.ts';

/** What this project needs of a disk's IDENTIFY DEVICE data (ATA8-ACS, section 7.16). */
export interface Identity {
  /** Words 10-19, padding removed. */
  readonly serial: string;
  /** Words 23-26. */
  readonly firmware: string;
  /** Words 27-46. */
  readonly model: string;
  /** Sectors of 512 bytes: words 100-103 when the disk has 48-bit addresses, else words 60-61. */
  readonly sectors: number;
}

/**
 * How strings lie in the data: ATA puts the first character of each pair into the high byte of a little-endian word;
 * the Linux drivers hand out IDENTIFY data (HDIO_GET_IDENTITY) with strings already put right.
 */
export type StringOrder = 'wire' | 'natural';

/** Undefined when the data is shorter than a sector. */
export function parseIdentity(bytes: Uint8Array, order: StringOrder = 'wire'): Identity | undefined {
  if (bytes.length < SECTOR) return undefined;
  const view = viewOf(bytes);
  const flip = order === 'wire' ? 1 : 0;
  const text = (word: number, count: number): string => {
    let out = '';
    for (let index = 0; index < count * 2; index++) out += String.fromCharCode(view.getUint8((word * 2 + index) ^ flip));
    return out.replace(/\0/g, ' ').trim();
  };
  const lba48 = (view.getUint16(83 * 2, true) & 0x0400) !== 0;
  const sectors = lba48 ? Number(view.getBigUint64(100 * 2, true)) : view.getUint32(60 * 2, true);
  return { serial: text(10, 10), firmware: text(23, 4), model: text(27, 20), sectors };
}

/**
 * IDENTIFY data with these values, as a target would send it.
 * @throws RangeError when a string is too long
 */
export function emitIdentity(identity: Identity): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  const put = (value: string, word: number, count: number): void => {
    if (value.length > count * 2) throw new RangeError(`"${value}" does not fit into ${count * 2} characters`);
    const padded = value.padEnd(count * 2);
    for (let index = 0; index < padded.length; index++) bytes[(word * 2 + index) ^ 1] = padded.charCodeAt(index);
  };
  put(identity.serial, 10, 10);
  put(identity.firmware, 23, 4);
  put(identity.model, 27, 20);
  view.setUint16(49 * 2, 0x0200, true);
  view.setUint32(60 * 2, Math.min(identity.sectors, 0x0fff_ffff), true);
  view.setUint16(83 * 2, 0x4400, true);
  view.setUint16(86 * 2, 0x0400, true);
  view.setBigUint64(100 * 2, BigInt(identity.sectors), true);
  return bytes;
}
