import { z } from 'zod';
import { MAX_SHELF, MAX_SLOT, REFUSED_SHELF } from '../address.ts';

export const Address = z
  .object({
    shelf: z.number().int().min(0).max(MAX_SHELF),
    slot: z.number().int().min(0).max(MAX_SLOT),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: `self.shelf != ${REFUSED_SHELF}`, message: `shelf ${REFUSED_SHELF} (0xFFF) cannot be used: the Linux initiator refuses it` },
    ],
  });

/** A unicast, non-zero MAC address in lower-case colon notation: `02:00:5e:10:00:01`. */
export const Mac = z
  .string()
  .max(17)
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "self.matches('^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$') && self != '00:00:00:00:00:00'",
        message: 'must be a unicast MAC address in lower case, such as 02:00:5e:10:00:01',
      },
    ],
  });
