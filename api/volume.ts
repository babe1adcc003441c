import { type Address, sameAddress } from './address.ts';
import type { Resource } from './meta.ts';
import { MiB, roundDown, roundUp } from './quantity.ts';
import type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase } from './schema/volume.ts';

export { ACCESS, type Access, isAccess } from './access.ts';
export type { AoEVolumeSpec, AoEVolumeStatus, Holder, Initiators, VolumePhase };

/** Nodes that a volume can be attached to at once: the most that spec.initiators holds. */
export const MAX_NODES = 64;

/** Characters of an IDENTIFY serial number, at most (ATA-6, words 10 to 19). */
const MAX_SERIAL = 20;

/** Finalizer that keeps an AoEVolume until its agent has removed the export, the lock and, unless it is retained, the data. */
export const VOLUME_FINALIZER = 'aoe.dev/backing-volume';

/**
 * Annotation with which a person breaks the lock of a volume. Its value is the holder as the person saw it: a node's name, or the
 * whole string in status.holder.raw. The lock of any other holder stays.
 */
export const BREAK_LOCK = 'aoe.dev/break-lock';

/**
 * Annotation with which a person gives up the data of a storage node that never comes back. Its value is spec.nodeName. It counts only
 * while neither the Node nor the AoENode of that name exists.
 */
export const GIVE_UP = 'aoe.dev/give-up';

/**
 * Annotation with which a person asks the node that has the volume to give the free space of its file system back to the pool. Each new
 * value asks once; the last one that was answered is in status.reclaim.request. spec.reclaimEvery lets nodes do it regularly.
 */
export const RECLAIM = 'aoe.dev/reclaim';
/** Characters of {@link RECLAIM} that count. */
export const MAX_RECLAIM_REQUEST = 253;

/** How spec.reclaimEvery, and the parameter of a StorageClass, say a time: in whole hours. */
export const RECLAIM_EVERY_PATTERN = /^[1-9][0-9]{0,3}h$/;

/** The time from the end of a run to the next one in milliseconds, from a text such as `168h`; undefined for any other text. */
export function parseReclaimEvery(text: string): number | undefined {
  return RECLAIM_EVERY_PATTERN.test(text) ? Number(text.slice(0, -1)) * 3_600_000 : undefined;
}

/** Finalizer that keeps an AoEVolume until no data of it is left at the other place of a move. */
export const MOVE_FINALIZER = 'aoe.dev/move';

/**
 * Annotation with which a person moves a volume that nobody uses. Its value is NODE or NODE/POOL; without a pool, that of spec.pool. While the
 * storage node in spec.nodeName exists, the data is copied. Once that node is gone, the annotation counts when the agent on NODE reports the
 * volume's data in that pool: its disks are in that node now.
 */
export const MOVE_TO = 'aoe.dev/move-to';

/**
 * Annotation that asks for the removal of a volume's data although a PersistentVolume names the volume. Its value is metadata.uid of
 * the AoEVolume. DeleteVolume of the CSI controller sets it, and so can a person.
 */
export const DELETE_DATA = 'aoe.dev/delete-data';

/** Begins the message of each condition of the agent that says what a deletion waits for: the operator shows such a one in Ready. */
export const DELETION_WAITS = 'deletion waits: ';

/**
 * Annotation of a volume that the operator has taken from a silent node, until nothing of Kubernetes ties it to that node any more. Its value is
 * a {@link Taken} as JSON. The operator sets and removes it.
 */
export const TAKEN_FROM = 'aoe.dev/taken-from';

/** What a takeover has to remove from Kubernetes. What is made later of the same name, also on the same node, stays. */
export interface Taken {
  readonly node: string;
  /** metadata.uid of the pods. */
  readonly pods: readonly string[];
  /** metadata.uid of the VolumeAttachments. */
  readonly attachments: readonly string[];
}

/** From which node a volume was taken; undefined when no takeover is under way. */
export function takenFrom({ metadata }: Pick<AoEVolume, 'metadata'>): Taken | undefined {
  const text = metadata.annotations?.[TAKEN_FROM];
  if (text === undefined) return undefined;
  try {
    const { node, pods, attachments } = JSON.parse(text) as Taken;
    return typeof node === 'string' && Array.isArray(pods) && Array.isArray(attachments) ? { node, pods, attachments } : undefined;
  } catch {
    return undefined;
  }
}

export type AoEVolume = Resource<AoEVolumeSpec, AoEVolumeStatus>;

/** Annotation with namespace and name of the PersistentVolumeClaim for which a volume was made: `NAMESPACE/NAME`. The CSI controller sets it. */
export const CLAIM = 'aoe.dev/claim';

