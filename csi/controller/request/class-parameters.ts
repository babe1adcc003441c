import { Code, RpcError } from '../../../rpc/status.ts';

/** Parameters of a class with this prefix are for Kubernetes' sidecars, or from them. */
export const RESERVED = 'csi.storage.k8s.io/';

/** A field of snapshot classes that Kubernetes' storage suite repeats among their parameters. The sidecar acts on the field. */
const REPEATED = 'deletionPolicy';

/**
 * Refuses parameters of a snapshot class: the driver knows none.
 * @param kind of the class, such as `VolumeSnapshotClass`
 * @throws RpcError INVALID_ARGUMENT that names them
 */
export function refuseParameters(kind: string, parameters: Readonly<Record<string, string>> | null | undefined): void {
  const unknown = Object.keys(parameters ?? {}).filter((key) => !key.startsWith(RESERVED) && key !== REPEATED);
  if (unknown.length > 0) throw new RpcError(Code.INVALID_ARGUMENT, `${kind} parameter ${unknown.join(', ')} is not known: there are none`);
}
