import { Code, RpcError } from '../../../rpc/status.ts';

/** Parameters of a class with this prefix are for Kubernetes' sidecars, or from them. */
export const RESERVED = 'csi.storage.k8s.io/';

/** Of a VolumeSnapshotClass: whether file systems are frozen while their snapshots are taken. */
const FREEZE = 'freeze';

/** A field of snapshot classes that Kubernetes' storage suite repeats among their parameters. The sidecar acts on the field. */
const REPEATED = 'deletionPolicy';

/**
 * Whether a VolumeSnapshotClass asks for frozen file systems.
 * @throws RpcError INVALID_ARGUMENT for a parameter or a value that is not known
 */
export function freezeOf(parameters: Readonly<Record<string, string>> | null | undefined): boolean {
  const { [FREEZE]: freeze = 'false', ...others } = parameters ?? {};
  refuseParameters('VolumeSnapshotClass', others, `there is ${FREEZE}`);
  if (freeze !== 'true' && freeze !== 'false')
    throw new RpcError(Code.INVALID_ARGUMENT, `VolumeSnapshotClass parameter ${FREEZE} is "${freeze}": give "true" or "false"`);
  return freeze === 'true';
}

/**
 * Refuses parameters of a snapshot class that are not known.
 * @param kind of the class, such as `VolumeSnapshotClass`
 * @param known what is known, for the message
 * @throws RpcError INVALID_ARGUMENT that names them
 */
export function refuseParameters(
  kind: string,
  parameters: Readonly<Record<string, string>> | null | undefined,
  known = 'there are none',
): void {
  const unknown = Object.keys(parameters ?? {}).filter((key) => !key.startsWith(RESERVED) && key !== REPEATED);
  if (unknown.length > 0) throw new RpcError(Code.INVALID_ARGUMENT, `${kind} parameter ${unknown.join(', ')} is not known: ${known}`);
}
