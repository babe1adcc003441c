import type { Address } from '../api/address.ts';
import type { AoENode } from '../api/node.ts';
import type { AoEPool } from '../api/pool.ts';
import { AOE_VOLUMES } from '../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../api/volume.ts';
import { type EventRecorder, type Informer, type Kube, KubeError } from '../kube/mod.ts';
import type { Logger } from '../run/log.ts';
import { type AddressRange, addressOf } from './addresses.ts';
import { Assumed } from './assumed.ts';
import { addressOwner, type Cluster, place, type Refused } from './placement.ts';
import { FIELD_MANAGER, isPlaced, statusToApply } from './volume-status.ts';

interface Options {
  readonly kube: Pick<Kube, 'patch' | 'apply'>;
  readonly volumes: Pick<Informer<AoEVolume>, 'get' | 'list'>;
  readonly pools: Pick<Informer<AoEPool>, 'list'>;
  readonly nodes: Pick<Informer<AoENode>, 'get' | 'list'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly range: AddressRange;
  readonly log: Logger;
}

/** Gives each AoEVolume its node and address, once, and keeps its phase and conditions true. */
export class Volumes {
  readonly #options: Options;
  readonly #assumed = new Assumed();
  #lastAddress: Address | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** One pass over one volume. Safe to run again at any time; different volumes may run at once. */
  async reconcile(name: string, signal: AbortSignal): Promise<void> {
    const volume = this.#options.volumes.get(name);
    if (!volume) {
      this.#assumed.remove(name);
      return;
    }
    const { volume: current, refused } = await this.#placed(volume, signal);
    const status = statusToApply(current, refused);
    if (!status) return;
    try {
      await this.#options.kube.apply(AOE_VOLUMES, status as never, {
        fieldManager: FIELD_MANAGER,
        force: true,
        subresource: 'status',
        signal,
      });
    } catch (error) {
      // Gone, or made anew under the same name: the watch will tell.
      if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 409)) throw error;
    }
    this.#tell(volume, refused);
  }

  /** Names of volumes that wait for a place: they are looked at again when something about pools, nodes or volumes changes. */
  waiting(): string[] {
    return this.#options.volumes
      .list()
      .filter((volume) => !volume.spec.external && !isPlaced(volume) && !volume.metadata.deletionTimestamp)
      .map(({ metadata }) => metadata.name);
  }

  #cluster(): Cluster {
    return {
      pools: this.#options.pools.list(),
      nodes: this.#options.nodes.list(),
      volumes: this.#assumed.over(this.#options.volumes.list()),
    };
  }

  async #placed(volume: AoEVolume, signal: AbortSignal): Promise<{ volume: AoEVolume; refused?: Refused }> {
    const cluster = this.#cluster();
    const known = cluster.volumes.find(({ metadata }) => metadata.name === volume.metadata.name) ?? volume;
    if (volume.metadata.deletionTimestamp) return { volume };
    if (isPlaced(known)) {
      const { nodeName = '' } = known.spec;
      if (this.#options.nodes.get(nodeName)) return { volume: known };
      return {
        volume: known,
        refused: { refused: 'StorageNodeGone', message: `node ${nodeName}, which holds the data, has no AoENode: bring it back` },
      };
    }
    if (volume.spec.external) {
      const owner = addressOwner(volume, cluster.volumes);
      return owner
        ? { volume, refused: { refused: 'AddressTaken', message: `AoEVolume ${owner.metadata.name} has that address` } }
        : { volume };
    }
    const decision = place(volume, cluster, this.#options.range, this.#lastAddress ?? newestAddress(cluster.volumes));
    if ('refused' in decision) return { volume, refused: decision };
    return this.#write(volume, decision.nodeName, decision.address, signal);
  }

  /** Reserves the place before the API server knows of it, and takes that back when it refuses. */
  async #write(volume: AoEVolume, nodeName: string, address: Address, signal: AbortSignal): Promise<{ volume: AoEVolume }> {
    const { name, resourceVersion, finalizers = [] } = volume.metadata;
    const spec = { nodeName, address };
    this.#assumed.add({ ...volume, spec: { ...volume.spec, ...spec } });
    if (!volume.spec.address) this.#lastAddress = address;
    try {
      const metadata = { resourceVersion, finalizers: [...new Set([...finalizers, VOLUME_FINALIZER])] };
      const placed = await this.#options.kube.patch<AoEVolume>(
        AOE_VOLUMES,
        name,
        { metadata, spec },
        { fieldManager: FIELD_MANAGER, signal },
      );
      this.#assumed.add(placed);
      this.#options.log.info({ volume: name, node: nodeName, address }, 'volume placed');
      this.#options.events.event(volume, 'Normal', 'Placed', `placed on ${nodeName} at e${address.shelf}.${address.slot}`);
      return { volume: placed };
    } catch (error) {
      this.#assumed.remove(name);
      throw error;
    }
  }

  #tell(volume: AoEVolume, refused: Refused | undefined): void {
    const before = volume.status?.conditions?.find(({ type }) => type === 'Placed');
    if (!refused || (before?.status === 'False' && before.reason === refused.refused)) return;
    this.#options.log.warn({ volume: volume.metadata.name, reason: refused.refused, detail: refused.message }, 'volume not placed');
    this.#options.events.event(volume, 'Warning', refused.refused, refused.message);
  }
}

/** The address of the volume that was made last: where giving addresses goes on after a restart. */
function newestAddress(volumes: readonly AoEVolume[]): Address | undefined {
  let newest: AoEVolume | undefined;
  for (const volume of volumes) {
    if (!volume.spec.address) continue;
    const age = (each: AoEVolume) =>
      `${each.metadata.creationTimestamp ?? ''} ${String(each.spec.address?.shelf).padStart(5)}.${String(each.spec.address?.slot).padStart(3)}`;
    if (!newest || age(volume) > age(newest)) newest = volume;
  }
  return newest ? addressOf(newest.spec) : undefined;
}
