import { AOE_VOLUMES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { type Kube, KubeError, messageOf, writeToSame } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { VolumeClient } from '../contracts.ts';

/** Field manager of what the node plugin writes. */
export const FIELD_MANAGER = 'aoe-csi-node';

/** AoEVolumes at the API server. */
export class KubeVolumeClient implements VolumeClient {
  readonly #kube: Kube;

  constructor(kube: Kube) {
    this.#kube = kube;
  }

  async get(name: string, signal: AbortSignal): Promise<AoEVolume | undefined> {
    try {
      return await this.#kube.get<AoEVolume>(AOE_VOLUMES, name, { signal });
    } catch (error) {
      throw unavailable(`AoEVolume ${name} cannot be read`, error);
    }
  }

  /** A merge patch, not an apply: several nodes write here in turn, and none may remove what another has written. */
  async record(volume: AoEVolume, status: object, signal: AbortSignal, isStillValid?: (now: AoEVolume) => boolean): Promise<void> {
    const { name } = volume.metadata;
    const options = { subresource: 'status', fieldManager: FIELD_MANAGER, signal } as const;
    let written: AoEVolume | undefined;
    try {
      written = await writeToSame(volume, {
        write: (resourceVersion) => this.#kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata: { resourceVersion }, status }, options),
        read: () => this.#kube.get<AoEVolume>(AOE_VOLUMES, name, { signal }),
        still: isStillValid,
        signal,
      });
    } catch (error) {
      throw unavailable(`status of AoEVolume ${name} cannot be written`, error);
    }
    if (!written)
      throw new RpcError(Code.ABORTED, `AoEVolume ${name} was deleted or given to another node meanwhile: its status is not written`);
  }
}

function unavailable(what: string, error: unknown): RpcError {
  const code = error instanceof KubeError && error.code < 500 && error.code !== 429 ? Code.INTERNAL : Code.UNAVAILABLE;
  return new RpcError(code, `${what}: ${messageOf(error)}`, { cause: error });
}
