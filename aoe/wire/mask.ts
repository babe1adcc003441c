import { formatMac, parseMac, viewOf } from './header.ts';

const MASK_LENGTH = 4;
const DIRECTIVE_LENGTH = 8;

/** What a MAC mask command does with the list, what a directive does, and why it failed (AoEr11, section 3.3). */
export const MaskCommand = { Read: 0, Edit: 1 } as const;
export const DirectiveCommand = { None: 0, Add: 1, Delete: 2 } as const;
export const MaskError = { Unspecified: 1, BadDirective: 2, Full: 3 } as const;

export interface Directive {
  readonly reserved: number;
  readonly command: number;
  readonly mac: string;
}

/**
 * Argument of command 2, "MAC mask list" (AoEr11, section 3.3). A target with a non-empty list drops every
 * command of hosts that are not on the list, without an answer.
 *
 * ```text
 * 0 reserved   1 MCmd   2 MError   3 count   4 directives: { reserved, DCmd, MAC } of 8 bytes each
 * ```
 */
export interface MaskArgument {
  readonly reserved: number;
  readonly command: number;
  readonly error: number;
  readonly directives: readonly Directive[];
  /** Ethernet padding. */
  readonly rest: Uint8Array;
}

/** Undefined when the argument is shorter than its count says. */
export function parseMask(bytes: Uint8Array): MaskArgument | undefined {
  if (bytes.length < MASK_LENGTH) return undefined;
  const view = viewOf(bytes);
  const end = MASK_LENGTH + view.getUint8(3) * DIRECTIVE_LENGTH;
  if (end > bytes.length) return undefined;
  const directives: Directive[] = [];
  for (let at = MASK_LENGTH; at < end; at += DIRECTIVE_LENGTH) {
    directives.push({
      reserved: view.getUint8(at),
      command: view.getUint8(at + 1),
      mac: formatMac(bytes.subarray(at + 2, at + DIRECTIVE_LENGTH)),
    });
  }
  return { reserved: view.getUint8(0), command: view.getUint8(1), error: view.getUint8(2), directives, rest: bytes.subarray(end) };
}

export function emitMask(argument: MaskArgument): Uint8Array {
  const { directives, rest } = argument;
  if (directives.length > 255) throw new RangeError(`${directives.length} directives: at most 255 fit`);
  const end = MASK_LENGTH + directives.length * DIRECTIVE_LENGTH;
  const bytes = new Uint8Array(end + rest.length);
  bytes.set([argument.reserved, argument.command, argument.error, directives.length]);
  for (const [index, directive] of directives.entries()) {
    bytes.set([directive.reserved, directive.command, ...parseMac(directive.mac)], MASK_LENGTH + index * DIRECTIVE_LENGTH);
  }
  bytes.set(rest, end);
  return bytes;
}
