import { z } from 'zod';
import { ACCESS } from '../access.ts';
import { ENCRYPTION, MAX_NODES } from '../volume.ts';
import { Address, Mac } from './address.ts';
import { Limits, LimitsInForce } from './limits.ts';
import { Conditions } from './meta.ts';
import { QUANTITY_RULE, Quantity } from './quantity.ts';
import { RECLAIM_EVERY_RULES, ReclaimEvery, ReclaimReport } from './reclaim.ts';
import { Serial, VolumeSource } from './source.ts';
import { TAKEOVER_AFTER_RULE, TakeoverAfter } from './takeover.ts';

/** Names of logical volumes (lvm(8), "Valid names") and of files: no path, and nothing that begins with a dot or a dash. */
const ADOPTABLE_NAME = /^[a-zA-Z0-9_+][a-zA-Z0-9_+.-]*$/;

const nodeNames = z.array(z.string().min(1).max(253)).max(MAX_NODES).meta({ 'x-kubernetes-list-type': 'set' });
const macs = z.array(Mac).meta({ 'x-kubernetes-list-type': 'set' });
const MAX_MACS = 64;
const MAX_MOVES = 1_000_000;
/** All interfaces of all nodes that may be admitted at once. */
const MAX_MACS_IN_FORCE = 1024;

export const Access = z.enum(ACCESS);

export const Encryption = z.enum(ENCRYPTION);

/** Hosts that may use a volume. The target refuses reads and writes of all others. */
export const Initiators = z.object({
  nodes: nodeNames.optional().describe('Names of cluster nodes. Set by the CSI controller when a volume is attached.'),
  macs: macs.max(MAX_MACS).optional().describe('MAC addresses of hosts outside the cluster.'),
});
export type Initiators = z.infer<typeof Initiators>;

const NO_INITIATORS =
  '(!has(self.initiators.nodes) || size(self.initiators.nodes) == 0) && (!has(self.initiators.macs) || size(self.initiators.macs) == 0)';
const NOT_AUTHENTICATED = "(!has(self.encryption) || self.encryption != 'LUKS2Authenticated')";
const IS_MOVED = '(has(self.moves) && self.moves > (has(oldSelf.moves) ? oldSelf.moves : 0))';
const IS_COPIED_AWAY = "has(self.move) && self.move.stage == 'Copying'";
/** What must be true of a move. */
const MOVE = [
  'has(self.nodeName) && has(oldSelf.nodeName) && has(self.pool) && has(oldSelf.pool) && has(self.address) && has(oldSelf.address)',
  '(self.nodeName != oldSelf.nodeName || self.pool != oldSelf.pool)',
  'self.address != oldSelf.address',
  `(${NO_INITIATORS})`,
];

/** Names the same disk of the same target. */
const SAME_EXTERNAL = [
  'self.external.shelf == oldSelf.external.shelf',
  'self.external.slot == oldSelf.external.slot',
  'has(self.external.serial) == has(oldSelf.external.serial)',
  '(!has(self.external.serial) || self.external.serial == oldSelf.external.serial)',
];

