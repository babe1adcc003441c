import { z } from 'zod';
import { RECLAIM_EVERY_PATTERN } from '../volume.ts';

export const ReclaimEvery = z
  .string()
  .max(16)
  .describe(
    'How often the node that uses the volume gives the free space of its file system back to the pool, in whole hours: 168h. Absent: only when annotation aoe.dev/reclaim asks for it.',
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `self.matches('${RECLAIM_EVERY_PATTERN.source}')`,
        message: 'must be whole hours, from 1h to 9999h, such as 168h for once a week',
      },
    ],
  });

/** Where the nodes would refuse each run: what is given back is what somebody writes zeros to, as the only user of a file system. */
export const RECLAIM_EVERY_RULES = [
  {
    rule: '!has(self.reclaimEvery) || !has(self.external)',
    message: 'reclaimEvery does not apply to an external target: nothing here gives its space back',
  },
  {
    rule: '!has(self.reclaimEvery) || !has(self.encryption)',
    message: 'reclaimEvery does not go with encryption: the zeros of an encrypted volume are no zeros for its target',
  },
  {
    rule: "!has(self.reclaimEvery) || self.access == 'Exclusive'",
    message: 'reclaimEvery needs access Exclusive, since only such a volume has one user: take reclaimEvery away for another access',
  },
];

export const ReclaimReport = z
  .object({
    request: z
      .string()
      .max(253)
      .describe(
        'The last value of annotation aoe.dev/reclaim that was taken up. Empty when there was none, and the schedule began the run.',
      ),
    scheduled: z.boolean().optional().describe('Whether the run was due by spec.reclaimEvery. Absent: the annotation asked for it.'),
    node: z.string().max(253).describe('The node that does it, or did.'),
    state: z
      .enum(['Running', 'Done', 'Refused', 'Failed'])
      .describe(
        'Running: also after a restart of the node plugin, or when the volume was taken off the node: it begins again then; a scheduled one not before a while.',
      ),
    startedAt: z.string().optional(),
    finishedAt: z.string().optional().describe('When it ended or was refused. A schedule counts from here.'),
    bytes: z.number().int().min(0).optional().describe('Bytes of free space that were overwritten with zeros.'),
    message: z.string().max(1024).optional().describe('How it ended, for people.'),
    reason: z
      .string()
      .max(64)
      .optional()
      .describe(
        'Why it was refused or ended, for programs. ReclaimsZerosAbsent: status.reclaimsZeros was not true, so nothing was begun, or the run was ended. Once it is true, a schedule does not wait its full time.',
      ),
  })
  .describe('The last run that gave the free space of the file system back to the pool, as the node plugin reports it.');
