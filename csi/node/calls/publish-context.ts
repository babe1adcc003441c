import { type Address, parseAddress } from '../../../api/address.ts';
import { type Access, type Encryption, isAccess, isEncryption } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';

/** What ControllerPublishVolume passes on about the volume. */
export interface PublishContext {
  /** As the kernel's driver writes it: `e7.3`. */
  readonly address: string;
  readonly target: Address;
  /** Serial number that the disk must report; undefined for an external disk that was never attached. */
  readonly serial: string | undefined;
  readonly volumeUID: string;
  readonly access: Access;
  /** The target is not managed by the cluster. */
  readonly external: boolean;
  /** How this node encrypts the data; absent: not at all. */
  readonly encryption?: Encryption;
}

/** @throws RpcError INVALID_ARGUMENT when something is missing or malformed */
export function parsePublishContext(context: Readonly<Record<string, string>> | null | undefined): PublishContext {
  const field = (name: string): string => {
    const value = context?.[name];
    if (!value)
      throw new RpcError(Code.INVALID_ARGUMENT, `publish_context.${name} is missing: was the volume attached by ControllerPublishVolume?`);
    return value;
  };
  const access = field('access');
  const encryption = context?.encryption || undefined;
  if (encryption !== undefined && !isEncryption(encryption))
    throw new RpcError(Code.INVALID_ARGUMENT, `publish_context.encryption "${encryption}" is not known: update the node plugin`);
  if (!isAccess(access)) throw new RpcError(Code.INVALID_ARGUMENT, `publish_context.access "${access}" is not known`);
  try {
    const address = field('address');
    return {
      address,
      target: parseAddress(address),
      serial: context?.serial || undefined,
      volumeUID: field('volumeUID'),
      access,
      external: context?.external === 'true',
      ...(encryption ? { encryption } : {}),
    };
  } catch (error) {
    if (error instanceof RangeError) throw new RpcError(Code.INVALID_ARGUMENT, `publish_context: ${messageOf(error)}`);
    throw error;
  }
}
