import type { Limits } from '../../../api/limits/limits.ts';
import { CREATED_BY } from '../../../api/meta.ts';
import { NEVER, parseTakeoverAfter } from '../../../api/takeover/after.ts';
import { type Access, CLAIM, type Encryption, parseReclaimEvery } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { segmentsOf } from '../topology.ts';
import { accessFor, checkCapabilities } from './capabilities.ts';
import { RESERVED } from './class-parameters.ts';
import { limitsOf } from './limits.ts';
import { type Bounds, boundsOf, checkFilesystemFits } from './size.ts';

/** The parameter of a StorageClass that asks for encryption. */
export const ENCRYPTED = 'encrypted';
const PARAMETERS: Readonly<Record<string, Encryption>> = { true: 'LUKS2', authenticated: 'LUKS2Authenticated' };

/** What a StorageClass says to get an encryption. */
export function parameterOf(encryption: Encryption): string {
  return Object.keys(PARAMETERS).find((each) => PARAMETERS[each] === encryption) ?? '';
}
/** The parameter of a StorageClass that says when its volumes are taken over. */
export const TAKEOVER_AFTER = 'takeoverAfter';
/** The parameter of a StorageClass that asks for regular runs that give free space back. */
export const RECLAIM_EVERY = 'reclaimEvery';
/** The pool of a StorageClass that names none. */
export const DEFAULT_POOL = 'default';
/** An AoESnapshot or an AoEVolume with whose data a volume begins. */
export interface Source {
  readonly kind: 'snapshot' | 'volume';
  readonly name: string;
}

