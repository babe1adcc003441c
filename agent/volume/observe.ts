import { TARGET_END } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { type DesiredAccess, desiredAccess } from '../access/desired.ts';
import type { MacMemory } from '../access/mac-memory.ts';
import type { Stranger } from '../address/probe.ts';
import type { TargetInterface, TargetVolumeState } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import type { DataResult } from './data.ts';
import type { VolumeMemory } from './memory.ts';

/** Feature of the target: the size of a volume is part of its definition. */
export const EXPORTED_SIZE = 'exported_size';

/** What a probe of the volume's address found, or why the address could not be probed. */
export type ProbeResult = { stranger: Stranger | undefined } | { error: string };

/** Everything that a plan depends on, beside the AoEVolume itself. */
export interface Observed {
  /** Whether the data was ever made: then it is looked for, and never made again. */
  provisioned: boolean;
  /** What came of the data in this reconcile; undefined when that is not known yet, or was not asked for. */
  data: DataResult | undefined;
  /** Undefined when the address was not probed. */
  probe: ProbeResult | undefined;
  /** Milliseconds until the address is to be probed again. */
  nextProbeMs: number;
  /** Why the target process does not answer; undefined when it does. */
  targetProblem: string | undefined;
  /** The volume as the target serves it; undefined when it does not. */
  exported: TargetVolumeState | undefined;
  /** Whether the target knows writes that need the lock. */
  knowsWritesNeedLock: boolean;
  /** Whether the target is told the size of a volume. Without that, no volume grows. */
  knowsExportedSize: boolean;
  /** Whether the target may be asked now to open the disk again. */
  isReopenDue: boolean;
  access: DesiredAccess;
  /** The interfaces on which the target answers. */
  paths: NonNullable<NonNullable<AoEVolume['status']>['paths']>;
}

/** Whether the volume's data was ever made. From then on it is looked for, and never made again. */
export function wasProvisioned({ status }: AoEVolume): boolean {
  return status?.capacity !== undefined;
}

/** UIDs of those volumes in a pool that have data. */
export function provisionedUids(volumes: readonly AoEVolume[], pool: string): string[] {
  return volumes.filter((volume) => volume.spec.pool === pool && wasProvisioned(volume)).map(({ metadata }) => metadata.uid ?? '');
}

export interface ObserveContext {
  /** Name of this node. */
  node: string;
  nodes: { list(): AoENode[] };
  macs: MacMemory;
  target: Pick<TargetConnection, 'connected' | 'problem' | 'state' | 'supports' | 'interfaces'>;
}

/** What is known of a volume at this moment: reads, and changes nothing. */
export function observe(
  { node, nodes, macs, target }: ObserveContext,
  volume: AoEVolume,
  { namedMacs, addressSchedule, isReopenDue }: Pick<VolumeMemory, 'namedMacs' | 'addressSchedule' | 'isReopenDue'>,
  { data, probe }: Pick<Observed, 'data' | 'probe'>,
): Observed {
  const exported = target.state(volume.metadata.uid ?? '');
  // A target that lost the volume admits no initiator; the status still has those that it admitted before.
  const admitted = sortedMacs(exported?.volume.macs ?? volume.status?.initiators?.macs ?? []);
  return {
    provisioned: wasProvisioned(volume),
    data,
    probe,
    nextProbeMs: addressSchedule.waitMs,
    targetProblem: target.connected ? undefined : target.problem,
    exported,
    knowsWritesNeedLock: target.supports('writes_need_lock'),
    knowsExportedSize: target.supports(EXPORTED_SIZE),
    isReopenDue,
    access: desiredAccess(volume, nodes.list(), { self: node, memory: macs, namedMacs, admitted }),
    paths: target.interfaces().flatMap(pathsOf),
  };
}

/** MAC addresses in lower case, in order. */
export function sortedMacs(macs: readonly string[]): string[] {
  return macs.map((mac) => mac.toLowerCase()).sort();
}

function pathsOf({ name, mac, mtu, serving }: TargetInterface): Observed['paths'] {
  return serving && mac ? [{ interface: name, mac, mtu, ...(name === TARGET_END ? { local: true } : {}) }] : [];
}
