import type { Address } from '../../api/address.ts';
import { grainOf, reservationKey, reservationOf, roundUp } from '../../api/capacity.ts';
import type { PoolNode } from '../../api/pool.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { OwnWrites, Sums } from '../../kube/mod.ts';
import { addressClaim, claimsOf } from './claims.ts';

/** What volumes have or claim, with what this operator has placed and no watch has shown yet. */
export interface Reservations {
  /** Volumes that claim this address. There may be others among them. */
  claimants(address: Address): AoEVolume[];
  /** Bytes that placed volumes take in a pool on a node, but for the one of this name. */
  taken(pool: string, node: PoolNode, except: string): number;
}

interface Options {
  readonly volumes: Pick<OwnWrites<AoEVolume>, 'get' | 'reservedOf' | 'pending'>;
  /** Names of volumes by {@link claimsOf}. */
  readonly byClaim: { get(claim: string): string[] };
  /** Of {@link reservationOf}, without what the watch has not shown. */
  readonly sizes: Pick<Sums<AoEVolume>, 'total'>;
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

  /** Volumes that claim the address or the serial number that this one claims. There may be others among them. */
  rivals(volume: AoEVolume): AoEVolume[] {
    return this.#claiming(claimsOf(volume));
  }

  taken(pool: string, node: PoolNode, except: string): number {
    const [key, grain] = [reservationKey(pool, node.name), grainOf(node)];
    const takes = (volume: AoEVolume): number => {
      const reservation = reservationOf(volume);
      return reservation?.key === key ? roundUp(reservation.size, grain) : 0;
    };
    let bytes = this.#options.sizes.total(key, grain);
    const pending = this.#options.volumes.pending();
    for (const { stored, written } of pending) {
      bytes -= takes(stored);
      if (written.metadata.name !== except) bytes += takes(written);
    }
    const own = pending.some(({ stored }) => stored.metadata.name === except) ? undefined : this.#options.volumes.get(except);
    return own ? bytes - takes(own) : bytes;
  }

  #claiming(claims: readonly string[]): AoEVolume[] {
    const { volumes, byClaim } = this.#options;
    return volumes.reservedOf(claims.flatMap((claim) => byClaim.get(claim)));
  }
}
