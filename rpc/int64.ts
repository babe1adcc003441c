import { util } from 'protobufjs/minimal.js';

type Long = import('long').default;

/** A whole number as a 64-bit field of a message. @throws RangeError when a number cannot hold it exactly */
export function int64(value: number): Long {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} does not fit a 64-bit field exactly`);
  return (util.Long as unknown as { fromNumber(value: number): Long }).fromNumber(value);
}

/** A 64-bit field of a message as a number: 0 when it is not set, not exact beyond 2^53. */
export function fromInt64(value: Long | number | null | undefined): number {
  return typeof value === 'object' ? (value?.toNumber() ?? 0) : (value ?? 0);
}
