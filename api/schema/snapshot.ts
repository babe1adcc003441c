import { z } from 'zod';
import { ENCRYPTION } from '../volume.ts';
import { Address, Mac } from './address.ts';
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
    group: z
      .object({
        name: z.string().min(1).max(253),
        uid: z.string().min(1).max(63).describe('metadata.uid of the AoESnapshotGroup.'),
      })
      .optional()
      .describe(
        'The AoESnapshotGroup that this snapshot is a member of. The operator sets it. The snapshot can be used once the group is committed.',
      )
      .meta({ 'x-kubernetes-validations': [immutable] }),
    freeze: z
      .boolean()
      .optional()
      .describe(
        'Whether the file system of the volume is frozen while the snapshot is taken, on the node that has it mounted: then the snapshot has all that programs have written, also what they have not synced. Absent: false.',
      )
      .meta({ 'x-kubernetes-validations': [immutable] }),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: 'has(self.volumeUID) == has(oldSelf.volumeUID)', message: 'volumeUID cannot be changed' },
      { rule: 'has(self.group) == has(oldSelf.group)', message: 'group cannot be changed' },
      { rule: 'has(self.freeze) == has(oldSelf.freeze)', message: 'freeze cannot be changed' },
      {
        rule: '!has(self.group) || !has(self.freeze) || !self.freeze',
        message: 'freeze does not apply to a member of a group: its file system is not frozen',
      },
    ],
  });
export type AoESnapshotSpec = z.infer<typeof AoESnapshotSpec>;

/** Summary for people and printer columns; conditions carry the reasons. */
export const SnapshotPhase = z.enum(['Pending', 'Ready', 'Failed', 'Deleting']);
export type SnapshotPhase = z.infer<typeof SnapshotPhase>;

/** How far the agent is with a member of a group. Failed: the condition Taken says why. */
export const MemberStep = z.enum(['Prepared', 'Held', 'Taken', 'Failed']);
export type MemberStep = z.infer<typeof MemberStep>;

/** How far the agent is with a freeze. Done: nothing more is asked of any node. */
export const FreezeStage = z.enum(['Freezing', 'Thawing', 'Done']);
export type FreezeStage = z.infer<typeof FreezeStage>;

/** What a node plugin has done of a freeze that it was asked for. */
export const FrozenState = z.enum(['Frozen', 'NotMounted', 'Thawed', 'Failed', 'Unsupported']);
export type FrozenState = z.infer<typeof FrozenState>;

/** An AoEVolume that is being made of a snapshot in another pool or on another node. */
const SnapshotCopy = z.object({
  volume: z.string().min(1).max(253).describe('Name of the AoEVolume.'),
  node: z.string().min(1).max(253).describe('Storage node on which it is made.'),
  macs: z.array(Mac).max(64).optional().describe('MAC addresses with which that node reads the snapshot.'),
});

export const AoESnapshotStatus = z.object({
  observedGeneration: z.number().int().optional(),
  phase: SnapshotPhase.optional(),
  conditions: Conditions.optional(),
  assignedNode: z
    .string()
    .optional()
    .describe(
      'Storage node of the AoEVolume, whose agent is to take the snapshot. The operator writes it. Absent once that agent has taken it over (nodeName).',
    ),
  nodeName: z.string().optional().describe('Storage node that has the snapshot.'),
  pool: z.string().optional().describe('Name of the AoEPool that has the snapshot.'),
  volumeUID: z.string().optional().describe('metadata.uid of the AoEVolume of which it was taken.'),
  capacity: Quantity.optional().describe('Size of the disk in the snapshot. It is set when the snapshot is taken.'),
  encryption: z
    .enum(ENCRYPTION)
    .optional()
    .describe('spec.encryption of the AoEVolume of which it was taken: the data in the snapshot is encrypted.'),
  createdAt: z.string().optional().meta({ format: 'date-time' }).describe('The instant that the snapshot shows.'),
  member: z
    .object({
      step: MemberStep,
      hold: z
        .number()
        .int()
        .min(0)
        .optional()
        .describe(
          "Number of the target's hold on the volume; any number when the volume was not exported, so that nobody could write to it.",
        ),
    })
    .optional()
    .describe('Of a member of a group: how far the agent is. Taken: the volume was held throughout, under that number.'),
  committed: z.boolean().optional().describe('Of a member of a group: the group is committed.'),
  freeze: z
    .object({
      id: z.string().max(64).describe('Another one for each attempt.'),
      stage: FreezeStage,
      nodeName: z.string().max(253).optional().describe('Node that is asked to freeze, or to thaw. Absent when the stage is Done.'),
      message: z.string().max(1024).optional().describe('What was frozen, or why nothing had to be.'),
    })
    .optional()
    .describe("With spec.freeze: what the agent asks of the node that has the volume's file system mounted."),
  frozen: z
    .object({
      id: z.string().max(64).describe('The status.freeze.id that the answer is about.'),
      nodeName: z.string().max(253).describe('Node of the plugin that answers.'),
      state: FrozenState,
      throughout: z
        .boolean()
        .optional()
        .describe('With Thawed: whether the file system was frozen, or not mounted, without a break from the answer before until now.'),
      message: z.string().max(1024).optional(),
    })
    .optional()
    .describe('The answer of that node plugin.'),
  copies: z
    .array(SnapshotCopy)
    .max(64)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['volume'] })
    .describe('AoEVolumes into which the snapshot is being copied. Its data stays until there are none.'),
  copyAddress: Address.optional().describe(
    'AoE address at which the nodes in status.copies read the snapshot. The operator gives it, and takes it back when copyServed is absent.',
  ),
  copyServed: Address.optional().describe('The copyAddress that the storage node serves, or is about to serve.'),
});
export type AoESnapshotStatus = z.infer<typeof AoESnapshotStatus>;
