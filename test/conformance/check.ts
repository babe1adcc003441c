import type { Session } from './session.ts';

/** One thing that a target must do. */
export interface Check {
  /** Reads as "the target …". */
  readonly name: string;
  /** Where it is written that it must. */
  readonly source: string;
  /** @throws Deviation when the target does something else */
  readonly run: (session: Session) => Promise<void>;
}

/** Checks that belong together: a part of the specification, or what one initiator sends. */
export interface Group {
  readonly name: string;
  readonly checks: readonly Check[];
}

/** The target did what it must not, or did not what it must; the message says what was seen. */
export class Deviation extends Error {
  override readonly name = 'Deviation';
}

export const check = (name: string, source: string, run: Check['run']): Check => ({ name, source, run });

/** @throws Deviation unless both are the same; bytes are compared as such, all else as JSON */
export function equal(seen: unknown, wanted: unknown, what: string): void {
  if (show(seen) !== show(wanted)) throw new Deviation(`${what} is ${brief(seen)}, not ${brief(wanted)}`);
}

/** @throws Deviation with this text unless the condition holds */
export function must(condition: boolean, seen: string): void {
  if (!condition) throw new Deviation(seen);
}

function show(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : JSON.stringify(value);
}

function brief(value: unknown): string {
  const text = typeof value === 'number' && value > 9 ? `${value} (0x${value.toString(16)})` : show(value);
  return text.length > 80 ? `${text.slice(0, 76)}… (${value instanceof Uint8Array ? `${value.length} bytes` : text.length})` : text;
}
