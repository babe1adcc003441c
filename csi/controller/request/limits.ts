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

/** Value of a parameter that takes a limit away. */
const NONE = 'none';
const isRate = (key: LimitKey): boolean => (RATES as readonly string[]).includes(key);
const isCount = (key: LimitKey): boolean => (COUNTS as readonly string[]).includes(key);

function refuse(message: string): never {
  throw new RpcError(Code.INVALID_ARGUMENT, `mutable_parameters: ${message}`);
}

/** What a class says: of each limit that it names the number, 0 when there is to be none. */
export type NamedLimits = Readonly<Partial<LimitNumbers>>;

/**
 * What the parameters of a VolumeAttributesClass say. csi-resizer and csi-provisioner pass on all of them, and nothing else.
 * @throws RpcError INVALID_ARGUMENT that names the parameter
 */
export function namedLimits(parameters: Readonly<Record<string, string>>): NamedLimits {
  const isKnown = (key: string): key is LimitKey => (LIMIT_KEYS as readonly string[]).includes(key);
  const named: Partial<LimitNumbers> = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (!isKnown(key)) refuse(`parameter ${shorten(key)} is not known: use ${LIMIT_KEYS.join(', ')}`);
    named[key] = value === NONE ? 0 : numberOf(key, value);
  }
  for (const [both, ...single] of [COUNTS, RATES])
    for (const key of single) if (named[both] && named[key]) refuse(`${key} and ${both} exclude each other`);
  return named;
}

/**
 * Limits of a volume after a class has changed them. A limit that the class does not name stays (csi.proto, ControllerModifyVolumeRequest,
 * mutable_parameters), except where one that it sets leaves nothing of it: reads and writes together exclude each alone, and burstSeconds
 * goes with the last limit.
 */
export function changedLimits(limits: LimitNumbers, named: NamedLimits): LimitNumbers {
  const changed = { ...limits, ...named };
  for (const [both, ...single] of [COUNTS, RATES]) {
    if (named[both]) for (const key of single) changed[key] = 0;
    if (single.some((key) => named[key])) changed[both] = 0;
  }
  return hasLimits(changed) ? changed : limitNumbers(undefined);
}

/**
 * The same for what a volume is to have.
 * @throws RpcError INVALID_ARGUMENT when the class says something of no effect
 */
export function wantedLimits(limits: Limits | undefined, named: NamedLimits): LimitNumbers {
  const wanted = changedLimits(limitNumbers(limits), named);
  if (named.burstSeconds && !hasLimits(wanted)) refuse('burstSeconds does nothing without a limit');
  return wanted;
}

/**
 * The limits of a new volume with a VolumeAttributesClass.
 * @throws RpcError INVALID_ARGUMENT that names the parameter
 */
export function limitsOf(parameters: Readonly<Record<string, string>>): Limits {
  return formatLimits(wantedLimits(undefined, namedLimits(parameters)));
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
