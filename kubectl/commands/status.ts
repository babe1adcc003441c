import { type AoENode, NodeCondition } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import {
  AOE_NODES,
  AOE_POOLS,
  AOE_SNAPSHOTS,
  AOE_VOLUMES,
  type Machine,
  NODES,
  PERSISTENT_VOLUMES,
  type PersistentVolume,
  type Pod,
} from '../cluster/objects.ts';
import { releasePods } from '../cluster/release.ts';
import { byVolume, claimNameOf, claimText } from '../cluster/volumes.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import {
  conditionOf,
  danglingProblems,
  isStorage,
  machineProblems,
  nodeProblems,
  type Problem,
  poolProblems,
  snapshotProblems,
  volumeProblems,
} from '../report/problems.ts';
import { releaseProblems } from '../report/release-problems.ts';
import { knownSegment } from '../report/segment.ts';
import { sizeText } from '../report/size.ts';
import { section, table } from '../report/table.ts';

/** What was read. Absent: it may not be read. */
export interface Observed {
  readonly volumes: readonly AoEVolume[] | undefined;
  readonly pools: readonly AoEPool[] | undefined;
  readonly nodes: readonly AoENode[] | undefined;
  readonly snapshots: readonly AoESnapshot[] | undefined;
  readonly machines: readonly Machine[] | undefined;
  readonly persistentVolumes: readonly PersistentVolume[] | undefined;
  /** Of the release. */
  readonly pods: readonly Pod[] | undefined;
}

export interface Status {
  readonly notWell: readonly Problem[];
  readonly segments: readonly {
    name: string;
    nodes: number;
    storageNodes: number;
    interfaces: readonly string[];
    mtus: readonly number[];
  }[];
  readonly nodes: readonly {
    name: string;
    segment: string;
    initiator: string;
    target: string;
    volumes: number;
    maintenance: boolean;
    kernel: string | undefined;
  }[];
  readonly pools: readonly {
    name: string;
    backend: string;
    ready: string;
    nodes: string;
    size: string;
    free: string;
    volumes: number;
    /** Backing volumes and snapshots. */
    orphans: number;
  }[];
  readonly volumes: readonly { phase: string; count: number; size: string }[];
}

const PHASES = ['Failed', 'Pending', 'Deleting', 'Ready'];

/**
 * @param namespace of the release
 * @param now in milliseconds
 */
export function statusOf(observed: Observed, namespace: string, now: number): Status {
  const { volumes = [], pools = [], nodes = [] } = observed;
  return {
    notWell: problemsOf(observed, namespace, now),
    segments: segmentsOf(nodes, observed.machines),
    nodes: nodes.map((node) => nodeRow(node, observed.machines)).toSorted((a, b) => a.name.localeCompare(b.name)),
    pools: pools.map(poolRow).toSorted((a, b) => a.name.localeCompare(b.name)),
    volumes: PHASES.map((phase) => phaseRow(phase, volumes)).filter(({ count }) => count > 0),
  };
}

function problemsOf(
  { volumes, pools, nodes, snapshots, machines, persistentVolumes, pods }: Observed,
  namespace: string,
  now: number,
): Problem[] {
  const named = byVolume(persistentVolumes);
  const ofVolumes = (volumes ?? []).flatMap((volume) => {
    const claim = claimText(claimNameOf(volume, named.get(volume.metadata.name)));
    return volumeProblems(volume).map((problem) =>
      claim === '' ? problem : { ...problem, subject: `${problem.subject} (claim ${claim})` },
    );
  });
  // Of a machine that has no part in this, others speak.
  const ours = new Set((nodes ?? []).map(({ metadata }) => metadata.name));
  const ofMachines = (machines ?? []).filter(({ metadata }) => ours.has(metadata.name)).flatMap(machineProblems);
  const ofNodes = (nodes ?? []).flatMap((node) => nodeProblems(node, now));
  return [
    ...ofMachines,
    ...releaseProblems({ pods, nodes, machines }, namespace),
    ...ofNodes,
    ...(pools ?? []).flatMap(poolProblems),
    ...ofVolumes,
    ...(volumes && persistentVolumes ? danglingProblems(persistentVolumes, volumes) : []),
    ...(snapshots ?? []).flatMap(snapshotProblems),
  ];
}

