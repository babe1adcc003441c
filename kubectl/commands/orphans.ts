import type { AoEPool } from '../../api/pool.ts';
import { AOE_POOLS } from '../cluster/objects.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { sizeText } from '../report/size.ts';
import { section, table } from '../report/table.ts';

/** Data of one pool on one node that no AoEVolume and no AoESnapshot there uses. */
export interface Orphans {
  readonly pool: string;
  readonly node: string;
  /** Names in the backend of those that belong to no AoEVolume. */
  readonly orphans: readonly string[];
  /** Their size together. */
  readonly orphaned: string;
  /** Snapshots that belong to no AoESnapshot. */
  readonly snapshots: readonly string[];
  /** Those of an AoEVolume that is placed on another node, with its name and that node. */
  readonly displaced: readonly string[];
  readonly displacedBytes: string;
  /** Where the orphans are. */
  readonly place: string;
}

export function orphansOf(pools: readonly AoEPool[]): Orphans[] {
  return pools.flatMap(({ metadata, spec, status }) =>
    (status?.nodes ?? [])
      .map(({ name, orphans = [], orphaned = '0', snapshots, displaced = [], displacedBytes = '0' }) => ({
        pool: metadata.name,
        node: name,
        orphans,
        orphaned,
        snapshots: snapshots?.orphans ?? [],
        displaced,
        displacedBytes,
        place: spec.directory ?? spec.volumeGroup ?? '',
      }))
      .filter(({ orphans, snapshots, displaced }) => orphans.length + snapshots.length + displaced.length > 0),
  );
}

export function orphansText(found: readonly Orphans[]): string[] {
  if (found.length === 0) return ['There are no orphans, and nothing is displaced.'];
  const rows = (namesOf: (each: Orphans) => readonly string[]) =>
    found.flatMap((each) => namesOf(each).map((name) => [each.pool, each.node, each.place, name]));
  const orphans = rows((each) => each.orphans);
  const snapshots = rows((each) => each.snapshots);
  const displaced = rows((each) => each.displaced);
  const size = sizeText(...found.map(({ orphaned }) => orphaned));
  const displacedSize = sizeText(...found.map(({ displacedBytes }) => displacedBytes));
  return [
    ...section(`ORPHANS (${size}): they belong to no AoEVolume`, table(['POOL', 'NODE', 'IN', 'NAME'], orphans)),
    ...section('SNAPSHOTS: they belong to no AoESnapshot', table(['POOL', 'NODE', 'IN', 'NAME'], snapshots)),
    ...section(
      `DISPLACED (${displacedSize}): their AoEVolume is placed on another node. Keep the data until that AoEVolume is Ready and nobody needs this copy, which may be newer`,
      table(['POOL', 'NODE', 'IN', 'NAME AND VOLUME'], displaced),
    ),
    ...(orphans.length + snapshots.length === 0 ? [] : ['', 'Nothing removes orphans by itself.']),
    ...(orphans.length === 0
      ? []
      : ['To use the data of a volume: an AoEVolume with that pool, nodeName: NODE, and adopt: NAME without a path.']),
    ...(orphans.length + snapshots.length === 0
      ? []
      : ['When nobody needs it: lvremove VOLUMEGROUP/NAME, or remove the file, on that node.']),
  ];
}

export async function orphans(context: Context): Promise<ExitStatus> {
  const pools = await context.reader.list<AoEPool>(AOE_POOLS);
  if (!pools) return 1;
  const found = orphansOf(pools);
  write(context, { data: { orphans: found, notSeen: context.reader.notSeen }, text: () => orphansText(found) });
  return 0;
}
