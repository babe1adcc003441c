/** Bytes of a mebibyte. */
export const MiB = 2 ** 20;

const SUFFIXES: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
  '': 1n,
  k: 10n ** 3n,
  M: 10n ** 6n,
  G: 10n ** 9n,
  T: 10n ** 12n,
  P: 10n ** 15n,
  E: 10n ** 18n,
};
const PATTERN = /^([0-9]+)(?:\.([0-9]+))?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E|)$/;

/**
 * Parses a Kubernetes quantity into bytes, rounding a fraction of a byte up as Kubernetes does.
 * @throws RangeError when the text is not a non-negative quantity in bytes
 * @example parseQuantity('1.5Gi') === 1610612736
 */
export function parseQuantity(text: string): number {
  const match = PATTERN.exec(text);
  if (!match) throw new RangeError(`"${text}" is not a size: write a number with an optional suffix, such as 10Gi or 500M`);
  const [, whole = '0', fraction = '', suffix = ''] = match;
  const unit = SUFFIXES[suffix] ?? 1n;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  const bytes = (scaled + scale - 1n) / scale;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`"${text}" is 8Pi or more: numbers are exact only below`);
  return Number(bytes);
}

/**
 * Writes bytes as the shortest exact binary quantity.
 * @example formatQuantity(10737418240) === '10Gi'
 */
export function formatQuantity(bytes: number): string {
  let value = BigInt(bytes);
  let suffix = '';
  for (const next of ['Ki', 'Mi', 'Gi', 'Ti', 'Pi']) {
    if (value === 0n || value % 1024n !== 0n) break;
    value /= 1024n;
    suffix = next;
  }
  return `${value}${suffix}`;
}

/** @param grain at least 1 */
export function roundUp(bytes: number, grain: number): number {
  return Math.ceil(bytes / grain) * grain;
}

/** @param grain at least 1 */
export function roundDown(bytes: number, grain: number): number {
  return Math.floor(bytes / grain) * grain;
}
