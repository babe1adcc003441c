import { TARGET_END } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { type DesiredAccess, desiredAccess } from '../access/desired.ts';
import type { MacMemory } from '../access/mac-memory.ts';
import type { LockStory } from '../lock/events.ts';
import { holderOf, lockCondition, staleLock } from '../lock/holder.ts';
import { type TargetAccess, TargetError, type TargetVolume, type TargetVolumeState } from '../target/api.ts';
import type { TargetLink } from '../target/connection.ts';
import { serialOf, type VolumeStatus } from './status.ts';

export interface ServeContext {
  /** Name of this node. */
  node: string;
  nodes: () => readonly AoENode[];
  memory: MacMemory;
  target: TargetLink;
  /** The volume as the API server itself has it now, not as a watch last told; undefined when it is gone. */
  fresh: (volume: AoEVolume, signal: AbortSignal) => Promise<AoEVolume | undefined>;
  /** Whether a volume in trouble may be opened again now: each attempt is itself a change that leads back here. */
  mayReopen: (uid: string) => boolean;
  story: Pick<LockStory, 'fenced' | 'cleared'>;
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((each, index) => each === b[index]);

function sorted(macs: readonly string[]): string[] {
  return macs.map((mac) => mac.toLowerCase()).sort();
}

/**
 * Serves a volume to those whom its spec lets in, takes away the lock of a node that is let in no more, and notes all of it
 * in the status. What is as it should be costs no call.
 * @param path the data; undefined leaves what is served as it is, and changes only who is let in
 * @throws TargetError
 */
export async function serve(
  context: ServeContext,
  volume: AoEVolume,
  path: string | undefined,
  status: VolumeStatus,
  signal: AbortSignal,
): Promise<TargetVolumeState | undefined> {
  const { target } = context;
  const { uid = '' } = volume.metadata;
  let state = target.state(uid);
  const inForce = sorted(state?.volume.macs ?? []);
  const desired = decide(context, volume, state);
  const macs = desired.refused ? inForce : desired.macs;
  const access: TargetAccess = { macs, writesNeedLock: needsLock(volume) && target.supports('writes_need_lock') };
  const stale =
    state && !desired.refused && staleLock(state.configString, { volumeUID: uid, wanted: wantedNodes(volume), inForce: desired.nodes });
  if (stale || inForce.some((mac) => !macs.includes(mac))) {
    // Someone is to be cut off: never by an old view of the volume. A newer one is on its way to us, and comes back here.
    const fresh = await context.fresh(volume, signal);
    if (!fresh || !same(hosts(fresh), hosts(volume))) return state;
  }

  if (path !== undefined) {
    const wanted = exportOf(volume, path, access);
    if (!state || !sameExport(state, wanted) || (state.error && context.mayReopen(uid))) state = await target.export(wanted, signal);
  }
  if (!state) return undefined;
  if (!same(sorted(state.volume.macs), macs) || state.volume.writesNeedLock !== access.writesNeedLock)
    state = await target.setAccess(uid, access, signal);
  if (stale) {
    if (inForce.some((mac) => !macs.includes(mac))) context.story.fenced(volume, stale);
    try {
      state = await target.replaceConfigString(uid, state.configString, new Uint8Array(), signal);
      context.story.cleared(volume, stale);
    } catch (error) {
      // It changed just now: the change leads back here.
      if (!(error instanceof TargetError) || error.reason !== 'precondition') throw error;
    }
  }
  note(volume, state, desired, status);
  return state;
}

/** Who shall be let in. What a target has lost, the status still tells. */
function decide({ node, nodes, memory }: ServeContext, volume: AoEVolume, state: TargetVolumeState | undefined): DesiredAccess {
  const known = nodes();
  memory.noteNodes(known);
  memory.noteSpec(volume.metadata.uid ?? '', volume.spec.initiators?.macs ?? []);
  const inForce = sorted(state?.volume.macs ?? volume.status?.initiators?.macs ?? []);
  return desiredAccess(volume, known, { self: node, memory, inForce });
}

function wantedNodes({ spec }: AoEVolume): string[] {
  return spec.initiators?.nodes ?? [];
}

function hosts({ spec }: AoEVolume): string[] {
  return [...(spec.initiators?.nodes ?? []), ...(spec.initiators?.macs ?? [])].sort();
}

/**
 * Nodes take the lock of an Exclusive volume before they write: one that was shut out, and is let in again, has then thrown away
 * what it had of before. Hosts in spec.initiators.macs know nothing of a lock.
 */
function needsLock({ spec }: AoEVolume): boolean {
  return spec.access === 'Exclusive' && (spec.initiators?.macs ?? []).length === 0;
}

function exportOf({ metadata, spec }: AoEVolume, path: string, access: TargetAccess): TargetVolume {
  const { uid = '' } = metadata;
  const { shelf, slot } = spec.address ?? { shelf: 0, slot: 0 };
  return { uid, shelf, slot, path, serial: serialOf(uid), readOnly: spec.access === 'ReadOnlyMany', ...access };
}

/** All but who is let in, which has a call of its own. */
function sameExport({ volume }: TargetVolumeState, wanted: TargetVolume): boolean {
  return (
    volume.shelf === wanted.shelf &&
    volume.slot === wanted.slot &&
    volume.path === wanted.path &&
    volume.serial === wanted.serial &&
    volume.readOnly === wanted.readOnly
  );
}

function note(volume: AoEVolume, state: TargetVolumeState, desired: DesiredAccess, status: VolumeStatus): void {
  if (state.error)
    status.condition(VolumeCondition.Exported, 'False', 'DeviceFailed', `the target cannot use ${state.volume.path}: ${state.error}`);
  else if (desired.refused) status.condition(VolumeCondition.Exported, 'True', 'TooManyInitiators', desired.refused);
  else if (desired.problems.length > 0)
    status.condition(VolumeCondition.Exported, 'True', 'InitiatorsMissing', desired.problems.join('; '));
  else status.condition(VolumeCondition.Exported, 'True', 'Exported', 'the target serves it');
  status.condition(VolumeCondition.EnforcedByTarget, 'True', 'AccessList', 'the target serves nobody who is not in force');
  status.now.serial = state.volume.serial;
  if (!desired.refused) {
    const observedGeneration = volume.metadata.generation ?? 0;
    status.now.initiators = { observedGeneration, nodes: desired.nodes, macs: sorted(state.volume.macs) };
  }
  noteHolder(volume, state, status);
}

/** status.holder and condition Locked from the config string. */
export function noteHolder(volume: AoEVolume, state: TargetVolumeState, status: VolumeStatus): void {
  const { status: locked, reason, message } = lockCondition(volume, state.configString);
  status.condition(VolumeCondition.Locked, locked, reason, message);
  const holder = holderOf(state.configString);
  if (holder) status.now.holder = holder;
  else delete status.now.holder;
}

/** status.paths: the interfaces on which the target answers now. */
export function notePaths(target: TargetLink, status: VolumeStatus): void {
  status.now.paths = target
    .interfaces()
    .filter(({ serving, mac }) => serving && mac)
    .map(({ name, mac, mtu }) => ({ interface: name, mac, mtu, ...(name === TARGET_END ? { local: true } : {}) }));
}
