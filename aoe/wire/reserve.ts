import { formatMac, parseMac, viewOf } from './header.ts';

const RESERVE_LENGTH = 2;
const MAC_LENGTH = 6;

/** What a reserve/release command does (AoEr11, section 3.4). Set needs an empty list, or the sender in it. */
export const ReserveCommand = { Read: 0, Set: 1, Force: 2 } as const;

/**
 * Argument of command 3, "reserve/release" (AoEr11, section 3.4). While the list is not empty, only hosts on
 * it may read and write. Every answer carries the list.
 *
 * ```text
 * 0 RCmd   1 count   2 MAC addresses of 6 bytes each
 * ```
 */
export interface ReserveArgument {
  readonly command: number;
  readonly macs: readonly string[];
  /** Ethernet padding. */
  readonly rest: Uint8Array;
}

/** Undefined when the argument is shorter than its count says. */
export function parseReserve(bytes: Uint8Array): ReserveArgument | undefined {
  if (bytes.length < RESERVE_LENGTH) return undefined;
  const view = viewOf(bytes);
  const end = RESERVE_LENGTH + view.getUint8(1) * MAC_LENGTH;
  if (end > bytes.length) return undefined;
  const macs: string[] = [];
  for (let at = RESERVE_LENGTH; at < end; at += MAC_LENGTH) macs.push(formatMac(bytes.subarray(at, at + MAC_LENGTH)));
  return { command: view.getUint8(0), macs, rest: bytes.subarray(end) };
}

export function emitReserve({ command, macs, rest }: ReserveArgument): Uint8Array {
  if (macs.length > 255) throw new RangeError(`${macs.length} MAC addresses: at most 255 fit`);
  const end = RESERVE_LENGTH + macs.length * MAC_LENGTH;
  const bytes = new Uint8Array(end + rest.length);
  bytes.set([command, macs.length]);
  for (const [index, mac] of macs.entries()) bytes.set(parseMac(mac), RESERVE_LENGTH + index * MAC_LENGTH);
  bytes.set(rest, end);
  return bytes;
}
