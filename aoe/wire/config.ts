import { viewOf } from './header.ts';

export const CONFIG_LENGTH = 8;
/** Longest config string, in bytes (AoEr11, section 3.2). */
export const MAX_CONFIG_STRING = 1024;

/**
 * What a config command does with the string (AoEr11, section 3.2). TestAndReplace came with Coraid's later targets:
 * its payload is the old string, the length of the new one (16 bit), the new one; a mismatch is error 4.
 */
export const ConfigCommand = { Read: 0, TestExact: 1, TestPrefix: 2, SetIfEmpty: 3, Force: 4, TestAndReplace: 5 } as const;

/**
 * Argument of command 1, "query config information" (AoEr11, section 3.2).
 *
 * ```text
 * 0 buffer count (16 bit)   2 firmware (16 bit)   4 sector count   5 AoE version | CCmd   6 length (16 bit)   8 string
 * ```
 */
export interface ConfigArgument {
  /** Frames the target can queue. */
  readonly bufferCount: number;
  readonly firmware: number;
  /** Most sectors that the target accepts in a frame. */
  readonly sectors: number;
  readonly version: number;
  readonly command: number;
  readonly string: Uint8Array;
  /** What follows the string: the new string of a TestAndReplace, or Ethernet padding. */
  readonly rest: Uint8Array;
}

/** Undefined when the argument is shorter than it says or the string is too long. */
export function parseConfig(bytes: Uint8Array): ConfigArgument | undefined {
  if (bytes.length < CONFIG_LENGTH) return undefined;
  const view = viewOf(bytes);
  const length = view.getUint16(6);
  if (length > MAX_CONFIG_STRING || CONFIG_LENGTH + length > bytes.length) return undefined;
  return {
    bufferCount: view.getUint16(0),
    firmware: view.getUint16(2),
    sectors: view.getUint8(4),
    version: view.getUint8(5) >> 4,
    command: view.getUint8(5) & 0x0f,
    string: bytes.subarray(CONFIG_LENGTH, CONFIG_LENGTH + length),
    rest: bytes.subarray(CONFIG_LENGTH + length),
  };
}

export function emitConfig(argument: ConfigArgument): Uint8Array {
  const { string, rest } = argument;
  if (string.length > MAX_CONFIG_STRING) throw new RangeError(`config string of ${string.length} bytes: at most ${MAX_CONFIG_STRING} fit`);
  const bytes = new Uint8Array(CONFIG_LENGTH + string.length + rest.length);
  const view = viewOf(bytes);
  view.setUint16(0, argument.bufferCount);
  view.setUint16(2, argument.firmware);
  view.setUint8(4, argument.sectors);
  view.setUint8(5, (argument.version << 4) | (argument.command & 0x0f));
  view.setUint16(6, string.length);
  bytes.set(string, CONFIG_LENGTH);
  bytes.set(rest, CONFIG_LENGTH + string.length);
  return bytes;
}

/** A request, as an initiator sends it. The counts are 0: only the target fills them in. */
export function configRequest(command: number, string: Uint8Array = new Uint8Array(), rest: Uint8Array = new Uint8Array()): ConfigArgument {
  return { bufferCount: 0, firmware: 0, sectors: 0, version: 1, command, string, rest };
}

/**
 * Replaces the string when it is exactly `old` (command 5).
 * @throws RangeError when a string is too long
 */
export function testAndReplaceRequest(old: Uint8Array, next: Uint8Array): ConfigArgument {
  if (next.length > MAX_CONFIG_STRING) throw new RangeError(`config string of ${next.length} bytes: at most ${MAX_CONFIG_STRING} fit`);
  const rest = new Uint8Array(2 + next.length);
  viewOf(rest).setUint16(0, next.length);
  rest.set(next, 2);
  return configRequest(ConfigCommand.TestAndReplace, old, rest);
}

/** The new string of a TestAndReplace; undefined when the payload is cut short. */
export function replacementOf({ rest }: ConfigArgument): Uint8Array | undefined {
  if (rest.length < 2) return undefined;
  const length = viewOf(rest).getUint16(0);
  return length <= MAX_CONFIG_STRING && 2 + length <= rest.length ? rest.subarray(2, 2 + length) : undefined;
}