function segmentsOf(nodes: readonly AoENode[], machines: readonly Machine[] | undefined): Status['segments'] {
  const bySegment = Map.groupBy(nodes, (node) => knownSegment(node, machines) ?? '?');
  return [...bySegment]
    .map(([name, members]) => {
      const interfaces = members.flatMap(({ status }) => (status?.interfaces ?? []).filter(({ local }) => !local));
      return {
        name,
        nodes: members.length,
        storageNodes: members.filter(isStorage).length,
        interfaces: [...new Set(interfaces.map((each) => each.name))].toSorted(),
        mtus: [...new Set(interfaces.map(({ mtu }) => mtu))].toSorted((a, b) => a - b),
      };
    })
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

function nodeRow(node: AoENode, machines: readonly Machine[] | undefined): Status['nodes'][number] {
  const { metadata, spec, status } = node;
  const machine = machines?.find((each) => each.metadata.name === metadata.name);
  return {
    name: metadata.name,
    segment: knownSegment(node, machines) ?? '?',
    initiator: conditionOf(node, NodeCondition.InitiatorReady)?.reason ?? '',
    target: conditionOf(node, NodeCondition.TargetReady)?.reason ?? '',
    volumes: status?.targets ?? 0,
    maintenance: spec.maintenance,
    kernel: machine?.status?.nodeInfo?.kernelVersion,
  };
}

function poolRow(pool: AoEPool): Status['pools'][number] {
  const { metadata, spec, status } = pool;
  const nodes = status?.nodes ?? [];
  return {
    name: metadata.name,
    backend: spec.backend,
    ready: conditionOf(pool, 'Ready')?.reason ?? '?',
    nodes: `${status?.readyNodes ?? 0}/${nodes.length}`,
    size: status?.size ?? '0',
    free: status?.free ?? '0',
    volumes: nodes.reduce((sum, { volumes = 0 }) => sum + volumes, 0),
    orphans: nodes.reduce((sum, { orphans = [], snapshots }) => sum + orphans.length + (snapshots?.orphans?.length ?? 0), 0),
  };
}

function phaseRow(phase: string, volumes: readonly AoEVolume[]): Status['volumes'][number] {
  const those = volumes.filter(({ status }) => (status?.phase ?? 'Pending') === phase);
  return { phase, count: those.length, size: sizeText(...those.map(({ spec, status }) => status?.capacity ?? spec.capacity)) };
}

/** @param notSeen what may not be read, as {@link Context.reader} notes it */
export function statusText(status: Status, notSeen: readonly string[]): string[] {
  const { notWell, segments, nodes, pools, volumes } = status;
  const fine = notSeen.length === 0 ? 'All is well.' : 'Nothing wrong was found in what you may read.';
  const orphans = pools.reduce((sum, pool) => sum + pool.orphans, 0);
  return [
    ...(notWell.length === 0
      ? [fine]
      : section(
          `NOT WELL (${notWell.length})`,
          notWell.map(({ subject, reason, message }) => `${subject}: ${reason}: ${message}`),
        )),
    ...section(
      'SEGMENTS',
      table(
        ['NAME', 'NODES', 'STORAGE NODES', 'INTERFACES', 'MTU'],
        segments.map(({ name, nodes: count, storageNodes, interfaces, mtus }) => [
          name,
          `${count}`,
          `${storageNodes}`,
          interfaces.join(','),
          mtus.join(','),
        ]),
      ),
    ),
    ...section(
      'NODES',
      table(
        ['NAME', 'SEGMENT', 'INITIATOR', 'TARGET', 'EXPORTS', 'KERNEL'],
        nodes.map(({ name, segment, initiator, target, volumes: exports, maintenance, kernel }) => [
          name,
          segment,
          initiator,
          [target, maintenance ? 'maintenance' : ''].filter(Boolean).join(', '),
          target === '' ? '' : `${exports}`,
          kernel ?? '',
        ]),
      ),
    ),
    ...section(
      'POOLS',
      table(
        ['NAME', 'BACKEND', 'READY', 'NODES', 'SIZE', 'FREE', 'VOLUMES'],
        pools.map(({ name, backend, ready, nodes: count, size, free, volumes: each }) => [
          name,
          backend,
          ready,
          count,
          sizeText(size),
          sizeText(free),
          `${each}`,
        ]),
      ),
    ),
    ...section(
      'VOLUMES',
      table(
        ['PHASE', 'NUMBER', 'SIZE'],
        volumes.map(({ phase, count, size }) => [phase, `${count}`, size]),
      ),
    ),
    ...(orphans > 0 ? ['', `${orphans} orphaned backing volumes and snapshots: kubectl aoe orphans`] : []),
  ];
}

/** Reads all that {@link statusOf} looks at. */
export async function observe({ reader, line: { namespace } }: Pick<Context, 'reader' | 'line'>): Promise<Observed> {
  // Before the AoEVolumes: see danglingProblems().
  const persistentVolumes = await reader.list<PersistentVolume>(PERSISTENT_VOLUMES);
  const [volumes, pools, nodes, snapshots, machines, pods] = await Promise.all([
    reader.list<AoEVolume>(AOE_VOLUMES),
    reader.list<AoEPool>(AOE_POOLS),
    reader.list<AoENode>(AOE_NODES),
    reader.list<AoESnapshot>(AOE_SNAPSHOTS),
    reader.list<Machine>(NODES),
    releasePods(reader, namespace),
  ]);
  return { volumes, pools, nodes, snapshots, machines, persistentVolumes, pods };
}

/** With --exit-code, what could not be read counts as not well: nobody knows. */
export async function status(context: Context): Promise<ExitStatus> {
  const { reader, line } = context;
  const found = statusOf(await observe(context), line.namespace, context.now());
  write(context, { data: { ...found, notSeen: reader.notSeen }, text: () => statusText(found, reader.notSeen) });
  const isWell = found.notWell.length === 0 && reader.notSeen.length === 0;
  return line.isOn('exit-code') && !isWell ? 1 : 0;
}
