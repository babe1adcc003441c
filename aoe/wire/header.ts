/** EtherType of AoE (AoEr11, section 2.1). */
export const ETHERTYPE = 0x88a2;
/** Bytes of Ethernet and AoE header together: the argument starts here. */
export const HEADER_LENGTH = 24;
/** Shortest Ethernet frame without its checksum. */
export const MIN_FRAME = 60;
export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';

/** Flag bits (AoEr11, section 2.3). */
export const Flag = { Response: 0x08, Error: 0x04 } as const;

/** Commands (AoEr11, section 2.7); 0xF0 and above belong to vendors. */
export const Command = { Ata: 0, Config: 1, Mask: 2, Reserve: 3 } as const;
export type Command = (typeof Command)[keyof typeof Command];

/** Values of the error field of a response with {@link Flag.Error} (AoEr11, section 2.4). */
export const ErrorCode = {
  UnrecognizedCommand: 1,
  BadArgument: 2,
  DeviceUnavailable: 3,
  ConfigStringPresent: 4,
  UnsupportedVersion: 5,
  TargetReserved: 6,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** Any other byte: a frame from the wire may have values that the specification does not define. */
type OtherByte = number & {};

/**
 * Ethernet and AoE header (AoEr11, section 2). All integers are big-endian.
 *
 * ```text
 *  0  destination MAC        6  source MAC           12  EtherType 0x88A2
 * 14  version | flags       15  error                16  major (shelf, 16 bit)
 * 18  minor (slot)          19  command              20  tag (32 bit)          24  argument
 * ```
 */
export interface Header {
  /** MAC addresses in lower-case colon notation. */
  readonly destination: string;
  readonly source: string;
  /** Protocol version: 1, but vblade announces itself with 0. */
  readonly version: number;
  /** The low nibble as sent: see {@link Flag}. */
  readonly flags: number;
  /** 0 when there is no error. */
  readonly error: 0 | ErrorCode | OtherByte;
  readonly shelf: number;
  readonly slot: number;
  readonly command: Command | OtherByte;
  readonly tag: number;
}

/** A frame taken apart: the argument still shares memory with it. */
export interface Frame {
  readonly header: Header;
  readonly argument: Uint8Array;
}

/**
 * An error code for people, as in "the target refuses it with …".
 * @example describeError(ErrorCode.BadArgument) === 'AoE error 2 (BadArgument)'
 */
export function describeError(code: number): string {
  const [name] = Object.entries(ErrorCode).find(([, value]) => value === code) ?? [];
  return `AoE error ${code}${name ? ` (${name})` : ''}`;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Six bytes as `02:00:5e:10:00:01`. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** @throws RangeError when the text is not a MAC address in colon notation */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new RangeError(`"${text}" is not a MAC address`);
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** Takes an Ethernet frame apart; undefined when it is too short or of another EtherType. */
export function parseFrame(bytes: Uint8Array): Frame | undefined {
  if (bytes.length < HEADER_LENGTH) return undefined;
  const view = viewOf(bytes);
  if (view.getUint16(12) !== ETHERTYPE) return undefined;
  const versionAndFlags = view.getUint8(14);
  return {
    header: {
      destination: formatMac(bytes.subarray(0, 6)),
      source: formatMac(bytes.subarray(6, 12)),
      version: versionAndFlags >> 4,
      flags: versionAndFlags & 0x0f,
      error: view.getUint8(15),
      shelf: view.getUint16(16),
      slot: view.getUint8(18),
      command: view.getUint8(19),
      tag: view.getUint32(20),
    },
    argument: bytes.subarray(HEADER_LENGTH),
  };
}

/** Puts a frame together, exactly as long as its parts: the inverse of {@link parseFrame}. */
export function emitFrame({ header, argument }: Frame): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH + argument.length);
  const view = viewOf(bytes);
  bytes.set(parseMac(header.destination), 0);
  bytes.set(parseMac(header.source), 6);
  view.setUint16(12, ETHERTYPE);
  view.setUint8(14, (header.version << 4) | (header.flags & 0x0f));
  view.setUint8(15, header.error);
  view.setUint16(16, header.shelf);
  view.setUint8(18, header.slot);
  view.setUint8(19, header.command);
  view.setUint32(20, header.tag);
  bytes.set(argument, HEADER_LENGTH);
  return bytes;
}

/** The frame padded with zeros to what Ethernet needs at least. */
export function padFrame(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= MIN_FRAME) return bytes;
  const padded = new Uint8Array(MIN_FRAME);
  padded.set(bytes);
  return padded;
}
