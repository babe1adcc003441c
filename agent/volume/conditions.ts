import { parseLock } from '../../aoe/mod.ts';
import { formatAddress } from '../../api/address.ts';
import type { Condition } from '../../api/meta.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, DELETE_DATA, DELETION_WAITS, VolumeCondition } from '../../api/volume.ts';
import type { Cleanness } from '../backends/backend.ts';
import type { Copying } from '../copier/copy-in.ts';
import { describeHolder, readHolder } from '../lock/holder.ts';
import type { TargetError, TargetVolumeState } from '../target/api.ts';
import type { AvailableData, DataResult } from './data.ts';
import type { Observed } from './observe.ts';
import type { Outcome } from './outcome.ts';
import { awaitsSource, isUsed, lacksLimits, type Obstacle, type Plan } from './plan.ts';
import type { RemovalWait } from './removal.ts';
import type { Wiping } from './wipe-meter.ts';

/** A condition without its type: what `kubectl describe` shows. docs/conditions.md explains every reason. */
export type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

type ConditionType = (typeof VolumeCondition)[keyof typeof VolumeCondition];

/** The conditions that this reconcile has something to say about. All reasons of the agent's conditions of a volume are named here. */
export function conditionsOf(volume: AoEVolume, seen: Observed, plan: Plan, outcome: Outcome): Map<ConditionType, Verdict> {
  const verdicts = new Map<ConditionType, Verdict>();
  const set = (type: ConditionType, verdict: Verdict | undefined): void => {
    if (verdict) verdicts.set(type, verdict);
  };
  set(VolumeCondition.Provisioned, seen.data ? provisioned(volume, seen.data) : seen.wiping && wiping(seen.wiping));
  if (seen.targetProblem === undefined) set(VolumeCondition.AddressConflict, addressConflict(volume, seen));
  if (outcome.confirmed) {
    set(VolumeCondition.Exported, exported(volume, outcome.confirmed, seen));
    const message = 'the target refuses hosts that are not in status.initiators';
    set(VolumeCondition.EnforcedByTarget, { status: 'True', reason: 'AccessList', message });
  }
  if (outcome.holderSeen) set(VolumeCondition.Locked, locked(volume, outcome.holderSeen.configString));
  if (plan.action === 'wait' || plan.action === 'withdraw') set(VolumeCondition.Exported, notExported(volume, seen, plan.obstacle));
  if (plan.action === 'lend') {
    const message = `it is being moved, and is served at ${formatAddress(volume.spec.address ?? { shelf: 0, slot: 0 })} to node ${plan.to} alone, which copies its data; no host gets a disk of it`;
    set(VolumeCondition.Exported, { status: 'False', reason: 'ServedForMove', message });
  }
  if (outcome.removal?.outcome === 'waiting') {
    const before = verdicts.get(VolumeCondition.Exported) ?? conditionOf(volume, VolumeCondition.Exported);
    for (const [type, verdict] of removalWaits(volume, outcome.removal.wait, {
      exported: before?.status ?? 'False',
      isServed: seen.exported !== undefined,
    }))
      set(type, verdict);
  }
  if (outcome.error) set(VolumeCondition.Exported, targetFailure(outcome.error));
  return verdicts;
}

/** Condition of the volume as it was last written. */
export function conditionOf({ status }: AoEVolume, type: ConditionType): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}

const CLEANNESS: Record<Cleanness, string> = {
  zeroed: '',
  discarded: '; it was wiped by discard, after which a disk need not read as zeros',
  ends: '; only its first and last MiB were zeroed when it was made, so the rest may show data of an earlier volume',
};

function provisioned({ spec }: AoEVolume, data: DataResult): Verdict {
  const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
  switch (data.kind) {
    case 'available':
      return available(data, spec.capacity ?? '0');
    case 'no-pool':
      return no('NoSuchPool', `AoEPool ${spec.pool} does not exist: create it`);
    case 'no-source':
      return no(data.reason ?? 'SourceNotReady', data.message);
    case 'copying':
      return no(data.failed ? 'CopyFailed' : 'Copying', copying(data));
    case 'half-copy':
      return no(
        'HalfCopy',
        `${data.name} is marked as a copy that is not whole: its source was replaced by another snapshot, or the metadata of its volume group or directory comes from a backup; it is not exported. Bring the newer metadata back, or delete the AoEVolume`,
      );
    case 'lost':
      return no('BackingLost', `${data.path} is gone, and with it the data: bring it back under that name, or delete the AoEVolume`);
    case 'namesakes':
      return no('OrphanOfSameName', orphanOfSameName(data.found));
    case 'older-copy':
      return no(
        'OlderCopy',
        `${data.name} is an older copy of the data: it was served up to move ${data.moves} of the volume, and there was move ${data.expected} meanwhile; it is not exported. Bring the newer data back: docs/recovery.md, "Disks in another machine", says how`,
      );
    case 'shrunk':
      return no(
        'BackingTooSmall',
        `${data.name} has ${data.bytes} bytes instead of ${data.expected}: it was made smaller, and is not exported`,
      );
    case 'failed':
      return no(data.error.reason, data.error.message);
  }
}

