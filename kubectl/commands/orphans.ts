import type { AoEPool } from '../../api/pool.ts';
import { AOE_POOLS } from '../cluster/objects.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { sizeText } from '../report/size.ts';
import { section, table } from '../report/table.ts';

/** Backing volumes of one pool on one node that no AoEVolume there uses. */
export interface Orphans {
  readonly pool: string;
  readonly node: string;
  /** Names in the backend of those that belong to no AoEVolume. */
  readonly orphans: readonly string[];
  /** Their size together. */
  readonly orphaned: string;
  /** Those of an AoEVolume that is placed on another node, with its name and that node. */
  readonly displaced: readonly string[];
  readonly displacedBytes: string;
  /** Where the orphans are. */
  readonly place: string;
}

export function orphansOf(pools: readonly AoEPool[]): Orphans[] {
  return pools.flatMap(({ metadata, spec, status }) =>
    (status?.nodes ?? [])
      .filter(({ orphans = [], displaced = [] }) => orphans.length + displaced.length > 0)
      .map(({ name, orphans = [], orphaned = '0', displaced = [], displacedBytes = '0' }) => ({
        pool: metadata.name,
        node: name,
        orphans,
        orphaned,
        displaced,
        displacedBytes,
        place: spec.directory ?? spec.volumeGroup ?? '',
      })),
  );
}

export function orphansText(found: readonly Orphans[]): string[] {
  if (found.length === 0) return ['There are no orphans, and nothing is displaced.'];
  const orphans = found.flatMap(({ pool, node, orphans, place }) => orphans.map((name) => [pool, node, place, name]));
  const displaced = found.flatMap(({ pool, node, displaced, place }) => displaced.map((name) => [pool, node, place, name]));
  const size = sizeText(...found.map(({ orphaned }) => orphaned));
  const displacedSize = sizeText(...found.map(({ displacedBytes }) => displacedBytes));
  return [
    ...section(`ORPHANS (${size}): they belong to no AoEVolume`, table(['POOL', 'NODE', 'IN', 'NAME'], orphans)),
    ...section(
      `DISPLACED (${displacedSize}): their AoEVolume is placed on another node. Keep the data until that AoEVolume is Ready and nobody needs this copy, which may be newer`,
      table(['POOL', 'NODE', 'IN', 'NAME AND VOLUME'], displaced),
    ),
    ...(orphans.length === 0
      ? []
      : [
          '',
          'Nothing removes orphans by itself. To use the data: an AoEVolume with that pool, nodeName: NODE, and adopt: NAME without a path.',
          'When nobody needs it: lvremove VOLUMEGROUP/NAME, or remove the file, on that node.',
        ]),
  ];
}

export async function orphans(context: Context): Promise<ExitStatus> {
  const pools = await context.reader.list<AoEPool>(AOE_POOLS);
  if (!pools) return 1;
  const found = orphansOf(pools);
  write(context, { data: { orphans: found, notSeen: context.reader.notSeen }, text: () => orphansText(found) });
  return 0;
}
