import type { Address } from '../../api/address.ts';
import { grainOf, moveReservationOf, reservationKey, reservationOf, tailOf } from '../../api/capacity.ts';
import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { roundUp } from '../../api/quantity.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { OwnWrites, Store, Sums } from '../../kube/mod.ts';
import { addressKey } from './address-range.ts';
import { addressClaim, claimsOf } from './claims.ts';

/** What volumes have or claim, with what this operator has placed and no watch has shown yet. */
export interface Reservations {
  /** Volumes that claim this address. There may be others among them. */
  claimants(address: Address): AoEVolume[];
  /** Name of the AoESnapshot that is read at this address while it is copied; undefined when there is none. */
  copiedAt(address: Address): string | undefined;
  /** Keys ({@link addressKey}) of addresses that a storage node may serve when it comes back, after its volumes were given up or moved. */
  resting(): ReadonlySet<string>;
  /** Bytes that placed volumes take in a pool on a node, but for the one of this name. */
  taken(pool: string, node: PoolNode, except: string): number;
}

interface Options {
  readonly volumes: Pick<OwnWrites<AoEVolume>, 'get' | 'reservedOf' | 'pending'>;
  /** Names of volumes by {@link claimsOf}. */
  readonly byClaim: { get(claim: string): string[] };
  /** Of {@link reservationOf} and {@link moveReservationOf}, without what the watch has not shown. */
  readonly sizes: Pick<Sums<AoEVolume>, 'total'>;
  readonly copies: { at(address: Address): string | undefined };
  readonly pools: Pick<Store<AoEPool>, 'list'>;
}

/** Reservations that are looked up in indexes: no lookup takes longer when there are more volumes. */
export class IndexedReservations implements Reservations {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  claimants(address: Address): AoEVolume[] {
    return this.#claiming([addressClaim(address)]);
  }

  copiedAt(address: Address): string | undefined {
    return this.#options.copies.at(address);
  }

  resting(): ReadonlySet<string> {
    const entries = this.#options.pools.list().flatMap(({ status }) => status?.abandoned ?? []);
    return new Set(entries.flatMap(({ addresses = [] }) => addresses.map(addressKey)));
  }

  /** Volumes that claim the address or the serial number that this one claims. There may be others among them. */
  rivals(volume: AoEVolume): AoEVolume[] {
    return this.#claiming(claimsOf(volume));
  }

  taken(pool: string, node: PoolNode, except: string): number {
    const [key, grain, tail] = [reservationKey(pool, node.name), grainOf(node), tailOf(node)];
    const takes = (volume: AoEVolume): number => {
      const parts = [reservationOf(volume), moveReservationOf(volume)];
      return parts.reduce((sum, part) => (part?.key === key ? sum + roundUp(part.size, grain) + tail : sum), 0);
    };
    const { sizes, volumes } = this.#options;
    let bytes = sizes.total(key, grain, tail);
    const pending = volumes.pending();
    for (const { stored, written } of pending) bytes += takes(written) - takes(stored);
    const own = pending.find(({ stored }) => stored.metadata.name === except)?.written ?? volumes.get(except);
    return own ? bytes - takes(own) : bytes;
  }

  #claiming(claims: readonly string[]): AoEVolume[] {
    const { volumes, byClaim } = this.#options;
    return volumes.reservedOf(claims.flatMap((claim) => byClaim.get(claim)));
  }
}