function wiping({ zeroed, bytes, remainingMs }: Wiping): Verdict {
  const left = remainingMs === undefined ? '' : `, about ${Math.ceil(remainingMs / 60_000)} min left`;
  const progress = `${formatQuantity(zeroed)} of ${formatQuantity(bytes)} done${left}`;
  const message = `the new volume is overwritten with zeros before its first use, because its disk space may hold data of a deleted volume: ${progress}`;
  return { status: 'False', reason: 'Wiping', message };
}

function copying({ phase, bytesDone, bytesTotal, from, problem, failed }: Copying): string {
  const what = phase === 'Verifying' ? 'compared' : 'copied';
  const progress = `the data is copied from ${from}: ${formatQuantity(bytesDone)} of ${formatQuantity(bytesTotal)} ${what}`;
  if (failed) return `${progress}. The copy failed and is tried again every minute: ${problem}; to give it up, delete the volume`;
  return problem === '' ? progress : `${progress}. It waits: ${problem}`;
}

function orphanOfSameName(found: Extract<DataResult, { kind: 'namesakes' }>['found']): string {
  const names = found.map(({ name, uid }) => `${name} (UID ${uid})`).join(' and ');
  const advice = 'retain it or remove it on the node: docs/storage.md, "Data of the same name", says how';
  return `there is data of an earlier AoEVolume of this name, in ${names}: it is not used for this one, and nothing is created while it is there; ${advice}. If it is just being removed, this volume is created after that`;
}

function available({ name, bytes, growthProblem, cleanness, adopted }: AvailableData, capacity: string): Verdict {
  const before = adopted === undefined ? '' : `, which was ${adopted} before it was adopted`;
  const message = `the data is in ${name}${before}${cleanness ? CLEANNESS[cleanness] : ''}`;
  if (growthProblem === undefined) return { status: 'True', reason: 'Provisioned', message };
  const state =
    bytes < parseQuantity(capacity)
      ? `it still has ${formatQuantity(bytes)} instead of the ${capacity} of spec.capacity`
      : `it has ${formatQuantity(bytes)}, and an earlier growth beyond that is not finished`;
  return { status: 'True', reason: growthProblem.reason, message: `${message}; ${state}: ${growthProblem.message}` };
}

function addressConflict(volume: AoEVolume, { probe, exported, data }: Observed): Verdict | undefined {
  const { spec } = volume;
  if (!probe || 'error' in probe) return undefined;
  const { stranger } = probe;
  if (!stranger) return { status: 'False', reason: 'NoAnswer', message: 'no other target answers at the address' };
  const at = formatAddress(spec.address ?? { shelf: 0, slot: 0 });
  if (!exported && awaitsSource(volume)) {
    // Until its data is whole, the address is that of the source.
    if (data?.kind !== 'available') return undefined;
    const message = `the data is whole: stop the target from which it was copied, ${stranger.mac} on ${stranger.interface}, which still answers at ${at}. The volume is served once that target has been silent for half a minute`;
    return { status: 'True', reason: 'AnsweredBySource', message };
  }
  const found = `${stranger.mac} on ${stranger.interface} answers at ${at}, too`;
  const advice =
    exported && isUsed(exported)
      ? 'the volume is in use and still served, but a host may send its writes to either target: take the other target off the segment at once'
      : 'take one of the two targets off the segment; the address is probed again every half minute';
  return { status: 'True', reason: 'AnsweredByOther', message: `${found}: ${advice}` };
}

const LIMITS_NOT_ENFORCED =
  'the target serves the volume without spec.limits, because it is of an earlier version: replace its pod, as docs/upgrade.md, "Upgrade", says';

const TARGET_TOO_OLD =
  'the target on this node is of an earlier version: it would also export the bytes behind the data, which no host may see; replace its pod, as docs/upgrade.md, "Upgrade", says';

function exported(wanted: AoEVolume, { error, volume }: TargetVolumeState, { access, knowsLimits }: Observed): Verdict {
  if (error) return { status: 'False', reason: 'DeviceFailed', message: `the target cannot use ${volume.path}: ${error}` };
  if (access.refused) return { status: 'True', reason: 'TooManyInitiators', message: access.refused };
  if (access.problems.length > 0) return { status: 'True', reason: 'InitiatorsMissing', message: access.problems.join('; ') };
  if (lacksLimits(wanted, { knowsLimits })) return { status: 'True', reason: 'LimitsNotEnforced', message: LIMITS_NOT_ENFORCED };
  return { status: 'True', reason: 'Exported', message: 'the target serves the volume' };
}

/** Reasons of condition Exported that stay until the data was looked at again. */
const OUTLASTS_PENDING: ReadonlySet<string> = new Set(['NotProvisioned', 'AnsweredBySource', 'AddressConflict']);

