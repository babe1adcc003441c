import { z } from 'zod';
import { LEAST_IOPS, MOST_BURST_SECONDS, MOST_IOPS } from '../limits/limits.ts';
import { Quantity } from './quantity.ts';

const RATE_RULE = {
  rule: [
    "self.matches('^[0-9]+([.][0-9]+)?([KMGTPE]i|[kMGTPE])?$')",
    "!quantity(self).isLessThan(quantity('64Ki'))",
    "!quantity(self).isGreaterThan(quantity('9007199254740991'))",
  ].join(' && '),
  message: 'must be at least 64Ki and less than 8Pi, such as 50Mi; for no limit, leave it out',
};

const count = (what: string) =>
  z.number().int().min(LEAST_IOPS).max(MOST_IOPS).optional().meta({ format: 'int64' }).describe(`${what}. Absent: no limit.`);
const rate = (what: string) =>
  Quantity.optional()
    .describe(`${what}, such as 50Mi. Absent: no limit.`)
    .meta({ 'x-kubernetes-validations': [RATE_RULE] });

const FIELDS = {
  iops: count('Reads and writes per second together; each 4 KiB of a request count as one'),
  readIOPS: count('Reads per second'),
  writeIOPS: count('Writes per second'),
  bytesPerSecond: rate('Bytes read and written per second together'),
  readBytesPerSecond: rate('Bytes read per second'),
  writeBytesPerSecond: rate('Bytes written per second'),
  burstSeconds: z
    .number()
    .int()
    .min(1)
    .max(MOST_BURST_SECONDS)
    .optional()
    .describe('Of how many seconds an unused limit is saved up, to be used at once. Absent: nothing is saved up.'),
};

const ONE_LIMIT = Object.keys(FIELDS)
  .filter((key) => key !== 'burstSeconds')
  .map((key) => `has(self.${key})`)
  .join(' || ');

export const Limits = z.object(FIELDS).meta({
  'x-kubernetes-validations': [
    {
      rule: '!has(self.iops) || (!has(self.readIOPS) && !has(self.writeIOPS))',
      message: 'give either iops, or readIOPS and writeIOPS',
    },
    {
      rule: '!has(self.bytesPerSecond) || (!has(self.readBytesPerSecond) && !has(self.writeBytesPerSecond))',
      message: 'give either bytesPerSecond, or readBytesPerSecond and writeBytesPerSecond',
    },
    { rule: `!has(self.burstSeconds) || ${ONE_LIMIT}`, message: 'burstSeconds does nothing without a limit' },
  ],
});

/** What the target confirms. Its rules were checked when the spec was written. */
export const LimitsInForce = z.object({
  observedGeneration: z.number().int().describe('metadata.generation of the spec.limits that the target enforces.'),
  ...FIELDS,
});