/** What CreateVolume requests. */
export interface Wanted {
  readonly pool: string;
  readonly access: Access;
  readonly bounds: Bounds;
  /** How nodes encrypt the data; absent: not at all. */
  readonly encryption?: Encryption;
  /** How often nodes give free space back, such as `168h`; absent: only when somebody asks. It may have been changed since the volume was created. */
  readonly reclaimEvery?: string;
  /** Of its VolumeAttributesClass; empty when it has none. They may have been changed since it was created. */
  readonly limits: Limits;
  /** For spec.takeoverAfter of a new volume; absent: the cluster's value. It may have been changed since it was created. */
  readonly takeoverAfter?: string;
  /** With whose data the volume begins; absent when it begins empty. */
  readonly source?: Source;
  /** The volume must be on one of these segments; on any when there are none. */
  readonly segments: readonly string[];
  /** Where the volume comes from, for people. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** @throws RpcError INVALID_ARGUMENT or OUT_OF_RANGE */
export function wantedOf(request: csi.v1.ICreateVolumeRequest): Wanted {
  const refuse = (message: string): never => {
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  };
  const capabilities = checkCapabilities(request.volumeCapabilities);
  const source = contentSourceOf(request.volumeContentSource);
  if (request.volumeContentSource && !source) refuse('volume_content_source: it has neither a snapshot_id nor a volume_id');
  const limits = limitsOf(request.mutableParameters ?? {});
  const {
    pool = DEFAULT_POOL,
    [ENCRYPTED]: encrypted,
    [TAKEOVER_AFTER]: takeoverAfter,
    [RECLAIM_EVERY]: reclaimEvery,
    ...others
  } = request.parameters ?? {};
  const unknown = Object.keys(others).filter((key) => !key.startsWith(RESERVED));
  if (unknown.length > 0) {
    const known = ['pool', ENCRYPTED, TAKEOVER_AFTER, RECLAIM_EVERY].join(', ');
    refuse(`StorageClass parameter ${unknown.join(', ')} is not known: use ${known} and ${RESERVED}fstype`);
  }
  if (pool === '') refuse('StorageClass parameter pool is empty: name an AoEPool');
  const bounds = boundsOf(request.capacityRange);
  const access = accessFor(capabilities);
  const encryption = encryptionOf(encrypted, access);
  if (takeoverAfter !== undefined) checkTakeoverAfter(takeoverAfter, access);
  if (reclaimEvery !== undefined) checkReclaimEvery(reclaimEvery, { encryption, isBlock: capabilities.some(({ block }) => block) });
  const filesystems = capabilities.flatMap(({ mount }) => mount?.fsType || []);
  checkFilesystemFits(bounds, filesystems);
  return {
    pool,
    access,
    bounds,
    ...(encryption ? { encryption } : {}),
    ...(reclaimEvery === undefined ? {} : { reclaimEvery }),
    limits,
    ...(takeoverAfter === undefined ? {} : { takeoverAfter }),
    ...(source ? { source } : {}),
    segments: segmentsOf(request.accessibilityRequirements),
    annotations: annotationsOf(request),
  };
}

/**
 * What the StorageClass says about encryption.
 * @throws RpcError INVALID_ARGUMENT
 */
export function encryptionOf(encrypted: string | undefined, access: Access): Encryption | undefined {
  if (encrypted === undefined || encrypted === 'false') return undefined;
  const encryption = Object.hasOwn(PARAMETERS, encrypted) ? PARAMETERS[encrypted] : undefined;
  if (!encryption) {
    const message = `StorageClass parameter ${ENCRYPTED} is "${encrypted}": write "true", "authenticated" or "false"`;
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  }
  if (access === 'ReadOnlyMany' && encryption === 'LUKS2Authenticated') {
    const message = 'a volume with ReadOnlyMany cannot have authenticated encryption: each node that opened it would write a journal';
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  }
  if (access !== 'Shared') return encryption;
  throw new RpcError(
    Code.INVALID_ARGUMENT,
    `a new volume with ReadWriteMany cannot be encrypted, because only a node that has the lock of a volume writes a LUKS header: docs/encryption.md says how an encrypted volume becomes Shared`,
  );
}

/** INVALID_ARGUMENT that names a parameter of the StorageClass. */
export function parameterError(key: string, why: string, cause?: unknown): RpcError {
  return new RpcError(Code.INVALID_ARGUMENT, `StorageClass parameter ${key}: ${why}`, { cause });
}

/** @throws RpcError INVALID_ARGUMENT */
function checkTakeoverAfter(text: string, access: Access): void {
  try {
    parseTakeoverAfter(text);
  } catch (error) {
    throw parameterError(TAKEOVER_AFTER, messageOf(error), error);
  }
  if (access !== 'Exclusive' && text !== NEVER)
    throw parameterError(
      TAKEOVER_AFTER,
      `a volume with ReadWriteMany is never taken over: use a StorageClass without it or with ${NEVER}, or ReadWriteOnce`,
    );
}

/** @throws RpcError INVALID_ARGUMENT for a text that is no time, and for a volume of which nodes would refuse each run */
function checkReclaimEvery(text: string, { encryption, isBlock }: { encryption: Encryption | undefined; isBlock: boolean }): void {
  const error = (why: string) => parameterError(RECLAIM_EVERY, why);
  if (parseReclaimEvery(text) === undefined) throw error(`"${text}" is not a time: give whole hours, from 1h to 9999h, such as 168h`);
  if (encryption) throw error(`it does not go with ${ENCRYPTED}: the zeros of an encrypted volume are no zeros for its target`);
  if (isBlock) throw error('it does not go with a block volume: nobody knows what of it is free');
}

function contentSourceOf(source: csi.v1.IVolumeContentSource | null | undefined): Source | undefined {
  const { snapshot, volume } = source ?? {};
  if (snapshot?.snapshotId) return { kind: 'snapshot', name: snapshot.snapshotId };
  return volume?.volumeId ? { kind: 'volume', name: volume.volumeId } : undefined;
}

function annotationsOf({ name, parameters }: csi.v1.ICreateVolumeRequest): Record<string, string> {
  const claim = parameters?.[`${RESERVED}pvc/name`];
  const namespace = parameters?.[`${RESERVED}pvc/namespace`];
  return {
    [CREATED_BY]: 'csi',
    'aoe.dev/csi-name': name ?? '',
    ...(claim && namespace ? { [CLAIM]: `${namespace}/${claim}` } : {}),
  };
}
