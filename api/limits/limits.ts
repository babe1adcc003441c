import { formatQuantity, parseQuantity } from '../quantity.ts';
import type { AoEVolumeSpec } from '../schema/volume.ts';

/** How much all hosts of a volume together may read and write: `spec.limits` of an AoEVolume. */
export type Limits = NonNullable<AoEVolumeSpec['limits']>;

/** Limits of requests per second. */
export const COUNTS = ['iops', 'readIOPS', 'writeIOPS'] as const;
/** Limits of bytes per second, written as quantities. */
export const RATES = ['bytesPerSecond', 'readBytesPerSecond', 'writeBytesPerSecond'] as const;
export const LIMIT_KEYS = [...COUNTS, ...RATES, 'burstSeconds'] as const;
export type LimitKey = (typeof LIMIT_KEYS)[number];

/**
 * The slowest limits. A host always has two frames under way: with less, their answers would take so long that hosts give up.
 * The target has the same bounds (target/src/definition.rs).
 */
export const LEAST_IOPS = 10;
export const MOST_IOPS = 1_000_000_000;
export const LEAST_BYTES_PER_SECOND = 65_536;
export const MOST_BURST_SECONDS = 3600;

/** Each limit as a number: bytes, requests and seconds. 0: there is none. */
export type LimitNumbers = Record<LimitKey, number>;

/** @throws RangeError when a rate is no quantity */
export function limitNumbers(limits: Limits | undefined): LimitNumbers {
  const number = (key: LimitKey): number => {
    const value = limits?.[key];
    return typeof value === 'string' ? parseQuantity(value) : (value ?? 0);
  };
  return Object.fromEntries(LIMIT_KEYS.map((key) => [key, number(key)])) as LimitNumbers;
}

/** Limits as they are written into a resource. */
export function formatLimits(numbers: LimitNumbers): Limits {
  const isRate = (key: LimitKey): boolean => (RATES as readonly string[]).includes(key);
  const present = LIMIT_KEYS.filter((key) => numbers[key] > 0);
  return Object.fromEntries(present.map((key) => [key, isRate(key) ? formatQuantity(numbers[key]) : numbers[key]])) as Limits;
}

export function isSameLimits(a: LimitNumbers, b: LimitNumbers): boolean {
  return LIMIT_KEYS.every((key) => a[key] === b[key]);
}

export function hasLimits(numbers: LimitNumbers): boolean {
  return [...COUNTS, ...RATES].some((key) => numbers[key] > 0);
}
