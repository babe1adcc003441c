import { type Address, formatAddress } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { type EventRecorder, type Informer, isConflict, isNotFound, type Kube, KubeError, OwnWrites } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { AgentWatch } from '../node/agent-liveness.ts';
import { type Machine, notReady } from '../node/kube-node.ts';
import { type AddressRange, addressOf } from '../placement/address-range.ts';
import { addressOwner, type Cluster, place, type Refused, serialOwner } from '../placement/place.ts';
import { refuseBreak } from './refuse-break.ts';
import { FIELD_MANAGER, statusToApply } from './status.ts';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'patch' | 'apply'>;
  readonly volumes: Pick<Informer<AoEVolume>, 'get' | 'list'>;
  readonly pools: Pick<Informer<AoEPool>, 'list'>;
  readonly nodes: Pick<Informer<AoENode>, 'get' | 'list'>;
  readonly machines: Pick<Informer<Machine>, 'get'>;
  readonly agents?: Pick<AgentWatch, 'silent'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly range: AddressRange;
  readonly log: Logger;
}

const LEARN_MS = 5_000;

/** Gives each AoEVolume its node and address, once, and keeps its phase and conditions true. */
export class Volumes {
  readonly #options: Options;
  /** The volumes, with what this operator has placed and the watch has not shown yet: so nothing is given twice. */
  readonly #volumes: OwnWrites<AoEVolume>;
  #lastAddress: Address | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#volumes = new OwnWrites(options.volumes);
  }

  /** One pass over one volume. Safe to run again at any time; different volumes may run at once. */
  async reconcile(name: string, signal: AbortSignal): Promise<void> {
    const volume = this.#volumes.get(name);
    if (!volume) return;
    await refuseBreak(this.#options, volume, signal);
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
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    this.#tell(volume, refused);
  }

  /** Names of volumes that wait for a place: they are looked at again when something about pools, nodes or volumes changes. */
  waiting(): string[] {
    return this.#options.volumes
      .list()
      .filter((volume) => !volume.metadata.deletionTimestamp && isWaiting(volume))
      .map(({ metadata }) => metadata.name);
  }

  #cluster(): Cluster {
    return {
      pools: this.#options.pools.list(),
      nodes: this.#options.nodes.list(),
      volumes: this.#volumes.reserved(),
      notReady: (node) => notReady(this.#options.machines.get(node)),
      silent: (node) => this.#options.agents?.silent(node),
    };
  }

  async #placed(volume: AoEVolume, signal: AbortSignal): Promise<{ volume: AoEVolume; refused?: Refused }> {
    if (volume.metadata.deletionTimestamp) return { volume };
    if (isPlaced(volume)) {
      const taken = this.#taken(volume);
      if (taken) return { volume, refused: taken };
      const { nodeName = '' } = volume.spec;
      if (this.#options.nodes.get(nodeName)) {
        const trouble = notReady(this.#options.machines.get(nodeName));
        if (!trouble) return { volume };
        const message = `${trouble}: I/O may wait until it is back, and nothing changes hands meanwhile`;
        return { volume, refused: { refused: 'StorageNodeNotReady', message } };
      }
      return {
        volume,
        refused: { refused: 'StorageNodeGone', message: `node ${nodeName}, which holds the data, has no AoENode: bring it back` },
      };
    }
    const cluster = this.#cluster();
    if (volume.spec.external) {
      const taken = this.#taken(volume);
      if (taken) return { volume, refused: taken };
      const twin = serialOwner(volume, cluster.volumes);
      if (!twin) return { volume };
      const message = `AoEVolume ${twin.metadata.name} has the same serial number: disks that cannot be told apart are not attached, correct spec.external`;
      return { volume, refused: { refused: 'SerialTaken', message } };
    }
    const decision = place(volume, cluster, this.#options.range, this.#lastAddress ?? newestAddress(cluster.volumes));
    if ('refused' in decision) return { volume, refused: decision };
    return this.#write(volume, decision.nodeName, decision.address, signal);
  }

  /** Whether another volume has the address: also one that looks placed may have brought that along, copied from another. */
  #taken(volume: AoEVolume): Refused | undefined {
    const owner = addressOwner(volume, this.#volumes.reserved());
    return owner && { refused: 'AddressTaken', message: `AoEVolume ${owner.metadata.name} has that address` };
  }

  /** Reserves the place before the API server knows of it, and takes that back when it refuses. */
  async #write(volume: AoEVolume, nodeName: string, address: Address, signal: AbortSignal): Promise<{ volume: AoEVolume }> {
    const { name, resourceVersion, finalizers = [] } = volume.metadata;
    const spec = { nodeName, address };
    // With the version that was decided on, so that nobody's change meanwhile is overwritten.
    const metadata = { ...(resourceVersion ? { resourceVersion } : {}), finalizers: [...new Set([...finalizers, VOLUME_FINALIZER])] };
    this.#volumes.reserve({ ...volume, metadata: { ...volume.metadata, ...metadata }, spec: { ...volume.spec, ...spec } });
    if (!volume.spec.address) this.#lastAddress = address;
    try {
      const placed = await this.#options.kube.patch<AoEVolume>(
        AOE_VOLUMES,
        name,
        { metadata, spec },
        { fieldManager: FIELD_MANAGER, signal },
      );
      this.#volumes.confirm(placed);
      this.#options.log.info({ volume: name, node: nodeName, address }, 'volume placed');
      this.#options.events.event(volume, 'Normal', 'Placed', `placed on ${nodeName} at ${formatAddress(address)}`);
      return { volume: placed };
    } catch (error) {
      await this.#learn(volume, error);
      throw error;
    }
  }

  /**
   * After a write that failed: a refusal settles it. But a connection that broke, or a conflict with a write of ours that did
   * get through, may leave the volume placed: then the place stays reserved until it is known.
   */
  async #learn({ metadata: { name, uid } }: AoEVolume, error: unknown): Promise<void> {
    if (error instanceof KubeError && error.code < 500 && !isConflict(error)) return this.#volumes.drop(name);
    try {
      const live = await this.#options.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal: AbortSignal.timeout(LEARN_MS) });
      if (live && live.metadata.uid === uid && isPlaced(live)) this.#volumes.confirm(live);
      // After a conflict nothing of ours is under way any more; a request that got lost may still arrive.
      else if (isConflict(error) || !live) this.#volumes.drop(name);
    } catch {
      // Still not known: the next attempt follows soon.
    }
  }

  #tell(volume: AoEVolume, refused: Refused | undefined): void {
    const before = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Ready);
    if (!refused || before?.reason === refused.refused) return;
    this.#options.log.warn({ volume: volume.metadata.name, reason: refused.refused, detail: refused.message }, 'volume not placed');
    this.#options.events.event(volume, 'Warning', refused.refused, refused.message);
  }
}

/** Not placed yet, or refused the place that it came with. */
function isWaiting(volume: AoEVolume): boolean {
  if (!volume.spec.external && !isPlaced(volume)) return true;
  return volume.status?.conditions?.some(({ type, status }) => type === VolumeCondition.Placed && status === 'False') ?? false;
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
