import { MAX_CONFIG_STRING } from '../wire/config.ts';

/** The owner of a lock. Two locks with the same owner are the same lock, whenever they were taken. */
export interface LockOwner {
  /** Name of the Kubernetes node. */
  readonly node: string;
  readonly nodeUID: string;
  readonly volumeUID: string;
}

export interface LockText extends LockOwner {
  /** RFC 3339 time at which the lock was taken. */
  readonly since: string;
}

const PATTERN =
  /^aoe\.dev\/1 node=(\S+) uid=(\S+) volume=(\S+) since=(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2}))$/;

/**
 * The lock as a config string, readable by people and by aoecfg.
 * @throws RangeError when it is too long, or a part contains white space
 */
export function formatLock({ node, nodeUID, volumeUID, since }: LockText): Uint8Array {
  const text = `aoe.dev/1 node=${node} uid=${nodeUID} volume=${volumeUID} since=${since}`;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > MAX_CONFIG_STRING || !PATTERN.test(text)) throw new RangeError(`not a valid lock: "${text.slice(0, 200)}"`);
  return bytes;
}

/** Undefined when the bytes are not exactly what {@link formatLock} writes: then the config string is not a lock of this project. */
export function parseLock(bytes: Uint8Array): LockText | undefined {
  if (bytes.length > MAX_CONFIG_STRING) return undefined;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
  const [, node, nodeUID, volumeUID, since] = PATTERN.exec(text) ?? [];
  return node && nodeUID && volumeUID && since ? { node, nodeUID, volumeUID, since } : undefined;
}

export function sameOwner(a: LockOwner | undefined, b: LockOwner): boolean {
  return a?.node === b.node && a.nodeUID === b.nodeUID && a.volumeUID === b.volumeUID;
}

/** A config string for people: printable ASCII unchanged, every other byte as `\xNN`. */
export function escapeString(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
