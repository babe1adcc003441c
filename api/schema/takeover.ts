import { z } from 'zod';
import { TAKEOVER_AFTER_PATTERN } from '../takeover/after.ts';

export const TakeoverAfter = z
  .string()
  .max(16)
  .describe(
    'For how long the node that has the volume must be silent before the volume is taken over by itself: seconds from 20s to 9999s, or Never. A time goes only with access Exclusive. It can be changed at any time. Absent: takeover.after of the chart. It does nothing while automatic takeover is off: set takeover.enabled=true in the chart.',
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `self.matches('${TAKEOVER_AFTER_PATTERN.source}')`,
        message: 'must be whole seconds, from 20s to 9999s, such as 30s, or Never',
      },
    ],
  });

export const TAKEOVER_AFTER_RULE = {
  rule: "!has(self.takeoverAfter) || (!has(self.external) && (self.access == 'Exclusive' || self.takeoverAfter == 'Never'))",
  message:
    'takeoverAfter is not for external targets, and a time only for volumes with access Exclusive: nothing else is taken over. With another access, take it away or write Never',
};
