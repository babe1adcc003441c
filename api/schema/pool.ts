import { z } from 'zod';
import { MAX_ABANDONED, MAX_ABANDONED_ADDRESSES } from '../pool.ts';
import { Address } from './address.ts';
import { Conditions } from './meta.ts';
import { Quantity } from './quantity.ts';

export const Backend = z.enum(['lvm', 'lvm-thin', 'file']);
export type Backend = z.infer<typeof Backend>;

/** How much of a new volume is overwritten before its first use. */
export const WipeExtent = z.enum(['Full', 'Ends']);
export type WipeExtent = z.infer<typeof WipeExtent>;

/** Whether space is given back that is overwritten with zeros. */
export const ReclaimZeros = z.enum(['Auto', 'None']);
export type ReclaimZeros = z.infer<typeof ReclaimZeros>;

/** A name that LVM accepts (lvm(8), VALID NAMES) and cannot mistake for an option. */
const LvmName = z
  .string()
  .min(1)
  .max(127)
  .regex(/^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$/)
  .meta({ 'x-kubernetes-validations': [{ rule: "self != '.' && self != '..'", message: 'must be a name that LVM takes' }] });

/** A percentage below 100, or a size, which may be 0 (CEL). */
const RESERVE_RULE = {
  rule: "self.matches('^[0-9]{1,2}%$') || (self.matches('^[0-9]+([.][0-9]+)?([KMGTP]i|[kMGTP])?$') && !quantity(self).isGreaterThan(quantity('9007199254740991')))",
  message: 'must be a percentage such as 15%, or a size such as 20Gi',
};

/** A percentage from 100 to 9999. */
const OVERPROVISION = /^[1-9][0-9]{2,3}%$/;

export const AoEPoolSpec = z
  .object({
    backend: Backend.describe('lvm: linear volumes. lvm-thin: thin volumes. file: sparse files in a directory.'),
    volumeGroup: LvmName.optional().describe('LVM volume group, for lvm and lvm-thin.'),
    thinPool: LvmName.optional().describe('Thin pool in the volume group, for lvm-thin.'),
    directory: z.string().regex(/^\//).max(1024).optional().describe('Directory on the node, for file. Created when missing.'),
    wipe: WipeExtent.optional().describe(
      'How much of a new volume is overwritten before its first use, for lvm. Absent or Full: all of it, which takes as long as to write it unless the disk can zero itself. Ends: the first and the last MiB, and the rest may show data of an earlier volume.',
    ),
    reserve: z
      .string()
      .max(32)
      .optional()
      .describe(
        'For file: part of the file system that volumes never get, such as 15% or 20Gi. Absent: 20% on the file system of the kubelet, nothing on others.',
      )
      .meta({ 'x-kubernetes-validations': [RESERVE_RULE] }),
    overprovision: z
      .string()
      .regex(OVERPROVISION)
      .optional()
      .describe(
        'For lvm-thin: how much may be promised to volumes and snapshots in all, as a percentage of the thin pool, such as 200%. Absent: 100%, so that it cannot become full. With more, a thin pool that becomes full fails the writes of all its volumes: extend it in time.',
      ),
    reclaimZeros: ReclaimZeros.optional().describe(
      'For file and lvm-thin: whether space is given back that hosts overwrite with zeros. Absent or Auto: where the file system or the thin pool can do it safely. None: zeros are written as other data, which is faster in a file pool. It can be changed while volumes are in use.',
    ),
    nodeSelector: z
      .record(z.string(), z.string())
      .optional()
      .describe('Labels of the nodes that have the pool. Absent: all storage nodes.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "self.backend == 'file' ? has(self.directory) : !has(self.directory)",
        message: 'directory goes with backend file, and is required there',
      },
      {
        rule: "self.backend == 'file' ? !has(self.volumeGroup) : has(self.volumeGroup)",
        message: 'volumeGroup goes with backends lvm and lvm-thin, and is required there',
      },
      {
        rule: "self.backend == 'lvm-thin' ? has(self.thinPool) : !has(self.thinPool)",
        message: 'thinPool goes with backend lvm-thin, and is required there',
      },
      { rule: "self.backend == 'lvm' || !has(self.wipe)", message: 'wipe goes with backend lvm: new volumes of the others read as zeros' },
      { rule: "self.backend == 'file' || !has(self.reserve)", message: 'reserve goes with backend file' },
      { rule: "self.backend == 'lvm-thin' || !has(self.overprovision)", message: 'overprovision goes with backend lvm-thin' },
      {
        rule: "self.backend != 'lvm' || !has(self.reclaimZeros)",
        message: 'reclaimZeros goes with backends file and lvm-thin: lvm gives nothing back',
      },
      { rule: 'self.backend == oldSelf.backend', message: 'backend cannot be changed' },
      // The agents would look in the new place and not find the existing volumes.
      ...['volumeGroup', 'thinPool', 'directory'].map((field) => ({
        rule: `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`,
        message: `${field} cannot be changed: the volumes are there`,
      })),
    ],
  });
