import { SEGMENT_KEY } from '../../api/meta.ts';
import type { Access } from '../../api/volume.ts';
import type { csi } from '../../rpc/mod.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { accessFor, checkCapabilities } from './capabilities.ts';
import { type Bounds, boundsOf } from './size.ts';

const DEFAULT_POOL = 'default';
/** Parameters with this prefix are the sidecar's. */
const RESERVED = 'csi.storage.k8s.io/';

/** What CreateVolume asks for. */
export interface Wanted {
  readonly pool: string;
  readonly access: Access;
  readonly bounds: Bounds;
  /** Segments on one of which the volume must be; any when empty. */
  readonly segments: readonly string[];
  /** What people want to know of a volume's origin. */
  readonly annotations: Readonly<Record<string, string>>;
}

export const CREATED_BY = 'aoe.dev/created-by';

/** @throws RpcError INVALID_ARGUMENT or OUT_OF_RANGE */
export function wantedOf(request: csi.v1.ICreateVolumeRequest): Wanted {
  const refuse = (message: string): never => {
    throw new RpcError(Code.INVALID_ARGUMENT, message);
  };
  const capabilities = checkCapabilities(request.volumeCapabilities);
  if (request.volumeContentSource) refuse('volume_content_source: a volume cannot be made from a snapshot or another volume yet');
  if (Object.keys(request.mutableParameters ?? {}).length > 0)
    refuse('mutable_parameters: nothing of a volume can be changed by a VolumeAttributesClass yet');
  const { pool = DEFAULT_POOL, ...others } = request.parameters ?? {};
  const unknown = Object.keys(others).filter((key) => !key.startsWith(RESERVED));
  if (unknown.length > 0) refuse(`StorageClass parameter ${unknown.join(', ')} is not known: there are pool and ${RESERVED}fstype`);
  if (pool === '') refuse('StorageClass parameter pool is empty: name an AoEPool');
  return {
    pool,
    access: accessFor(capabilities),
    bounds: boundsOf(request.capacityRange),
    segments: segmentsOf(request.accessibilityRequirements),
    annotations: annotationsOf(request),
  };
}

/** @throws RpcError INVALID_ARGUMENT when the topology has keys that are not ours */
function segmentsOf(requirements: csi.v1.ITopologyRequirement | null | undefined): string[] {
  const { requisite = [], preferred = [] } = requirements ?? {};
  const terms = (requisite ?? []).length > 0 ? (requisite ?? []) : (preferred ?? []);
  return [...new Set(terms.flatMap((topology) => segmentOf(topology) ?? []))];
}

/** The segment that a topology names. @throws RpcError INVALID_ARGUMENT when it has keys that are not ours */
export function segmentOf(topology: csi.v1.ITopology | null | undefined): string | undefined {
  const { [SEGMENT_KEY]: segment, ...others } = topology?.segments ?? {};
  const unknown = Object.keys(others);
  if (unknown.length > 0)
    throw new RpcError(Code.INVALID_ARGUMENT, `topology key ${unknown.join(', ')} is not known: there is ${SEGMENT_KEY}`);
  return segment;
}

function annotationsOf({ name, parameters }: csi.v1.ICreateVolumeRequest): Record<string, string> {
  const claim = parameters?.[`${RESERVED}pvc/name`];
  const namespace = parameters?.[`${RESERVED}pvc/namespace`];
  return {
    [CREATED_BY]: 'csi',
    'aoe.dev/csi-name': name ?? '',
    ...(claim && namespace ? { 'aoe.dev/claim': `${namespace}/${claim}` } : {}),
  };
}
