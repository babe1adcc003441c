import { z } from 'zod';

/** A size in bytes, as Kubernetes writes quantities: `10Gi`, `500M`, `1.5Ti`. */
export const Quantity = z.string().max(32);

/**
 * What the API server checks of a size that a user writes (CEL): it accepts nothing that parseQuantity refuses. The largest size is
 * Number.MAX_SAFE_INTEGER: just below 8Pi there are quantities that are rounded up to it.
 */
export const QUANTITY_RULE = {
  rule: [
    "self.matches('^[0-9]+([.][0-9]+)?([KMGTPE]i|[kMGTPE])?$')",
    "quantity(self).isGreaterThan(quantity('0'))",
    "!quantity(self).isGreaterThan(quantity('9007199254740991'))",
  ].join(' && '),
  message: 'must be a size greater than 0 and less than 8Pi, such as 10Gi or 1.5Ti',
};