function notExported(volume: AoEVolume, seen: Observed, obstacle: Obstacle): Verdict {
  const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
  switch (obstacle.because) {
    case 'place-refused':
      return no('AddressTaken', obstacle.message);
    case 'target-away': {
      const waits = volume.metadata.deletionTimestamp ? DELETION_WAITS : '';
      const message = `${waits}the target process does not answer (${obstacle.problem})`;
      return { status: 'Unknown', reason: 'TargetUnavailable', message };
    }
    case 'data-pending': {
      // What was found last stays, or the two messages would take turns where data takes long each time.
      const last = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Exported);
      if (last && OUTLASTS_PENDING.has(last.reason)) return no(last.reason, last.message);
      return no('NotProvisioned', 'the data is still being opened or made');
    }
    case 'no-data':
      return no('NotProvisioned', 'there is no data to serve: see condition Provisioned');
    case 'target-too-old':
      return no('TargetTooOld', TARGET_TOO_OLD);
    case 'no-address':
      return no('NoAddress', 'the operator has not assigned an address yet');
    case 'not-probed':
      return no('SegmentNotAsked', 'the address must be probed again before the volume is served again');
    case 'probe-failed':
      return no('SegmentNotAsked', obstacle.problem);
    case 'moving':
      return no('Moving', `the volume is being moved, and nobody can have it meanwhile: ${obstacle.message}`);
    case 'stranger': {
      const reason = !seen.exported && awaitsSource(volume) ? 'AnsweredBySource' : 'AddressConflict';
      return no(reason, addressConflict(volume, seen)?.message ?? '');
    }
    case 'silent-source': {
      const at = formatAddress(volume.spec.address ?? { shelf: 0, slot: 0 });
      return no(
        'AnsweredBySource',
        `the data is whole, and nobody answers at ${at} any more: the volume is served once that has been so for half a minute`,
      );
    }
  }
}

function removalWaits(
  { metadata: { name } }: AoEVolume,
  wait: RemovalWait,
  { exported, isServed }: { exported: Condition['status']; isServed: boolean },
): [ConditionType, Verdict][] {
  const waits = (reason: string, message: string): [ConditionType, Verdict][] => [
    [VolumeCondition.Exported, { status: exported, reason, message: `${DELETION_WAITS}${message}` }],
  ];
  const off: [ConditionType, Verdict] = [
    VolumeCondition.Exported,
    { status: 'False', reason: 'Removing', message: 'the volume is being deleted' },
  ];
  switch (wait.for) {
    case 'user':
      return waits('InUse', wait.user);
    case 'deletion':
      return waits('InUse', 'it is not deleted any more');
    case 'data':
      return waits('Removing', 'its data is still being opened or made');
    case 'removal':
      // What the last attempt has failed of stays until this one has ended.
      return isServed ? [] : [off];
    case 'persistent-volume': {
      const remove = `delete the PersistentVolume, or run: kubectl annotate --overwrite aoev ${name} ${DELETE_DATA}=${wait.uid}`;
      return waits(
        'NamedByPersistentVolume',
        `PersistentVolume ${wait.name} names the volume, so its data is kept; to remove it, ${remove}`,
      );
    }
    case 'api-server':
      return waits('PersistentVolumesUnknown', `the agent cannot find out whether a PersistentVolume names the volume: ${wait.problem}`);
    case 'pool':
      return waits('NoSuchPool', `AoEPool ${wait.pool}, which holds the data, does not exist: create it again, or remove the finalizer`);
    case 'backend':
      return [
        [
          VolumeCondition.Provisioned,
          { status: wait.provisioned ? 'True' : 'Unknown', reason: 'RemovalFailed', message: `${DELETION_WAITS}${wait.error.message}` },
        ],
        off,
      ];
  }
}

const TARGET_REASONS: Record<TargetError['reason'], readonly ['False' | 'Unknown', string]> = {
  unavailable: ['Unknown', 'TargetUnavailable'],
  waits: ['Unknown', 'WaitsForDisk'],
  'not-found': ['False', 'PathMissing'],
  conflict: ['False', 'AddressInUse'],
  invalid: ['False', 'TargetRefused'],
  precondition: ['False', 'TargetRefused'],
  failed: ['False', 'TargetFailed'],
};

function targetFailure(error: TargetError): Verdict {
  const [status, reason] = TARGET_REASONS[error.reason];
  return { status, reason, message: error.message };
}

/** Condition Locked, from the config string. */
function locked({ metadata: { uid }, spec: { access } }: AoEVolume, configString: Uint8Array): Verdict {
  const holder = readHolder(configString);
  if (!holder) {
    const free = (reason: string, message: string): Verdict => ({ status: 'False', reason, message });
    if (access === 'Shared')
      return free('Shared', 'there is no lock: all admitted hosts may write, and must coordinate their writes themselves');
    if (access === 'ReadOnlyMany') return free('ReadOnly', 'there is no lock: nobody can write');
    return free('Free', 'nobody holds the lock');
  }
  const user = describeHolder(holder);
  const held = (reason: string, message: string): Verdict => ({ status: 'True', reason, message });
  if (!holder.node) return held('NotOurs', `held by ${user}: it is respected; docs/locks.md says how to break a lock`);
  if (parseLock(configString)?.volumeUID !== uid) return held('OtherVolume', `held by ${user}, for another volume: "${holder.raw}"`);
  return held('Held', `held by ${user}`);
}
