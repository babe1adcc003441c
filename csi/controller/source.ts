import { CREATED_BY } from '../../api/meta.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import { type AoEVolume, type Encryption, isAuthenticated } from '../../api/volume.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';
import { ensureSnapshot, type Refusals } from './ensure-snapshot.ts';
import { findVolume } from './find-volume.ts';
import { ENCRYPTED, parameterOf, type Source, type Wanted } from './request/request.ts';
import { resourceName } from './request/resource-name.ts';
import { capacityOf } from './request/size.ts';
import { describeSnapshotReadiness, findSnapshot, isReady, userBytes } from './snapshots.ts';

/** Annotation of a volume that is a clone: name of the AoEVolume with whose data it began. */
const CLONE_OF = 'aoe.dev/clone-of';
/** Annotation of the AoESnapshot that is there while a volume is cloned: name of the new AoEVolume. */
export const CLONE_FOR = 'aoe.dev/clone-for';

/** Reasons for which a volume cannot be cloned, and the gRPC code of CreateVolume for each. */
const REFUSALS: Refusals = {
  SnapshotsUnsupported: Code.INVALID_ARGUMENT,
  PoolFull: Code.RESOURCE_EXHAUSTED,
  VolumeNotFound: Code.NOT_FOUND,
  VolumeDeleting: Code.NOT_FOUND,
};

/** With whose data a volume began; undefined when it began empty. */
export function sourceOf({ metadata, spec }: AoEVolume): Source | undefined {
  const cloned = metadata.annotations?.[CLONE_OF];
  if (cloned !== undefined) return { kind: 'volume', name: cloned };
  const { snapshot } = spec.source ?? {};
  return snapshot === undefined ? undefined : { kind: 'snapshot', name: snapshot };
}

/** What names its source in a new AoEVolume. A clone is made of a snapshot, which {@link ensureSource} takes. */
export function namingSource(name: string, source: Source | undefined): { spec: Pick<AoEVolume['spec'], 'source'>; annotations: object } {
  if (!source) return { spec: {}, annotations: {} };
  if (source.kind === 'snapshot') return { spec: { source: { snapshot: source.name } }, annotations: {} };
  return { spec: { source: { snapshot: cloneName(name) } }, annotations: { [CLONE_OF]: source.name } };
}

/**
 * Checks that a volume can be made of its source, before anything is made.
 * @returns bytes that the user of the new volume gets at least, and bytes of its disk
 * @throws RpcError NOT_FOUND; UNAVAILABLE while the source is not ready; INVALID_ARGUMENT when its pool has no snapshots, or the two are
 * not encrypted in the same way; OUT_OF_RANGE when it is too large, or cannot become as large as is requested
 */
export async function checkSource(
  deps: Deps,
  { bounds, encryption }: Wanted,
  source: Source,
  call: Call,
): Promise<Pick<Found, 'bytes' | 'disk'>> {
  const found = source.kind === 'snapshot' ? await snapshotAs(deps, source.name, call) : await volumeAs(deps, source.name, call);
  if (found.encryption !== encryption) {
    const message = found.encryption
      ? `${found.what} is encrypted: a volume can be made of it only with a StorageClass that has ${ENCRYPTED} "${parameterOf(found.encryption)}" and names the Secret of the source`
      : `${found.what} is not encrypted, and the StorageClass asks for encryption: data is encrypted only as it is written, so copy it into an empty volume`;
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  }
  if (isAuthenticated(found) && bounds.least > found.bytes) {
    const message = `${found.what} has ${found.bytes} bytes and authenticated encryption: a volume with its data cannot have ${bounds.least}. Request ${found.bytes}, or copy the data into a larger volume`;
    throw new RpcError(Code.OUT_OF_RANGE, message);
  }
  if (bounds.most > 0 && found.bytes > bounds.most) {
    throw new RpcError(Code.OUT_OF_RANGE, `${found.what} has ${found.bytes} bytes, more than the limit of ${bounds.most}`);
  }
  return found;
}

