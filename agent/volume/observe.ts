import { TARGET_END } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import { type DesiredAccess, desiredAccess } from '../access/desired.ts';
import type { MacMemory } from '../access/mac-memory.ts';
import type { Stranger } from '../address/probe.ts';
import type { TargetInterface, TargetVolumeState } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import type { DataResult } from './data.ts';
import type { VolumeMemory } from './memory.ts';
import type { Wiping } from './wipe-meter.ts';

/** What a probe of the volume's address found, or why the address could not be probed. */
export type ProbeResult = { stranger: Stranger | undefined } | { error: string };

/** Everything that a plan depends on, beside the AoEVolume itself. */
export interface Observed {
  /** Whether the data was ever made: then it is looked for, and never made again. */
  provisioned: boolean;
  /** What came of the data in this reconcile; undefined when that is not known yet, or was not asked for. */
  data: DataResult | undefined;
  /** The removal of the data was begun, and what came of it is not known yet. */
  isRemoving?: boolean;
  /** The wipe of new data that is under way. */
  wiping: Wiping | undefined;
  /** Undefined when the address was not probed. */
  probe: ProbeResult | undefined;
  /** Milliseconds until the address is to be probed again. */
  nextProbeMs: number;
  /** For how many milliseconds nobody else has answered at the address of a volume whose data is whole; 0 while it was probed only a few times. */
  silentMs?: number;
  /** Why the target process does not answer; undefined when it does. */
  targetProblem: string | undefined;
  /** The volume as the target serves it; undefined when it does not. */
  exported: TargetVolumeState | undefined;
  /** Whether the target knows writes that need the lock. */
  knowsWritesNeedLock: boolean;
  /** Whether the target takes a size with an export. No volume grows on a target that does not. */
  knowsExportedSize: boolean;
  /** Whether the target can serve a volume for copies alone. */
  knowsForCopies?: boolean;
  /** Whether the target enforces limits. */
  knowsLimits: boolean;
  /** Whether the target gives back what is overwritten with zeros. */
  knowsReclaim: boolean;
  /** Whether zeros are to be written as other data: the pool says so. */
  keepsZeros?: boolean;
  /** Whether its thin pool is so full that nobody is to overwrite free space: what is not given back would fill it. */
  isPoolFilling?: boolean;
  /** Whether the target may be asked now to open the disk again. */
  isReopenDue: boolean;
  access: DesiredAccess;
  /** The interfaces on which the target answers. */
  paths: NonNullable<NonNullable<AoEVolume['status']>['paths']>;
}

/**
 * No free space is overwritten in a thin pool that is so full, in percent, until it is less full again: alert AoEThinPoolFilling comes above
 * the first. Between them, a volume stays as it was.
 */
const FILLING_PERCENT = { from: 80, until: 75 } as const;

/** Whether the volume's data was ever made. From then on it is looked for, and never made again. */
export function wasProvisioned({ status }: AoEVolume): boolean {
  return status?.capacity !== undefined;
}

/** The pool in which the volume's data was made, as a key of an index; none when it was not made yet. */
export function provisionedIn(volume: AoEVolume): string[] {
  return wasProvisioned(volume) && volume.spec.pool !== undefined ? [volume.spec.pool] : [];
}

/**
 * UIDs of the volumes of these names. The UIDs are read lazily, so a caller may stop at the first match. The names may
 * change meanwhile: those are used that are there when the first UID is read.
 */
export function* provisionedUids(volumes: Pick<Store<AoEVolume>, 'get'>, names: Iterable<string>): Generator<string, void, undefined> {
  for (const name of [...names]) {
    const uid = volumes.get(name)?.metadata.uid;
    if (uid !== undefined) yield uid;
  }
}

export interface ObserveContext {
  /** Name of this node. */
  node: string;
  nodes: { list(): AoENode[] };
  pools: Pick<Store<AoEPool>, 'get'>;
  macs: MacMemory;
  target: Pick<TargetConnection, 'connected' | 'problem' | 'state' | 'supports' | 'interfaces'>;
}

/** What is known of a volume at this moment: reads, and changes nothing. */
export function observe(
  { node, nodes, pools, macs, target }: ObserveContext,
  volume: AoEVolume,
  {
    namedMacs,
    addressSchedule,
    isReopenDue,
    wipe,
    removal,
  }: Pick<VolumeMemory, 'namedMacs' | 'addressSchedule' | 'isReopenDue' | 'wipe'> & {
    removal: Pick<VolumeMemory['removal'], 'isPending'>;
  },
  { data, probe }: Pick<Observed, 'data' | 'probe'>,
): Observed {
  const pool = pools.get(volume.spec.pool ?? '');
  const exported = target.state(volume.metadata.uid ?? '');
  // A target that lost the volume admits no initiator; the status still has those that it admitted before.
  const admitted = sortedMacs(exported?.volume.macs ?? volume.status?.initiators?.macs ?? []);
  return {
    provisioned: wasProvisioned(volume),
    data,
    isRemoving: removal.isPending,
    wiping: wipe.state,
    probe,
    nextProbeMs: addressSchedule.waitMs,
    silentMs: addressSchedule.silentMs,
    targetProblem: target.connected ? undefined : target.problem,
    exported,
    knowsWritesNeedLock: target.supports('writes_need_lock'),
    knowsExportedSize: target.supports('exported_size'),
    knowsForCopies: target.supports('for_copies'),
    knowsLimits: target.supports('limits'),
    knowsReclaim: target.supports('reclaim'),
    keepsZeros: pool?.spec.reclaimZeros === 'None',
    isPoolFilling: fullness(pool, node) >= (volume.status?.reclaimsZeros ? FILLING_PERCENT.from : FILLING_PERCENT.until),
    isReopenDue,
    access: desiredAccess(volume, nodes.list(), { self: node, memory: macs, namedMacs, admitted }),
    paths: target.interfaces().flatMap(pathsOf),
  };
}

/** How full the thin pool on a node was when it was last measured, in percent: its data or its metadata. 0 for other pools, and when that is not known. */
function fullness(pool: AoEPool | undefined, node: string): number {
  const { dataPercent = '0', metadataPercent = '0' } = pool?.status?.nodes?.find(({ name }) => name === node) ?? {};
  return Math.max(Number(dataPercent), Number(metadataPercent));
}

/** MAC addresses in lower case, in order. */
export function sortedMacs(macs: readonly string[]): string[] {
  return macs.map((mac) => mac.toLowerCase()).sort();
}

function pathsOf({ name, mac, mtu, serving }: TargetInterface): Observed['paths'] {
  return serving && mac ? [{ interface: name, mac, mtu, ...(name === TARGET_END ? { local: true } : {}) }] : [];
}