export type AoEPoolSpec = z.infer<typeof AoEPoolSpec>;

/** A backing volume of an AoEVolume that is placed on another node. */
export const Displaced = z.object({
  uid: z.string().max(63).describe('UID of the AoEVolume.'),
  volume: z.string().max(253).describe('Name of the AoEVolume that the backing volume was made for.'),
  bytes: z.number().int().min(0).describe('Size in bytes.'),
  moves: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      'The largest spec.moves at which the backing volume was served. When it is less than that of the AoEVolume, there is newer data.',
    ),
  copy: z
    .string()
    .max(64)
    .optional()
    .describe('The backing volume was made by a copy that was never said to be whole: the id of the move, or of another copy.'),
});
export type Displaced = z.infer<typeof Displaced>;

/** A pool on one node, as that node's agent measured it. Sizes exclude data of other software. */
export const PoolNode = z.object({
  name: z.string(),
  ready: z.boolean(),
  full: z
    .boolean()
    .optional()
    .describe('The pool is not ready only because it is full: what is there is used as before, and room is made by removing some of it.'),
  message: z.string().optional().describe('Why the pool cannot be used on this node, and what to do.'),
  size: Quantity.optional().describe('Space for volumes in all: free space and existing volumes.'),
  free: Quantity.optional(),
  sharedWith: z
    .array(z.string())
    .optional()
    .describe('Other file pools on the same file system of this node: size and free are those of all of them together.'),
  granularity: Quantity.optional().describe('Capacities are rounded up to a multiple of this.'),
  tail: Quantity.optional().describe('What a volume takes beside that: the tail of its backing volume, which is not exported.'),
  withoutTail: z
    .number()
    .int()
    .optional()
    .describe('Volumes whose backing volumes have no tail: adopted ones, and those that were made by an earlier version.'),
  orphaned: Quantity.optional().describe('Bytes taken by orphans: backing volumes without an AoEVolume.'),
  orphans: z.array(z.string()).optional().describe('Names of the orphans in the backend. They are never removed automatically.'),
  displacedBytes: Quantity.optional().describe('Bytes taken by the displaced backing volumes.'),
  displaced: z
    .array(z.string())
    .optional()
    .describe('Backing volumes whose AoEVolume is placed on another node, for example because disks were moved. They are not orphans.'),
  displacedVolumes: z
    .array(Displaced)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe('The same, for programs: where the disks of an AoEVolume are now.'),
  volumes: z.number().int().optional(),
  snapshots: z
    .object({
      possible: z.boolean().describe('Whether snapshots of volumes can be taken in this pool on this node.'),
      message: z.string().optional().describe('Why not.'),
      count: z.number().int().optional().describe('Snapshots in the pool.'),
      orphans: z.array(z.string()).optional().describe('Snapshots without an AoESnapshot. They are never removed automatically.'),
    })
    .optional(),
  dataPercent: z.string().optional(),
  metadataPercent: z.string().optional(),
});
export type PoolNode = z.infer<typeof PoolNode>;

/** A backing volume whose AoEVolume was given up and deleted while its node was gone. If the node returns, its target must not serve the volume. */
export const Abandoned = z.object({
  uid: z.string().max(63).describe('UID of the AoEVolume, by which its backing volume is named.'),
  volume: z.string().max(253).describe('Name of the AoEVolume.'),
  node: z.string().max(253).describe('Storage node that had the data.'),
  addresses: z
    .array(Address)
    .max(MAX_ABANDONED_ADDRESSES)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe(
      'Addresses at which its target may serve the volume when it comes back. A volume gets one of them only when no other is free, or when its spec.address asks for it.',
    ),
});
export type Abandoned = z.infer<typeof Abandoned>;

export const AoEPoolStatus = z.object({
  conditions: Conditions.optional(),
  readyNodes: z.number().int().optional().describe('Number of nodes on which the pool can be used.'),
  size: Quantity.optional().describe('Sum over those nodes.'),
  free: Quantity.optional().describe('Sum over those nodes. A volume is on one node, so the largest possible volume is smaller.'),
  nodes: z
    .array(PoolNode)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] }),
  abandoned: z
    .array(Abandoned)
    .max(MAX_ABANDONED)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['uid', 'node'] })
    .describe(
      'Volumes that were given up and deleted, or moved away, without their storage node: one entry for each such node. Their data stays on its disks. An entry is removed an hour after its node came back.',
    ),
});
export type AoEPoolStatus = z.infer<typeof AoEPoolStatus>;
