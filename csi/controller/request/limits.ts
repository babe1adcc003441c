import {
  COUNTS,
  formatLimits,
  hasLimits,
  LEAST_BYTES_PER_SECOND,
  LEAST_IOPS,
  LIMIT_KEYS,
  type LimitKey,
  type LimitNumbers,
  type Limits,
  limitNumbers,
  MOST_BURST_SECONDS,
  MOST_IOPS,
  RATES,
} from '../../../api/limits/limits.ts';
import { parseQuantity } from '../../../api/quantity.ts';
import { Code, RpcError } from '../../../rpc/status.ts';

/** Value of a parameter that says that there is no such limit: a VolumeAttributesClass must have at least one parameter. */
const NONE = 'none';
const isRate = (key: LimitKey): boolean => (RATES as readonly string[]).includes(key);
const isCount = (key: LimitKey): boolean => (COUNTS as readonly string[]).includes(key);

function refuse(message: string): never {
  throw new RpcError(Code.INVALID_ARGUMENT, `mutable_parameters: ${message}`);
}

/**
 * The limits that a VolumeAttributesClass gives to a volume. They replace all that it has: a limit that the class does not name is gone.
 * @throws RpcError INVALID_ARGUMENT that names the parameter
 */
export function limitsOf(parameters: Readonly<Record<string, string>>): Limits {
  const isKnown = (key: string): key is LimitKey => (LIMIT_KEYS as readonly string[]).includes(key);
  const numbers: LimitNumbers = limitNumbers(undefined);
  for (const [key, value] of Object.entries(parameters)) {
    if (!isKnown(key)) refuse(`parameter ${shorten(key)} is not known: use ${LIMIT_KEYS.join(', ')}`);
    if (value !== NONE) numbers[key] = numberOf(key, value);
  }
  for (const [both, ...single] of [COUNTS, RATES])
    for (const key of single) if (numbers[both] > 0 && numbers[key] > 0) refuse(`${key} and ${both} exclude each other`);
  if (numbers.burstSeconds > 0 && !hasLimits(numbers)) refuse('burstSeconds does nothing without a limit');
  return formatLimits(numbers);
}

function numberOf(key: LimitKey, value: string): number {
  const [least, most] = isRate(key)
    ? [LEAST_BYTES_PER_SECOND, Number.MAX_SAFE_INTEGER]
    : isCount(key)
      ? [LEAST_IOPS, MOST_IOPS]
      : [1, MOST_BURST_SECONDS];
  const bounds = isRate(key) ? 'a quantity from 64Ki to less than 8Pi, such as 50Mi' : `a whole number from ${least} to ${most}`;
  const number = parse(key, value);
  if (number === undefined || number < least || number > most)
    refuse(`${key} is "${shorten(value)}": it must be ${bounds}, or "${NONE}" for no limit`);
  return number;
}

function parse(key: LimitKey, value: string): number | undefined {
  if (!isRate(key)) return /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
  try {
    return parseQuantity(value);
  } catch {
    return undefined;
  }
}

/** What a caller wrote, fit for a message. */
function shorten(text: string): string {
  const plain = text.replaceAll(/[^\x20-\x7e]/g, '?');
  return plain.length > 63 ? `${plain.slice(0, 60)}...` : plain;
}
