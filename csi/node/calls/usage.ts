import type { Access } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { FILESYSTEM_TYPES } from '../filesystem/tools.ts';
import { AccessMode, type VolumeCapability } from './requests.ts';

const DEFAULT_FILESYSTEM = 'ext4';

/** How a volume is to be used on this node. */
export type Usage = {
  /** Nothing on this node may write. */
  readonly readOnly: boolean;
  /** One pod, or rather one target path, at a time. */
  readonly single: boolean;
} & ({ readonly kind: 'block' } | { readonly kind: 'mount'; readonly type: string; readonly flags: readonly string[] });

/**
 * Reads a capability of a request.
 * @throws RpcError INVALID_ARGUMENT when it is missing, incomplete or names a file system that is not supported
 */
export function usageOf(capability: VolumeCapability | null | undefined): Usage {
  if (!capability) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability is missing');
  const mode = capability.accessMode?.mode ?? 0;
  if (!Object.values<number>(AccessMode).includes(mode)) throw new RpcError(Code.INVALID_ARGUMENT, `access mode ${mode} is not known`);
  const common = {
    readOnly: mode === AccessMode.SingleNodeReaderOnly || mode === AccessMode.MultiNodeReaderOnly,
    single: mode === AccessMode.SingleNodeSingleWriter,
  };
  if (capability.block) return { ...common, kind: 'block' };
  if (!capability.mount) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability has neither block nor mount');
  const type = capability.mount.fsType || DEFAULT_FILESYSTEM;
  if (!FILESYSTEM_TYPES.includes(type)) {
    throw new RpcError(Code.INVALID_ARGUMENT, `file system "${type}" is not supported: use ${FILESYSTEM_TYPES.join(' or ')}`);
  }
  const flags = capability.mount.mountFlags ?? [];
  // A mount option says the same as an access mode.
  return {
    ...common,
    readOnly: common.readOnly || flags.includes('ro'),
    kind: 'mount',
    type,
    flags: flags.filter((flag) => flag !== 'ro'),
  };
}

/**
 * Refuses what goes beyond the volume's access.
 * @throws RpcError FAILED_PRECONDITION
 */
export function checkAccess(volumeId: string, access: Access, capability: VolumeCapability, usage: Usage): void {
  const mode = capability.accessMode?.mode ?? 0;
  const multiNode =
    mode === AccessMode.MultiNodeReaderOnly || mode === AccessMode.MultiNodeSingleWriter || mode === AccessMode.MultiNodeMultiWriter;
  const refuse = (message: string): never => {
    throw new RpcError(Code.FAILED_PRECONDITION, `volume ${volumeId} has access ${access}: ${message}`);
  };
  switch (access) {
    case 'Exclusive':
      if (multiNode) refuse('it cannot be used on several nodes at once');
      return;
    case 'ReadOnlyMany':
      if (!usage.readOnly && usage.kind === 'mount') refuse('it can only be mounted for reading (access mode ReadOnlyMany)');
      return;
    case 'Shared':
      if (usage.kind === 'mount') refuse(`it is for raw block use: ${usage.type} would be destroyed by two hosts mounting it`);
  }
}
