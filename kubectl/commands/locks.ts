import { notReady } from '../../api/kube-node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { AOE_VOLUMES, type Machine, NODES, PERSISTENT_VOLUMES, type PersistentVolume } from '../cluster/objects.ts';
import { byVolume, claimNameOf, claimText, quoted } from '../cluster/volumes.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { age } from '../report/age.ts';
import { table } from '../report/table.ts';

/** A lock that somebody has. */
export interface Lock {
  readonly volume: string;
  readonly claim?: string | undefined;
  /** A node, or the whole config string when it is not a lock of ours: what break-lock is to be given. */
  readonly holder: string;
  readonly isOurs: boolean;
  readonly since?: string | undefined;
  /** Of the Node that has the lock. `Unknown`: Nodes may not be read. `Foreign`: the holder is no node. Scripts read these words: they stay. */
  readonly node: 'Ready' | 'NotReady' | 'Gone' | 'Unknown' | 'Foreign';
  /** Whether the volume is attached to the holder: spec.initiators has it. */
  readonly isAttached: boolean;
  /** What is odd about it. */
  readonly note?: string | undefined;
}

/** @param machines undefined when Nodes may not be read */
export function locksOf(
  volumes: readonly AoEVolume[],
  persistentVolumes: readonly PersistentVolume[] | undefined,
  machines: readonly Machine[] | undefined,
): Lock[] {
  const named = byVolume(persistentVolumes);
  return volumes
    .flatMap((volume) => {
      const { holder } = volume.status ?? {};
      if (!holder) return [];
      const { name } = volume.metadata;
      const claim = claimText(claimNameOf(volume, named.get(name))) || undefined;
      const isOurs = holder.node !== undefined;
      const machine = machines?.find(({ metadata }) => metadata.name === holder.node);
      const node = isOurs ? stateOf(machine, machines !== undefined) : 'Foreign';
      const isAttached = holder.node !== undefined && (volume.spec.initiators.nodes ?? []).includes(holder.node);
      const note = noteOf(volume, node, isAttached, machine);
      return [{ volume: name, claim, holder: holder.node ?? holder.raw, isOurs, since: holder.since, node, isAttached, note }];
    })
    .toSorted((a, b) => a.volume.localeCompare(b.volume));
}

function stateOf(machine: Machine | undefined, isKnown: boolean): Lock['node'] {
  if (!isKnown) return 'Unknown';
  if (!machine) return 'Gone';
  return notReady(machine) === undefined ? 'Ready' : 'NotReady';
}

function noteOf(volume: AoEVolume, node: Lock['node'], isAttached: boolean, machine: Machine | undefined): string | undefined {
  if (node === 'Foreign') return 'not a lock of this project: no node gets the volume until it is cleared';
  if (node === 'Gone') return 'there is no such node: the lock is cleared when the volume is detached from it';
  if (node === 'NotReady') return notReady(machine);
  if (!isAttached && !volume.spec.external) return 'the volume is not attached to it: the agent clears such a lock';
  return undefined;
}

export function locksText(locks: readonly Lock[], now: number): string[] {
  if (locks.length === 0) return ['Nobody has a lock.'];
  const rows = locks.map(({ volume, claim = '', holder, isOurs, since, node, note = '' }) => [
    volume,
    claim,
    isOurs ? holder : quoted(holder),
    since === undefined ? '' : age(since, now),
    node === 'Foreign' ? '' : node,
    note,
  ]);
  return table(['VOLUME', 'CLAIM', 'HOLDER', 'HELD FOR', 'NODE', 'NOTE'], rows);
}

export async function locks(context: Context): Promise<ExitStatus> {
  const { reader } = context;
  const [volumes, persistentVolumes, machines] = await Promise.all([
    reader.list<AoEVolume>(AOE_VOLUMES),
    reader.list<PersistentVolume>(PERSISTENT_VOLUMES),
    reader.list<Machine>(NODES),
  ]);
  if (!volumes) return 1;
  const found = locksOf(volumes, persistentVolumes, machines);
  write(context, { data: { locks: found, notSeen: reader.notSeen }, text: () => locksText(found, context.now()) });
  return 0;
}