export const AoEVolumeSpec = z
  .object({
    capacity: Quantity.optional()
      .describe(
        'Size, such as 10Gi. Rounded up to the granularity of the backend. It may grow, and while it has not grown yet it may fall back to status.capacity.',
      )
      .meta({
        'x-kubernetes-validations': [QUANTITY_RULE],
      }),
    pool: z.string().min(1).max(253).optional().describe('Name of the AoEPool that holds the data. Only a move changes it.'),
    source: VolumeSource.optional().describe(
      "Where the volume's data comes from. In the pool and on the node of the snapshot the volume shares its blocks; elsewhere they are copied, as the disk of an external target is. Absent: it begins empty.",
    ),
    adopt: z
      .string()
      .min(1)
      .max(127)
      .regex(ADOPTABLE_NAME)
      .optional()
      .describe(
        'Name of a logical volume or file that is in the pool on node spec.nodeName already, and becomes the data of the volume as it is: without a copy, a wipe or a format. It gets its old name back when the AoEVolume is deleted, unless deletionPolicy is Delete. It cannot be changed.',
      ),
    access: Access.default('Exclusive').describe(
      'Exclusive: one host at a time, enforced by lock and target. ReadOnlyMany: nobody can write. Shared: many hosts, no lock.',
    ),
    encryption: Encryption.optional().describe(
      'LUKS2: the nodes that use the volume encrypt its data; the first 16 MiB of the disk are the LUKS header. LUKS2Authenticated: they also notice when anybody else has changed it; the disk cannot grow, and access must be Exclusive. Absent: no encryption by this project. It cannot be changed.',
    ),
    segments: z
      .array(z.string().min(1).max(63))
      .max(64)
      .optional()
      .describe('L2 segments on which the volume may be placed. Absent: all.')
      .meta({ 'x-kubernetes-list-type': 'set' }),
    nodeName: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe('Storage node that holds the data. The operator chooses it when it is absent. Afterwards only a move changes it.'),
    address: Address.optional().describe('AoE address. The operator chooses it when it is absent. Afterwards only a move changes it.'),
    moves: z
      .number()
      .int()
      .min(0)
      .max(MAX_MOVES)
      .optional()
      .describe(
        'How often the volume was moved to another node or pool. The operator writes it. A moved volume has a new address and a new serial number.',
      ),
    move: z
      .object({
        id: z
          .string()
          .regex(/^[0-9a-f]{8}$/)
          .describe('Tells this move from earlier ones.'),
        stage: z
          .enum(['Copying', 'Switched', 'Removing'])
          .describe(
            'Copying: the data is copied to the place that is named here. Switched: the volume has its new place, and the data at the earlier one, which is named here, is kept until the volume is served. Removing: the data at the place that is named here is removed.',
          ),
        nodeName: z.string().min(1).max(253),
        pool: z.string().min(1).max(253),
        moves: z
          .number()
          .int()
          .min(0)
          .optional()
          .describe('After the switch: spec.moves as it was before. The data at the earlier place is noted with this number.'),
        address: Address.optional().describe(
          'After the switch: the address at the place that is named here. Until the move has ended, another volume gets it only when its spec.address asks for it.',
        ),
        back: z
          .boolean()
          .optional()
          .describe(
            'The volume went back to its data from before the move, as its new node was lost. What is at the place that is named here is kept.',
          ),
      })
      .optional()
      .describe('A move with a copy of the data that is under way (annotation aoe.dev/move-to). The operator writes it.'),
    initiators: Initiators.default({}).describe('Hosts that may use the volume now.'),
    external: z
      .object({
        shelf: Address.shape.shelf,
        slot: Address.shape.slot,
        serial: Serial.optional().describe(
          'Serial number that the disk must report. When absent, the serial number of the first attachment is recorded in the status.',
        ),
        serialChanges: z
          .boolean()
          .optional()
          .describe(
            'The serial number is that of the machine which serves the disk now, as of vblade: each attachment takes the disk that answers at the address, and never formats it. It can be changed.',
          ),
      })
      .optional()
      .describe('A target outside this project, such as vblade or an EtherDrive. Its disk is never created and never deleted.'),
    limits: Limits.optional().describe(
      'How much all hosts of the volume together may read and write. The target enforces it. It can be changed at any time. Absent: no limits.',
    ),
    takeoverAfter: TakeoverAfter.optional(),
    reclaimEvery: ReclaimEvery.optional(),
    deletionPolicy: z
      .enum(['Delete', 'Retain'])
      .optional()
      .describe(
        'What happens to the data when the AoEVolume is deleted. Absent: Delete; with spec.adopt: Retain, so that the logical volume or file is given back under its old name.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.external) != has(self.pool)',
        message: 'give either pool (a volume of ours) or external (a target that someone else serves)',
      },
      { rule: 'has(self.external) || has(self.capacity)', message: 'capacity is required with pool' },
      {
        rule: '!has(self.external) || (!has(self.nodeName) && !has(self.address))',
        message: 'nodeName and address do not apply to an external target',
      },
      {
        rule: `has(self.pool) == has(oldSelf.pool) && (!has(self.pool) || self.pool == oldSelf.pool || ${IS_MOVED})`,
        message: 'pool cannot be changed',
      },
      { rule: '!has(self.external) || !has(self.moves)', message: 'moves does not apply to an external target' },
      {
        rule: '!has(oldSelf.moves) || (has(self.moves) && self.moves >= oldSelf.moves)',
        message: 'moves cannot become smaller',
      },
      {
        rule: `!${IS_MOVED} || (${MOVE.join(' && ')})`,
        message:
          'moves grows only together with a change of nodeName or pool and of address, by a move (annotation aoe.dev/move-to), while spec.initiators is empty',
      },
      {
        rule: `has(self.external) == has(oldSelf.external) && (!has(self.external) || (${SAME_EXTERNAL.join(' && ')}))`,
        message: 'external cannot be changed, except for serialChanges',
      },
      {
        rule: '!has(self.external) || !has(self.external.serial) || !has(self.external.serialChanges) || !self.external.serialChanges',
        message: 'give either serial or serialChanges: a serial number that is known does not change',
      },
      {
        rule: 'has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)',
        message: 'source cannot be changed',
      },
      {
        rule: `!(${IS_COPIED_AWAY}) || (${NO_INITIATORS})`,
        message:
          'the volume is being moved, and nobody can have it meanwhile: wait for that, or take the annotation aoe.dev/move-to away, which ends the move',
      },
      {
        rule: '!has(self.move) || (has(self.nodeName) && has(self.pool) && (self.move.nodeName != self.nodeName || self.move.pool != self.pool))',
        message: 'move names another place than the one that the volume has',
      },
      {
        rule: 'has(oldSelf.move) || !has(self.move) || self.move.stage == "Copying"',
        message: 'a move begins with stage Copying',
      },
      { rule: '!has(self.external) || !has(self.source)', message: 'source does not apply to an external target' },
      {
        rule: 'has(self.adopt) == has(oldSelf.adopt) && (!has(self.adopt) || self.adopt == oldSelf.adopt)',
        message: 'adopt cannot be changed',
      },
      {
        rule: '!has(self.adopt) || (has(self.pool) && has(self.nodeName))',
        message: 'adopt needs pool and nodeName: where the logical volume or file is',
      },
      { rule: '!has(self.adopt) || !has(self.source)', message: 'give either adopt or source: both say where the data comes from' },
      {
        rule: 'has(self.encryption) == has(oldSelf.encryption) && (!has(self.encryption) || self.encryption == oldSelf.encryption)',
        message: 'encryption cannot be changed',
      },
      { rule: '!has(self.external) || !has(self.encryption)', message: 'encryption does not apply to an external target' },
      {
        rule: "!has(self.encryption) || !has(self.capacity) || quantity(self.capacity).isGreaterThan(quantity('16Mi'))",
        message: 'capacity of an encrypted volume must be more than 16Mi, which the LUKS header takes',
      },
      {
        rule: `${NOT_AUTHENTICATED} || !has(self.capacity) || !quantity(self.capacity).isLessThan(quantity('18Mi'))`,
        message:
          'capacity of a volume with authenticated encryption must be at least 18Mi: LUKS header, journal and tags take a part of it',
      },
      {
        rule: `${NOT_AUTHENTICATED} || self.access == 'Exclusive'`,
        message: 'access of a volume with authenticated encryption must be Exclusive: each node that opened it would write a journal',
      },
      {
        rule: `${NOT_AUTHENTICATED} || self.capacity == oldSelf.capacity`,
        message: 'a volume with authenticated encryption cannot grow: capacity cannot be changed',
      },
      {
        rule: '!has(self.external) || !has(self.limits)',
        message: 'limits do not apply to an external target: nothing here could enforce them',
      },
      TAKEOVER_AFTER_RULE,
      ...RECLAIM_EVERY_RULES,
      { rule: 'has(self.capacity) == has(oldSelf.capacity)', message: 'capacity cannot be added or removed' },
      {
        rule: '!has(self.external) || !has(self.capacity) || !has(oldSelf.capacity) || self.capacity == oldSelf.capacity',
        message: 'capacity of an external target cannot be changed',
      },
      {
        rule: `self.access == oldSelf.access || (${NO_INITIATORS})`,
        message: 'access can be changed only while spec.initiators is empty: detach the volume first',
      },
      {
        rule: `!has(oldSelf.nodeName) || (has(self.nodeName) && (self.nodeName == oldSelf.nodeName || ${IS_MOVED}))`,
        message: 'nodeName cannot be changed once set: docs/storage.md says how a volume is moved',
      },
      {
        rule: `!has(oldSelf.address) || (has(self.address) && (self.address == oldSelf.address || ${IS_MOVED}))`,
        message: 'address cannot be changed once set',
      },
    ],
  });
