import { viewOf } from './header.ts';

export const ATA_LENGTH = 12;
/** Bytes of a sector: AoE counts in them, whatever blocks the disk has (AoEr11, section 3.1). */
export const SECTOR = 512;

/** AFlags (AoEr11, section 3.1). */
export const AtaFlag = { Lba48: 0x40, DeviceHead: 0x10, Async: 0x02, Write: 0x01 } as const;

/** The ATA commands that initiators are known to send. */
export const AtaCommand = {
  Read: 0x20,
  ReadExt: 0x24,
  Write: 0x30,
  WriteExt: 0x34,
  FlushCache: 0xe7,
  FlushCacheExt: 0xea,
  Identify: 0xec,
} as const;

/** Bits of the ATA status register that mean failure: busy, device fault, data request, error. */
export const ATA_FAILURE = 0xa9;

/**
 * Argument of command 0, "issue ATA command" (AoEr11, section 3.1).
 *
 * ```text
 * 0 AFlags   1 err/feature   2 sector count   3 cmd/status   4-9 LBA0..LBA5   10-11 reserved   12 data
 * ```
 */
export interface AtaArgument {
  readonly flags: number;
  /** Feature in a request, error in a response. */
  readonly feature: number;
  readonly sectors: number;
  /** Command in a request, status in a response. */
  readonly command: number;
  /** 48-bit number, LBA0 least significant. */
  readonly lba: number;
  readonly reserved: number;
  readonly data: Uint8Array;
}

/** Undefined when the argument is too short. */
export function parseAta(bytes: Uint8Array): AtaArgument | undefined {
  if (bytes.length < ATA_LENGTH) return undefined;
  const view = viewOf(bytes);
  return {
    flags: view.getUint8(0),
    feature: view.getUint8(1),
    sectors: view.getUint8(2),
    command: view.getUint8(3),
    lba: view.getUint32(4, true) + view.getUint16(8, true) * 2 ** 32,
    reserved: view.getUint16(10),
    data: bytes.subarray(ATA_LENGTH),
  };
}

export function emitAta(argument: AtaArgument): Uint8Array {
  const bytes = new Uint8Array(ATA_LENGTH + argument.data.length);
  const view = viewOf(bytes);
  view.setUint8(0, argument.flags);
  view.setUint8(1, argument.feature);
  view.setUint8(2, argument.sectors);
  view.setUint8(3, argument.command);
  view.setUint32(4, argument.lba % 2 ** 32, true);
  view.setUint16(8, Math.floor(argument.lba / 2 ** 32), true);
  view.setUint16(10, argument.reserved);
  bytes.set(argument.data, ATA_LENGTH);
  return bytes;
}

/** IDENTIFY DEVICE as the Linux driver asks for it: one sector, device register 0xA0. */
export function identifyRequest(): AtaArgument {
  return { flags: 0, feature: 0, sectors: 1, command: AtaCommand.Identify, lba: 0xa0 * 2 ** 24, reserved: 0, data: new Uint8Array() };
}
