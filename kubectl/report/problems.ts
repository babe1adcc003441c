import { notReady } from '../../api/kube-node.ts';
import type { Condition } from '../../api/meta.ts';
import { type AoENode, NodeCondition } from '../../api/node.ts';
import { type AoEPool, PoolCondition } from '../../api/pool.ts';
import { type AoESnapshot, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import type { Machine, PersistentVolume, Pod } from '../cluster/objects.ts';
import { claimText, handleOf } from '../cluster/volumes.ts';

/** Something that is not well. */
export interface Problem {
  /** Kind and name: `volume pvc-1`. */
  readonly subject: string;
  /** Reason of a condition, which docs/conditions.md explains, or a word of Kubernetes. */
  readonly reason: string;
  readonly message: string;
}

/** An agent reports about once a minute; after this, in milliseconds, it counts as silent (api/agent-liveness.ts). */
const SILENT_MS = 5 * 60_000;
/** Reasons of conditions that are True, and still say that something is missing. */
const ATTENTION = new Set([
  'InterfaceMissing',
  'NeedsAttention',
  'InitiatorsMissing',
  'TooManyInitiators',
  'LimitsNotEnforced',
  'NotGrown',
  'NoRoomToGrow',
]);
/** Conditions of a volume that are False when nothing is wrong. */
const QUIET: ReadonlySet<string> = new Set([VolumeCondition.Locked, VolumeCondition.EnforcedByTarget, VolumeCondition.AddressConflict]);

export function conditionOf(
  object: { status?: { conditions?: Condition[] | undefined } | undefined },
  type: string,
): Condition | undefined {
  return object.status?.conditions?.find((each) => each.type === type);
}

/** What the conditions of a volume say is wrong, the cause first. `Ready` repeats another condition, so it comes only when none does. */
export function volumeProblems(volume: AoEVolume): Problem[] {
  const subject = `volume ${volume.metadata.name}`;
  const conditions = volume.status?.conditions ?? [];
  const wrong = conditions.filter((condition) => isWrong(condition));
  const ready = conditions.find(({ type }) => type === VolumeCondition.Ready);
  const others = wrong.filter(({ type, message }) => type !== VolumeCondition.Ready && message !== ready?.message);
  const shown = ready && isWrong(ready) ? [ready, ...others] : others;
  const problems = shown.map(({ reason, message }) => ({ subject, reason, message }));
  const lock = lockProblem(volume);
  const problem = [...problems, ...(lock ? [{ subject, ...lock }] : [])];
  if (problem.length > 0 || ready) return problem;
  return [{ subject, reason: 'Waiting', message: 'nothing has been reported about it yet: does the operator run?' }];
}

function isWrong({ type, status, reason }: Condition): boolean {
  if (type === VolumeCondition.AddressConflict) return status === 'True';
  return QUIET.has(type) ? false : status !== 'True' || ATTENTION.has(reason);
}

/** A config string that is not a lock of the volume keeps all nodes away. */
function lockProblem(volume: AoEVolume): { reason: string; message: string } | undefined {
  const { reason = '', message = '' } = conditionOf(volume, VolumeCondition.Locked) ?? {};
  return reason === 'NotOurs' || reason === 'OtherVolume' ? { reason, message } : undefined;
}

/**
 * PersistentVolumes whose AoEVolume is gone. A released one does not count: csi-provisioner removes the AoEVolume first, and then it.
 * @param volumes read after the PersistentVolumes, since an AoEVolume is there before its PersistentVolume
 */
export function danglingProblems(persistentVolumes: readonly PersistentVolume[], volumes: readonly AoEVolume[]): Problem[] {
  const names = new Set(volumes.map(({ metadata }) => metadata.name));
  return persistentVolumes.flatMap((persistentVolume) => {
    const name = handleOf(persistentVolume);
    if (name === undefined || names.has(name) || persistentVolume.status?.phase === 'Released') return [];
    const { namespace = '', name: claim } = persistentVolume.spec.claimRef ?? {};
    const of = claim === undefined ? '' : ` (claim ${claimText({ namespace, name: claim })})`;
    return [{ subject: `volume ${name}${of}`, reason: 'NoAoEVolume', message: danglingText(persistentVolume) }];
  });
}

export function danglingText({ metadata }: PersistentVolume): string {
  return `PersistentVolume ${metadata.name} names it, and there is no such AoEVolume: was its finalizer removed, or were objects restored without it? See kubectl aoe orphans for the data`;
}

/** @param now in milliseconds */
export function nodeProblems(node: AoENode, now: number): Problem[] {
  const subject = `node ${node.metadata.name}`;
  const problems = [NodeCondition.InitiatorReady, NodeCondition.TargetReady].flatMap((type) => {
    const condition = conditionOf(node, type);
    if (!condition || (condition.status === 'True' && !ATTENTION.has(condition.reason))) return [];
    return [{ subject, reason: condition.reason, message: `${type} is ${condition.status}: ${condition.message}` }];
  });
  if (!conditionOf(node, NodeCondition.InitiatorReady) && !isStorage(node))
    problems.push({ subject, reason: 'Waiting', message: 'the node plugin has reported nothing: does its aoe-csi-node pod run?' });
  const silent = silenceOf(node, now);
  return silent === undefined ? problems : [...problems, { subject, reason: 'Silent', message: silent }];
}

/** Whether an agent reports for the node. */
export function isStorage(node: AoENode): boolean {
  return conditionOf(node, NodeCondition.TargetReady) !== undefined || node.status?.agentSeen !== undefined;
}

/** Why an agent counts as silent, by the clock of this machine. */
export function silenceOf({ metadata, status }: AoENode, now: number): string | undefined {
  const seen = Date.parse(status?.agentSeen ?? '');
  if (Number.isNaN(seen) || now - seen < SILENT_MS) return undefined;
  return `the agent on ${metadata.name} has not reported since ${status?.agentSeen}: does its aoe-csi-agent pod run? Is the clock of this machine right?`;
}

export function machineProblems(machine: Machine): Problem[] {
  const why = notReady(machine);
  return why === undefined ? [] : [{ subject: `node ${machine.metadata.name}`, reason: 'NotReady', message: why }];
}

export function poolProblems(pool: AoEPool): Problem[] {
  const subject = `pool ${pool.metadata.name}`;
  const ready = conditionOf(pool, PoolCondition.Ready);
  if (!ready) return [{ subject, reason: 'Waiting', message: 'nothing has been reported about it yet: does the operator run?' }];
  if (ready.status === 'True' && !ATTENTION.has(ready.reason)) return [];
  return [{ subject, reason: ready.reason, message: ready.message }];
}

export function snapshotProblems(snapshot: AoESnapshot): Problem[] {
  const ready = conditionOf(snapshot, SnapshotCondition.Ready);
  if (snapshot.status?.phase !== 'Failed' || !ready) return [];
  return [{ subject: `snapshot ${snapshot.metadata.name}`, reason: ready.reason, message: ready.message }];
}

export function isReadyPod({ status }: Pod): boolean {
  return (status?.conditions ?? []).some((each) => each.type === 'Ready' && each.status === 'True');
}

/** What keeps a pod from being Ready; nothing for a pod that has done its work. */
export function podProblems(pod: Pod): Problem[] {
  const { phase, conditions = [], containerStatuses = [] } = pod.status ?? {};
  if (phase === 'Succeeded' || isReadyPod(pod)) return [];
  const subject = `pod ${pod.metadata.namespace ?? ''}/${pod.metadata.name}`;
  const on = pod.spec.nodeName === undefined ? '' : ` on ${pod.spec.nodeName}`;
  const containers = containerStatuses.flatMap(({ name, ready, state }) => {
    const why = state?.waiting ?? state?.terminated;
    if (ready || !why) return [];
    const said = state?.waiting?.message;
    return [{ subject, reason: why.reason ?? 'NotReady', message: `container ${name}${on}: ${said ?? why.reason ?? 'is not ready'}` }];
  });
  if (containers.length > 0) return containers;
  const unscheduled = conditions.find(({ type, status }) => type === 'PodScheduled' && status !== 'True');
  if (unscheduled) return [{ subject, reason: unscheduled.reason ?? 'NotScheduled', message: unscheduled.message ?? 'it has no node yet' }];
  return [{ subject, reason: phase ?? 'Unknown', message: `it is not Ready${on}` }];
}
