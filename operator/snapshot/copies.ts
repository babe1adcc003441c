import { type Address, sameAddress } from '../../api/address.ts';
import { isPlaced } from '../../api/capacity.ts';
import { type AoEPool, sharesBlocks } from '../../api/pool.ts';
import { type AoESnapshot, type AoESnapshotStatus, isElsewhere } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { OwnWrites, type Store } from '../../kube/mod.ts';
import type { Refused } from '../placement/placement.ts';

/** How many volumes are copied from a snapshot at once, at most; the others wait. */
const MOST_COPIES = 64;

/** The operator's part of a snapshot's status that is about copies. */
export interface CopyFields {
  readonly copies: AoESnapshotStatus['copies'] | undefined;
  readonly copyAddress: Address | undefined;
}

interface Options {
  readonly snapshots: Store<AoESnapshot>;
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
  readonly pools: Pick<Store<AoEPool>, 'get'>;
  /** Names of volumes by the snapshot in their spec.source. */
  readonly bySource: { get(snapshot: string): string[] };
}

/** Index of {@link Options.bySource}. */
export function sourceOf({ spec }: AoEVolume): string[] {
  return spec.source?.snapshot === undefined ? [] : [spec.source.snapshot];
}

/** Which volumes are copied from which snapshots, and the addresses at which the snapshots are read meanwhile. */
export class SnapshotCopies {
  readonly #options: Options;
  /** The snapshots, with the addresses that this operator has given and the watch has not shown yet. */
  readonly #snapshots: OwnWrites<AoESnapshot>;

  constructor(options: Options) {
    this.#options = options;
    this.#snapshots = new OwnWrites(options.snapshots);
  }

  /** Name of the AoESnapshot that is read at this address, or was a moment ago; undefined when there is none. */
  at(address: Address): string | undefined {
    return this.#snapshots
      .reserved()
      .find(({ status }) => sameAddress(status?.copyAddress, address) || sameAddress(status?.copyServed, address))?.metadata.name;
  }

  /**
   * What the status of a snapshot is to say. An address that is new is reserved from now on: end that with {@link settle}.
   * @param newAddress an address that nobody has; asked for only when one is needed
   */
  fieldsOf(snapshot: AoESnapshot, newAddress: () => Address | Refused): CopyFields {
    const { status } = snapshot;
    const copies = this.#copiesOf(snapshot);
    const isRead = copies.some(({ node }) => node !== status?.nodeName);
    // As long as the agent serves it, nobody else may have it.
    let address = isRead || status?.copyServed ? this.#addressOf(snapshot) : undefined;
    if (isRead && !address) {
      const given = newAddress();
      if (!('refused' in given)) address = given;
    }
    if (address && !status?.copyAddress)
      this.#snapshots.reserve({ ...snapshot, status: { ...status, copyAddress: address } }, { isHeld: true });
    return { copies: copies.length > 0 ? copies : undefined, copyAddress: address };
  }

  /** The status was written, or will not be. @param written the snapshot as it is now; undefined when the write was refused */
  settle(name: string, written: AoESnapshot | undefined): void {
    if (written) this.#snapshots.confirm(written);
    else this.#snapshots.drop(name);
  }

  /** Its address, also when it is not known yet whether the API server has it. */
  #addressOf({ metadata: { name }, status }: AoESnapshot): Address | undefined {
    return status?.copyAddress ?? this.#snapshots.reservedOf([name]).find(({ metadata }) => metadata.name === name)?.status?.copyAddress;
  }

  #copiesOf(snapshot: AoESnapshot): NonNullable<CopyFields['copies']> {
    const { volumes, pools, bySource } = this.#options;
    if (snapshot.status?.createdAt === undefined) return [];
    const isShared = sharesBlocks(pools.get(snapshot.status.pool ?? ''));
    return bySource
      .get(snapshot.metadata.name)
      .flatMap((name) => volumes.get(name) ?? [])
      .filter((volume) => isUnfinished(volume) && (!isShared || isElsewhere(snapshot, volume.spec)))
      .map(({ metadata, spec, status }) => {
        const { macs = [] } = status?.copy ?? {};
        return { volume: metadata.name, node: spec.nodeName ?? '', ...(macs.length > 0 ? { macs } : {}) };
      })
      .sort((a, b) => (a.volume < b.volume ? -1 : 1))
      .slice(0, MOST_COPIES);
  }
}

/** Whether a volume still needs the snapshot of which it is made. */
function isUnfinished(volume: AoEVolume): boolean {
  return isPlaced(volume) && !volume.metadata.deletionTimestamp && volume.status?.capacity === undefined;
}
