import type { Access } from '../../../api/volume.ts';
import { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { FILESYSTEM_TYPES } from '../../filesystem-types.ts';

type Capability = csi.v1.IVolumeCapability;

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const SINGLE_NODE: readonly number[] = [
  Mode.SINGLE_NODE_WRITER,
  Mode.SINGLE_NODE_READER_ONLY,
  Mode.SINGLE_NODE_SINGLE_WRITER,
  Mode.SINGLE_NODE_MULTI_WRITER,
];

/** Why no volume of this driver can have a capability; undefined when a volume can. */
export function unsupported(capability: Capability): string | undefined {
  const mode = capability.accessMode?.mode ?? Mode.UNKNOWN;
  if (!capability.block && !capability.mount) return 'a capability must say block or mount';
  const fsType = capability.mount?.fsType;
  if (fsType && !FILESYSTEM_TYPES.includes(fsType)) return `filesystem ${fsType} is not supported: use ${FILESYSTEM_TYPES.join(' or ')}`;
  if (capability.mount?.volumeMountGroup) return 'volume_mount_group is not supported: use fsGroup';
  if (SINGLE_NODE.includes(mode) || mode === Mode.MULTI_NODE_READER_ONLY) return undefined;
  if (mode === Mode.MULTI_NODE_MULTI_WRITER) {
    if (capability.block) return undefined;
    return `a filesystem cannot be written by many nodes (ReadWriteMany): use ReadWriteOnce, or volumeMode Block with a cluster filesystem`;
  }
  return `access mode ${Mode[mode] ?? mode} is not supported: use ReadWriteOnce, ReadWriteOncePod, or volumeMode Block with ReadWriteMany`;
}

/** @throws RpcError INVALID_ARGUMENT when there are no capabilities, or one is malformed or not supported */
export function checkCapabilities(capabilities: readonly Capability[] | null | undefined): readonly Capability[] {
  if (!capabilities || capabilities.length === 0) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capabilities is missing');
  for (const capability of capabilities) {
    const problem = unsupported(capability);
    if (problem) throw new RpcError(Code.INVALID_ARGUMENT, problem);
  }
  return capabilities;
}

/**
 * The access that a new volume needs to have all the capabilities.
 * @throws RpcError INVALID_ARGUMENT when they contradict one another, or request a new volume that nobody can write
 */
export function accessFor(capabilities: readonly Capability[]): Access {
  const modes = new Set(capabilities.map(({ accessMode }) => accessMode?.mode));
  const shared = modes.has(Mode.MULTI_NODE_MULTI_WRITER);
  if (modes.has(Mode.MULTI_NODE_READER_ONLY) && modes.size === 1) {
    throw new RpcError(
      Code.INVALID_ARGUMENT,
      'a new volume that nobody may write (ReadOnlyMany) would stay empty: use ReadWriteOnce, or a PersistentVolume for an AoEVolume that has data',
    );
  }
  const access = shared ? 'Shared' : 'Exclusive';
  const problem = capabilities.map((capability) => mismatch(access, capability)).find((each) => each !== undefined);
  if (problem) throw new RpcError(Code.INVALID_ARGUMENT, `volume_capabilities contradict one another: ${problem}`);
  return access;
}

/** Why a volume with this access cannot have a capability; undefined when it can. */
export function mismatch(access: Access, capability: Capability): string | undefined {
  const problem = unsupported(capability);
  if (problem) return problem;
  const mode = capability.accessMode?.mode ?? Mode.UNKNOWN;
  if (mode === Mode.MULTI_NODE_READER_ONLY && access === 'Exclusive') return 'an Exclusive volume cannot be used on many nodes';
  if (mode === Mode.MULTI_NODE_MULTI_WRITER && access !== 'Shared') return `a volume with access ${access} cannot be written by many nodes`;
  if (access === 'ReadOnlyMany' && mode !== Mode.MULTI_NODE_READER_ONLY && mode !== Mode.SINGLE_NODE_READER_ONLY)
    return 'nobody can write to a ReadOnlyMany volume: use access mode ReadOnlyMany';
  if (access === 'Shared' && capability.mount)
    return 'a Shared volume is a block device: a filesystem of one host would be destroyed by another';
  return undefined;
}