interface Found {
  what: string;
  /** Without what encryption takes. */
  bytes: number;
  /** Size of the disk, in bytes. */
  disk: number;
  encryption: Encryption | undefined;
}

async function snapshotAs(deps: Deps, name: string, call: Call): Promise<Found> {
  const snapshot = await findSnapshot(deps, name, call);
  const { status } = snapshot;
  if (!isReady(snapshot)) throw new RpcError(Code.UNAVAILABLE, `AoESnapshot ${name} is not ready: ${describeSnapshotReadiness(snapshot)}`);
  const disk = parseQuantity(status?.capacity ?? '0');
  return { what: `AoESnapshot ${name}`, bytes: userBytes(snapshot), disk, encryption: status?.encryption };
}

async function volumeAs(deps: Deps, name: string, call: Call): Promise<Found> {
  const volume = await findVolume(deps, name, call);
  const { metadata, spec, status } = volume;
  const what = `AoEVolume ${name}`;
  if (metadata.deletionTimestamp) throw new RpcError(Code.NOT_FOUND, `${what} is being deleted: it cannot be cloned any more`);
  if (spec.external)
    throw new RpcError(Code.INVALID_ARGUMENT, `${what} is served by a target outside of this project: it cannot be cloned`);
  if (status?.capacity === undefined) throw new RpcError(Code.UNAVAILABLE, `${what} has no data yet: it can be cloned when it is ready`);
  const here = deps.pools.get(spec.pool ?? '')?.status?.nodes?.find((node) => node.name === spec.nodeName);
  if (here?.snapshots?.possible === false)
    throw new RpcError(Code.INVALID_ARGUMENT, `${what} cannot be cloned on node ${spec.nodeName}: ${here.snapshots.message}`);
  return { what, bytes: capacityOf(volume), disk: parseQuantity(status.capacity), encryption: spec.encryption };
}

/**
 * Makes sure that the source of a volume without data is there: for a clone, takes the snapshot of which it is made. The snapshot goes
 * with the volume at the latest.
 * @returns why the volume can never be made
 * @throws RpcError ABORTED, UNAVAILABLE or DEADLINE_EXCEEDED when it may still be made
 */
export async function ensureSource(deps: Deps, volume: AoEVolume, source: Source | undefined, call: Call): Promise<RpcError | undefined> {
  if (!source || volume.status?.capacity !== undefined) return undefined;
  const { name } = volume.metadata;
  try {
    if (source.kind === 'snapshot') {
      await findSnapshot(deps, source.name, call);
      return undefined;
    }
    const annotations = { [CREATED_BY]: 'csi', [CLONE_FOR]: name };
    const original = () => findVolume(deps, source.name, call);
    const wanted = { name: cloneName(name), volumeName: source.name, volume: original, annotations, owner: volume };
    const { refused } = await ensureSnapshot(deps, wanted, REFUSALS, call);
    return refused && new RpcError(refused.code, `AoEVolume ${source.name} cannot be cloned: ${refused.message}`);
  } catch (error) {
    if (error instanceof RpcError && error.code === Code.NOT_FOUND) return error;
    throw error;
  }
}

/** Deletes the snapshot of which a volume was cloned: the volume has all of its data. */
export async function dropCloned(deps: Deps, { metadata }: AoEVolume, { signal }: Call): Promise<void> {
  // Not from the watch, which may be late: nobody asks a second time.
  const snapshot = await deps.kube.get<AoESnapshot>(AOE_SNAPSHOTS, cloneName(metadata.name), { signal });
  if (snapshot?.metadata.annotations?.[CLONE_FOR] !== metadata.name || snapshot.metadata.deletionTimestamp) return;
  const { name, uid } = snapshot.metadata;
  await deps.kube.delete(AOE_SNAPSHOTS, name, { ...(uid ? { uid } : {}), signal });
}

/** Name of the AoESnapshot of which a volume is cloned. */
function cloneName(volume: string): string {
  return resourceName(`clone-${volume}`);
}
