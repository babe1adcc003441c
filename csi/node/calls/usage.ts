import type { Access } from '../../../api/volume.ts';
import { csi } from '../../../rpc/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { FILESYSTEM_TYPES } from '../../filesystem-types.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const DEFAULT_FILESYSTEM = 'ext4';

interface CommonUsage {
  /** This node may not write. */
  readonly readOnly: boolean;
  /** The volume may be published at one target path at a time only. */
  readonly single: boolean;
}

/** The volume is used as a raw block device. */
export interface BlockUsage extends CommonUsage {
  readonly kind: 'block';
}

/** The volume is used as a file system. */
export interface MountUsage extends CommonUsage {
  readonly kind: 'mount';
  readonly type: string;
  readonly flags: readonly string[];
}

/** How a volume is to be used on this node. */
export type Usage = BlockUsage | MountUsage;

/**
 * Reads the capability of a request.
 * @throws RpcError INVALID_ARGUMENT when it is missing, incomplete or names a file system that is not supported
 */
export function usageOf(capability: csi.v1.IVolumeCapability | null | undefined): Usage {
  if (!capability) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability is missing');
  const mode = capability.accessMode?.mode ?? 0;
  if (Mode[mode] === undefined || mode === Mode.UNKNOWN) throw new RpcError(Code.INVALID_ARGUMENT, `access mode ${mode} is not known`);
  const common = {
    readOnly: mode === Mode.SINGLE_NODE_READER_ONLY || mode === Mode.MULTI_NODE_READER_ONLY,
    single: mode === Mode.SINGLE_NODE_SINGLE_WRITER,
  };
  if (capability.block) return { ...common, kind: 'block' };
  if (!capability.mount) throw new RpcError(Code.INVALID_ARGUMENT, 'volume_capability has neither block nor mount');
  const type = capability.mount.fsType || DEFAULT_FILESYSTEM;
  if (!FILESYSTEM_TYPES.includes(type)) {
    throw new RpcError(Code.INVALID_ARGUMENT, `file system "${type}" is not supported: use ${FILESYSTEM_TYPES.join(' or ')}`);
  }
  const flags = capability.mount.mountFlags ?? [];
  // The mount option `ro` means the same as a read-only access mode.
  return {
    ...common,
    readOnly: common.readOnly || flags.includes('ro'),
    kind: 'mount',
    type,
    flags: flags.filter((flag) => flag !== 'ro'),
  };
}

/**
 * Refuses a use that the volume's access does not allow.
 * @throws RpcError FAILED_PRECONDITION
 */
export function checkAccess(volumeId: string, access: Access, capability: csi.v1.IVolumeCapability, usage: Usage): void {
  const mode = capability.accessMode?.mode ?? 0;
  const multiNode = mode === Mode.MULTI_NODE_READER_ONLY || mode === Mode.MULTI_NODE_SINGLE_WRITER || mode === Mode.MULTI_NODE_MULTI_WRITER;
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