/** The claim for which a volume was made; undefined when it was not made for one. */
export function claimNameOf({ metadata }: Pick<AoEVolume, 'metadata'>): { namespace: string; name: string } | undefined {
  const [namespace, name] = metadata.annotations?.[CLAIM]?.split('/') ?? [];
  return namespace && name ? { namespace, name } : undefined;
}

/** Condition types of an AoEVolume. Each has one writer, named here. */
export const VolumeCondition = {
  /** operator: node, address and capacity are reserved. */
  Placed: 'Placed',
  /** agent: the backing volume exists. */
  Provisioned: 'Provisioned',
  /** agent: the target answers at the address. */
  Exported: 'Exported',
  /** agent: another target answers at the address. */
  AddressConflict: 'AddressConflict',
  /** agent, or the operator for external targets: the target itself refuses hosts that are not admitted. */
  EnforcedByTarget: 'EnforcedByTarget',
  /** agent, or the operator for external targets: a host has the lock; the message says which, and since when. */
  Locked: 'Locked',
  /** operator: room is reserved for the spec.capacity that has grown, and the volume has it. Absent while it was never asked to grow. */
  Grown: 'Grown',
  /** operator: the summary of the others. */
  Ready: 'Ready',
} as const;

/**
 * Serial number that the volume's disk must report; undefined while it is not known. That of an external target is the one in the spec. That
 * of a volume that was moved is calculated: the status may still have the one from before the move.
 */
export function serialOf({ metadata, spec, status }: Pick<AoEVolume, 'metadata' | 'spec' | 'status'>): string | undefined {
  if (spec.external?.serial !== undefined) return spec.external.serial;
  return metadata.uid !== undefined && movesOf({ spec }) > 0 ? serialNumber(metadata.uid, movesOf({ spec })) : status?.serial;
}

/** Serial number that a disk must report to be attached; undefined when any one is taken. Once it is attached, {@link serialOf} holds. */
export function serialToAttach(volume: Pick<AoEVolume, 'metadata' | 'spec' | 'status'>): string | undefined {
  return volume.spec.external?.serialChanges ? undefined : serialOf(volume);
}

/**
 * The IDENTIFY serial number of a volume of ours: the first 20 hexadecimal digits of its UID. After a move the last of them are replaced by
 * `-` and the number of moves, so that the disk at the new place cannot be taken for the one at an earlier place.
 */
export function serialNumber(uid: string, moves: number): string {
  const suffix = moves > 0 ? `-${moves}` : '';
  return `${uid
    .replaceAll('-', '')
    .slice(0, MAX_SERIAL - suffix.length)
    .toUpperCase()}${suffix}`;
}

/** How often the volume was moved to another place. */
export function movesOf({ spec }: Pick<AoEVolume, 'spec'>): number {
  return spec.moves ?? 0;
}

/** Whether the data of a volume is being copied to another place: nobody may have the volume meanwhile. */
export function isCopiedAway({ spec }: Pick<AoEVolume, 'spec'>): boolean {
  return spec.move?.stage === 'Copying';
}

/** What the other agent of a move says about this move; undefined when it has said nothing yet. */
export function moveReport({ spec, status }: Pick<AoEVolume, 'spec' | 'status'>): NonNullable<AoEVolumeStatus['move']> | undefined {
  const { move } = status ?? {};
  return move && move.id === spec.move?.id && move.nodeName === spec.move.nodeName ? move : undefined;
}

/** Whether the agent's part of the status is about the place that the spec names: after a move it is that of the earlier place at first. */
export function isReportOfPlace({ spec, status }: Pick<AoEVolume, 'spec' | 'status'>): boolean {
  return (status?.moves ?? 0) === movesOf({ spec });
}

/** Reasons of the agent's condition Exported that mean that the target does not have the volume, and so admits no host. */
const UNSERVED: ReadonlySet<string> = new Set([
  ...['NotProvisioned', 'NoAddress', 'SegmentNotAsked', 'AddressConflict', 'AnsweredBySource', 'TargetTooOld'],
]);

/**
 * Whether the agent has seen a generation of a volume, or a later one, and reports that no host is admitted. Then `status.initiators` is what it was
 * before, and nobody who waits for a host to be cut off has to wait on.
 */
export function isUnserved({ metadata, status }: AoEVolume, generation = metadata.generation ?? 0): boolean {
  const exported = status?.conditions?.find(({ type }) => type === VolumeCondition.Exported);
  return exported?.status === 'False' && UNSERVED.has(exported.reason) && (exported.observedGeneration ?? -1) >= generation;
}

/**
 * Whether the data outlives the AoEVolume. Data that was there before it is kept unless somebody asks for its removal.
 */
export function isRetained({ spec: { deletionPolicy, adopt } }: Pick<AoEVolume, 'spec'>): boolean {
  return deletionPolicy === undefined ? adopt !== undefined : deletionPolicy === 'Retain';
}

