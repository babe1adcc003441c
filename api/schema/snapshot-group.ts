import { z } from 'zod';
import { Conditions } from './meta.ts';
import { SnapshotPhase } from './snapshot.ts';

const immutable = { rule: 'self == oldSelf', message: 'cannot be changed' };

/** Most members of a group: each is held for as long as the slowest takes. */
const MAX_MEMBERS = 64;

export const AoESnapshotGroupSpec = z.object({
  members: z
    .array(
      z.object({
        volumeName: z.string().min(1).max(253).describe('Name of the AoEVolume of which a snapshot is taken.'),
        volumeUID: z
          .string()
          .min(1)
          .max(63)
          .optional()
          .describe('metadata.uid of that AoEVolume: then no other volume of the same name is taken.'),
      }),
    )
    .min(1)
    .max(MAX_MEMBERS)
    .describe('The volumes of which snapshots are taken at one instant, on any nodes and in any pools.')
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['volumeName'],
      'x-kubernetes-validations': [immutable],
    }),
});
export type AoESnapshotGroupSpec = z.infer<typeof AoESnapshotGroupSpec>;

/** How far a group is. Its last value is either Committed or Failed, and does not change any more. */
export const GroupStage = z.enum(['Preparing', 'Holding', 'Taking', 'Committed', 'Failed']);
export type GroupStage = z.infer<typeof GroupStage>;

export const AoESnapshotGroupStatus = z.object({
  observedGeneration: z.number().int().optional(),
  phase: SnapshotPhase.optional(),
  stage: GroupStage.optional().describe(
    'Preparing: the agents get ready. Holding: they hold the writes of all members back. Taking: all are held; the snapshots are taken. Committed: all were held throughout. Failed: there are no snapshots.',
  ),
  stageSince: z.string().optional().meta({ format: 'date-time' }).describe('When that stage began.'),
  createdAt: z.string().optional().meta({ format: 'date-time' }).describe('The instant that all members show. All of them were held then.'),
  members: z
    .array(
      z.object({
        name: z.string().describe('Name of the AoESnapshot.'),
        volumeName: z.string(),
        volumeUID: z.string().describe('metadata.uid of the AoEVolume.'),
        nodeName: z.string().describe('Storage node of the volume.'),
        hold: z.number().int().min(0).optional().describe('Number of the hold under which it must be taken. From stage Taking on.'),
      }),
    )
    .optional()
    .describe('The AoESnapshots of the group. They are named here before anything is held.')
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] }),
  conditions: Conditions.optional(),
});
export type AoESnapshotGroupStatus = z.infer<typeof AoESnapshotGroupStatus>;
