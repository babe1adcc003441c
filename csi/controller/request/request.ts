import type { Limits } from '../../../api/limits/limits.ts';
import { type Access, CLAIM, type Encryption } from '../../../api/volume.ts';
import type { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { segmentOf } from '../topology.ts';
import { accessFor, checkCapabilities } from './capabilities.ts';
import { RESERVED } from './class-parameters.ts';
import { limitsOf } from './limits.ts';
import { type Bounds, boundsOf, checkFilesystemFits } from './size.ts';

/** The parameter of a StorageClass that asks for encryption. */
export const ENCRYPTED = 'encrypted';
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
  /** Of its VolumeAttributesClass; empty when it has none. They may have been changed since it was created. */
  readonly limits: Limits;
  /** With whose data the volume begins; absent when it begins empty. */
  readonly source?: Source;
  /** The volume must be on one of these segments; on any when there are none. */
  readonly segments: readonly string[];
  /** Where the volume comes from, for people. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Annotation of volumes that this program has created: its value is `csi`. */
export const CREATED_BY = 'aoe.dev/created-by';

/** @throws RpcError INVALID_ARGUMENT or OUT_OF_RANGE */
export function wantedOf(request: csi.v1.ICreateVolumeRequest): Wanted {
  const refuse = (message: string): never => {
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  };
  const capabilities = checkCapabilities(request.volumeCapabilities);
  const source = contentSourceOf(request.volumeContentSource);
  if (request.volumeContentSource && !source) refuse('volume_content_source: it has neither a snapshot_id nor a volume_id');
  const limits = limitsOf(request.mutableParameters ?? {});
  const { pool = DEFAULT_POOL, [ENCRYPTED]: encrypted, ...others } = request.parameters ?? {};
  const unknown = Object.keys(others).filter((key) => !key.startsWith(RESERVED));
  if (unknown.length > 0) refuse(`StorageClass parameter ${unknown.join(', ')} is not known: use pool, ${ENCRYPTED} and ${RESERVED}fstype`);
  if (pool === '') refuse('StorageClass parameter pool is empty: name an AoEPool');
  const bounds = boundsOf(request.capacityRange);
  const access = accessFor(capabilities);
  const encryption = encryptionOf(encrypted, access);
  const filesystems = capabilities.flatMap(({ mount }) => mount?.fsType || []);
  checkFilesystemFits(bounds, filesystems);
  return {
    pool,
    access,
    bounds,
    ...(encryption ? { encryption } : {}),
    limits,
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
  if (encrypted !== 'true')
    throw new RpcError(Code.INVALID_ARGUMENT, `StorageClass parameter ${ENCRYPTED} is "${encrypted}": write "true" or "false"`);
  if (access !== 'Shared') return 'LUKS2';
  throw new RpcError(
    Code.INVALID_ARGUMENT,
    `a new volume with ReadWriteMany cannot be encrypted, because only a node that has the lock of a volume writes a LUKS header: docs/use.md says how an encrypted volume becomes Shared`,
  );
}

function contentSourceOf(source: csi.v1.IVolumeContentSource | null | undefined): Source | undefined {
  const { snapshot, volume } = source ?? {};
  if (snapshot?.snapshotId) return { kind: 'snapshot', name: snapshot.snapshotId };
  return volume?.volumeId ? { kind: 'volume', name: volume.volumeId } : undefined;
}

/** @throws RpcError INVALID_ARGUMENT when the topology has keys that are not ours */
function segmentsOf(requirements: csi.v1.ITopologyRequirement | null | undefined): string[] {
  const { requisite = [], preferred = [] } = requirements ?? {};
  const terms = (requisite ?? []).length > 0 ? (requisite ?? []) : (preferred ?? []);
  return [...new Set(terms.flatMap((topology) => segmentOf(topology) ?? []))];
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