export type AoEVolumeSpec = z.infer<typeof AoEVolumeSpec>;

/** Summary for people and printer columns; conditions carry the reasons. */
export const VolumePhase = z.enum(['Pending', 'Ready', 'Failed', 'Deleting']);
export type VolumePhase = z.infer<typeof VolumePhase>;

/** The holder of the lock, from the target's config string. */
export const Holder = z.object({
  name: z
    .string()
    .optional()
    .describe('For people: the node, or in quotes the start of a config string that is not a lock of this project.'),
  node: z.string().optional().describe('Node that has the lock. Absent when the config string is not a lock of this project.'),
  nodeUID: z.string().optional(),
  since: z.string().optional(),
  raw: z.string().describe('The config string as stored, with non-printing bytes escaped.'),
});
export type Holder = z.infer<typeof Holder>;

export const AoEVolumeStatus = z.object({
  observedGeneration: z.number().int().optional(),
  phase: VolumePhase.optional(),
  conditions: Conditions.optional(),
  address: z.string().optional().describe('The address in use, as the Linux driver writes it: e7.3.'),
  capacity: Quantity.optional().describe('Size of the disk, as its target reports it.'),
  reserved: Quantity.optional().describe(
    'Size for which the operator has reserved room in the pool. The agent makes the data no larger, so that no pool is promised twice.',
  ),
  serial: z.string().optional().describe('IDENTIFY serial number. It is compared before every mount.'),
  moves: z
    .number()
    .int()
    .optional()
    .describe('The spec.moves that the report of the agent is about. While it differs, that report is about an earlier place.'),
  copy: z
    .object({
      phase: z.enum(['Waiting', 'Copying', 'Verifying']),
      bytesDone: z.number().int().min(0).describe('Bytes that are copied, or in phase Verifying compared.'),
      bytesTotal: z.number().int().min(0),
      macs: macs.max(MAX_MACS).optional().describe('MAC addresses with which the storage node of the volume reads the source.'),
    })
    .optional()
    .describe(
      'How far the data is copied from spec.source. Absent when no copy is under way. The volume is exported once all of it was compared.',
    ),
  move: z
    .object({
      id: z.string().max(64).describe('The spec.move.id that the report is about.'),
      nodeName: z.string().max(253).describe('Node of the agent that reports.'),
      phase: z.enum(['Waiting', 'Copying', 'Verifying', 'Verified', 'Removed']),
      bytesDone: z.number().int().min(0).optional().describe('Bytes that are copied, or in phase Verifying compared.'),
      bytesTotal: z.number().int().min(0).optional(),
      macs: macs.max(MAX_MACS).optional().describe('MAC addresses with which that node reads the data.'),
      message: z.string().max(1024).optional().describe('Why the move does not get ahead.'),
    })
    .optional()
    .describe('How far the agent in spec.move.nodeName is. Absent when no move is under way.'),
  paths: z
    .array(
      z.object({
        interface: z.string(),
        mac: z.string(),
        mtu: z.number().int(),
        local: z.boolean().optional().describe('Whether the interface is the local link, which reaches only pods on the storage node.'),
      }),
    )
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe('Interfaces of the storage node on which the target answers.'),
  initiators: z
    .object({
      observedGeneration: z.number().int().describe('metadata.generation of the spec.initiators that are admitted.'),
      nodes: nodeNames.optional(),
      macs: macs.max(MAX_MACS_IN_FORCE).optional().describe('Every MAC address that the target admits now, including those of the nodes.'),
    })
    .optional()
    .describe('Hosts that the target confirms to admit.'),
  limits: LimitsInForce.optional().describe('Limits that the target confirms to enforce. Absent: none.'),
  holder: Holder.optional(),
  filesystem: z
    .object({
      type: z.string(),
      state: z.enum(['Formatting', 'Formatted']),
    })
    .optional()
    .describe('Filesystem that the node plugin created on the disk. It is recorded so that a disk is formatted only once.'),
  luks: z
    .object({
      uuid: z.string().max(64).describe('UUID in the LUKS header.'),
      state: z.enum(['Formatting', 'Formatted']).describe('Formatting: the header is being written, and the disk has no data yet.'),
      zeroed: Quantity.optional().describe(
        'With authenticated encryption, while the state is Formatting: so much of the disk, from its start, was written with zeros, so that it can be read. Absent: not begun, or done.',
      ),
    })
    .optional()
    .describe('LUKS header of an encrypted volume, as the node plugin wrote or found it. A disk that has lost it is refused.'),
  reclaimsZeros: z
    .boolean()
    .optional()
    .describe(
      'Whether the target gives back to the pool what is overwritten with zeros. Absent: no, not known, or its thin pool is nearly full.',
    ),
  reclaim: ReclaimReport.optional(),
});
export type AoEVolumeStatus = z.infer<typeof AoEVolumeStatus>;

/** What the API server checks of an AoEVolume as a whole (CEL). A growth for which there is no room can be taken back, to the capacity that the disk has. */
export const VOLUME_RULES = [
  {
    rule: [
      '!has(self.spec.capacity) || !has(oldSelf.spec.capacity)',
      '!quantity(self.spec.capacity).isLessThan(quantity(oldSelf.spec.capacity))',
      '(has(self.status) && has(self.status.capacity) && !quantity(self.spec.capacity).isLessThan(quantity(self.status.capacity)))',
    ].join(' || '),
    message: 'spec.capacity cannot become smaller than status.capacity: a disk is never made smaller',
  },
];
