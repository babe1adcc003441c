import { moveReservationOf, reservationOf } from '../../api/capacity.ts';
import type { AoEPool } from '../../api/pool.ts';
import { roundUp } from '../../api/quantity.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { claimsOf } from '../placement/claims.ts';
import { IndexedReservations } from '../placement/reservations.ts';

/** The operator's indexes over volumes that a test changes as it likes: each look-up reads them all. */
export function indexesOf(volumes: () => readonly AoEVolume[]) {
  return {
    byClaim: {
      get: (claim: string): string[] =>
        volumes()
          .filter((each) => claimsOf(each).includes(claim))
          .map(({ metadata }) => metadata.name),
    },
    sizes: {
      total: (key: string, grain: number, each = 0): number =>
        volumes()
          .flatMap((each) => [reservationOf(each), moveReservationOf(each)])
          .reduce<number>((sum, part) => (part?.key === key ? sum + roundUp(part.size, grain) + each : sum), 0),
    },
  };
}

/** What these volumes reserve, and what the statuses of the pools remember. */
export function reservationsOf(volumes: readonly AoEVolume[], pools: readonly AoEPool[] = []): IndexedReservations {
  const reservedOf = (names: Iterable<string>): AoEVolume[] =>
    [...names].flatMap((name) => volumes.find((each) => each.metadata.name === name) ?? []);
  return new IndexedReservations({
    volumes: { get: (name) => volumes.find((each) => each.metadata.name === name), reservedOf, pending: () => [] },
    ...indexesOf(() => volumes),
    copies: { at: () => undefined },
    pools: { list: () => [...pools] },
  });
}
