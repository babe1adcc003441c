import { z } from 'zod';
import { Conditions } from './meta.ts';
import { Quantity } from './quantity.ts';

const immutable = { rule: 'self == oldSelf', message: 'cannot be changed' };

export const AoESnapshotSpec = z
  .object({
    volumeName: z
      .string()
      .min(1)
      .max(253)
      .describe('Name of the AoEVolume of which the snapshot is taken. The snapshot stays when that volume is deleted.')
      .meta({ 'x-kubernetes-validations': [immutable] }),
    volumeUID: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .describe('metadata.uid of that AoEVolume: then no other volume of the same name is taken.')
      .meta({ 'x-kubernetes-validations': [immutable] }),
    deletionPolicy: z
      .enum(['Delete', 'Retain'])
      .default('Delete')
      .describe("What happens to the snapshot's data when the AoESnapshot is deleted."),
  })
  .meta({
    'x-kubernetes-validations': [{ rule: 'has(self.volumeUID) == has(oldSelf.volumeUID)', message: 'volumeUID cannot be changed' }],
  });
export type AoESnapshotSpec = z.infer<typeof AoESnapshotSpec>;

/** Summary for people and printer columns; conditions carry the reasons. */
export const SnapshotPhase = z.enum(['Pending', 'Ready', 'Failed', 'Deleting']);
export type SnapshotPhase = z.infer<typeof SnapshotPhase>;

export const AoESnapshotStatus = z.object({
  observedGeneration: z.number().int().optional(),
  phase: SnapshotPhase.optional(),
  conditions: Conditions.optional(),
  nodeName: z.string().optional().describe('Storage node that has the snapshot.'),
  pool: z.string().optional().describe('Name of the AoEPool that has the snapshot.'),
  volumeUID: z.string().optional().describe('metadata.uid of the AoEVolume of which it was taken.'),
  capacity: Quantity.optional().describe('Size of the disk in the snapshot. It is set when the snapshot is taken.'),
  createdAt: z.string().optional().meta({ format: 'date-time' }).describe('The instant that the snapshot shows.'),
});
export type AoESnapshotStatus = z.infer<typeof AoESnapshotStatus>;