/** The disk of a target that is not ours with a copy of which a volume begins; undefined when it does not. */
export function externalSource({ spec }: Pick<AoEVolume, 'spec'>): NonNullable<AoEVolume['spec']['source']>['external'] {
  return spec.source?.external;
}

/** Whether a volume is to keep the address of the disk it is a copy of. */
export function keepsSourceAddress(volume: Pick<AoEVolume, 'spec'>): boolean {
  return sameAddress(volume.spec.address, externalSource(volume));
}

/** The disk of another target that is still to be copied into the volume, or is being copied; undefined once the copy is whole. */
export function awaitedDisk(volume: AoEVolume): Address | undefined {
  const { metadata, status } = volume;
  return status?.capacity === undefined && metadata.deletionTimestamp === undefined ? externalSource(volume) : undefined;
}

/** Whether the volume had data from its beginning, or its disk may be another one each time: it is never formatted. */
export function isNeverFormatted({ spec: { source, adopt, external } }: Pick<AoEVolume, 'spec'>): boolean {
  return source !== undefined || adopt !== undefined || external?.serialChanges === true;
}

/**
 * How the data of a volume can be encrypted: on the node that uses it, so that neither segment nor storage node sees plain text. With
 * LUKS2Authenticated, data that somebody else has changed is noticed, too.
 */
export const ENCRYPTION = ['LUKS2', 'LUKS2Authenticated'] as const;

export type Encryption = (typeof ENCRYPTION)[number];

/** Of a volume, or of a snapshot. Without encryption: plain data. */
export interface Encrypted {
  readonly encryption?: Encryption | undefined;
}

export function isEncryption(text: unknown): text is Encryption {
  return (ENCRYPTION as readonly unknown[]).includes(text);
}

/** Whether the disk has a tag for each sector (dm-integrity). Such a disk never grows, and one node at a time opens it. */
export function isAuthenticated({ encryption }: Encrypted): boolean {
  return encryption === 'LUKS2Authenticated';
}

/**
 * Bytes that the LUKS2 header takes at the start of a disk. The data begins there, whatever the default of cryptsetup is: the same number is
 * in every size that is calculated.
 */
export const LUKS_HEADER_BYTES = 16 * MiB;

/** The unit in which a disk is encrypted, in bytes. The size of the disk must be a multiple of it. */
export const LUKS_SECTOR_BYTES = 4096;

// What dm-integrity takes (drivers/md/dm-integrity.c). Superblock, the room for the tags of the last run, and the rounding of the journal are
// less than 400 KiB together; the rest of this MiB is a margin.
const INTEGRITY_FIXED_BYTES = MiB;
/** The journal takes this part of the disk behind the header (DEFAULT_JOURNAL_SIZE_FACTOR), and at most 64 MiB (DEFAULT_MAX_JOURNAL_SECTORS). */
const INTEGRITY_JOURNAL = { part: 1 / 128, mostBytes: 64 * MiB };
/** A tag of 32 bytes for each sector of 4 KiB. */
const INTEGRITY_TAGS = 1 / 128;

/** Bytes of a disk that its user gets. With authentication the mapping may have up to 1 MiB more. */
export function userBytesOf({ encryption }: Encrypted, disk: number): number {
  if (encryption === undefined) return disk;
  const area = disk - LUKS_HEADER_BYTES;
  if (encryption === 'LUKS2') return Math.max(0, area);
  const rest = area - INTEGRITY_FIXED_BYTES - Math.min(INTEGRITY_JOURNAL.mostBytes, area * INTEGRITY_JOURNAL.part);
  return Math.max(0, roundDown(rest / (1 + INTEGRITY_TAGS), LUKS_SECTOR_BYTES));
}

/** The smallest disk whose user gets so many bytes. */
export function diskBytesFor({ encryption }: Encrypted, bytes: number): number {
  if (encryption === undefined) return bytes;
  if (encryption === 'LUKS2') return bytes + LUKS_HEADER_BYTES;
  const wanted = Math.max(LUKS_SECTOR_BYTES, roundUp(bytes, LUKS_SECTOR_BYTES));
  const rest = wanted * (1 + INTEGRITY_TAGS) + INTEGRITY_FIXED_BYTES;
  const area = Math.min(rest / (1 - INTEGRITY_JOURNAL.part), rest + INTEGRITY_JOURNAL.mostBytes);
  let disk = roundUp(area + LUKS_HEADER_BYTES, LUKS_SECTOR_BYTES);
  // Right but for the roundings.
  while (userBytesOf({ encryption }, disk) < wanted) disk += LUKS_SECTOR_BYTES;
  while (userBytesOf({ encryption }, disk - LUKS_SECTOR_BYTES) >= wanted) disk -= LUKS_SECTOR_BYTES;
  return disk;
}
