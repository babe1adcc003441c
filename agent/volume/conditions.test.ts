import { formatLock } from '../../aoe/mod.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { BackendError } from '../backends/backend.ts';
import { TargetError, type TargetVolumeState } from '../target/api.ts';
import { conditionsOf } from './conditions.ts';
import type { DataResult } from './data.ts';
import type { Observed } from './observe.ts';
import type { Outcome } from './outcome.ts';
import type { Obstacle, Plan } from './plan.ts';
import type { RemovalWait } from './removal.ts';

const MiB = 1 << 20;
const volume = {
  metadata: { name: 'v1', uid: 'u-1' },
  spec: { pool: 'fast', capacity: '20Mi', access: 'Exclusive', address: { shelf: 7, slot: 3 } },
} as unknown as AoEVolume;
const deleted = { ...volume, metadata: { ...volume.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
const state = (configString: Uint8Array | string = '', rest: Partial<TargetVolumeState> = {}): TargetVolumeState =>
  ({ volume: { path: '/dev/x', macs: [] }, bytes: 0, configString: Buffer.from(configString), error: '', ...rest }) as never;
const SEEN = { access: { macs: [], nodes: [], problems: [] }, paths: [] } as unknown as Observed;
const WAIT: Plan = { action: 'wait', obstacle: { because: 'data-pending' }, retryMs: undefined };
const SERVE = { action: 'serve' } as Plan;
const REMOVE: Plan = { action: 'remove', access: undefined };

/** One condition as `Status Reason: message`; undefined when there is nothing to say about it. */
function verdict(
  type: string,
  { seen = {}, plan = SERVE, outcome = {}, of = volume }: { seen?: Partial<Observed>; plan?: Plan; outcome?: Outcome; of?: AoEVolume },
) {
  const found = conditionsOf(of, { ...SEEN, ...seen }, plan, outcome).get(type as 'Exported');
  return found && `${found.status} ${found.reason}: ${found.message}`;
}

const data = { kind: 'available', path: '/dev/x', name: 'vg/x', bytes: 20 * MiB, made: false } as const;
for (const [result, want] of [
  [data, 'True Provisioned: the data is in vg/x'],
  [{ ...data, adopted: 'vg/old' }, 'True Provisioned: the data is in vg/x, which was vg/old before it was adopted'],
  [
    { ...data, cleanness: 'ends' },
    'True Provisioned: the data is in vg/x; only its first and last MiB were zeroed when it was made, so the rest may show data of an earlier volume',
  ],
  [
    { ...data, cleanness: 'discarded' },
    'True Provisioned: the data is in vg/x; it was wiped by discard, after which a disk need not read as zeros',
  ],
  [
    { ...data, bytes: 10 * MiB, growthProblem: { reason: 'NoRoomToGrow', message: 'no room' } },
    'True NoRoomToGrow: the data is in vg/x; it still has 10Mi instead of the 20Mi of spec.capacity: no room',
  ],
  [
    { ...data, growthProblem: { reason: 'NotGrown', message: 'it is not exported' } },
    'True NotGrown: the data is in vg/x; it has 20Mi, and an earlier growth beyond that is not finished: it is not exported',
  ],
  [{ kind: 'no-pool' }, 'False NoSuchPool: AoEPool fast does not exist: create it'],
  [
    { kind: 'lost', path: '/dev/x' },
    'False BackingLost: /dev/x is gone, and with it the data: bring it back under that name, or delete the AoEVolume',
  ],
  [
    { kind: 'shrunk', name: 'vg/x', bytes: 1, expected: 2 },
    'False BackingTooSmall: vg/x has 1 bytes instead of 2: it was made smaller, and is not exported',
  ],
  [{ kind: 'no-source', message: 'not yet' }, 'False SourceNotReady: not yet'],
  [{ kind: 'no-source', message: 'it changed', reason: 'SourceChanged' }, 'False SourceChanged: it changed'],
  [{ kind: 'failed', error: new BackendError('PoolFull', 'no room') }, 'False PoolFull: no room'],
] as const satisfies [DataResult, string][]) {
  test(`Provisioned is ${want}`, () => expect(verdict(VolumeCondition.Provisioned, { seen: { data: result } })).toBe(want));
}

test('while a new volume is overwritten, Provisioned says how far that has come, and how long it will take', () => {
  const of = (zeroed: number, remainingMs?: number) =>
    verdict(VolumeCondition.Provisioned, { seen: { wiping: { zeroed, bytes: 20 * MiB, remainingMs } }, plan: WAIT });
  const before =
    'False Wiping: the new volume is overwritten with zeros before its first use, because its disk space may hold data of a deleted volume: ';
  expect(of(0)).toBe(`${before}0 of 20Mi done`);
  expect(of(5 * MiB, 90_000)).toBe(`${before}5Mi of 20Mi done, about 2 min left`);
});

for (const [obstacle, want] of [
  [{ because: 'place-refused', message: 'AoEVolume v0 has it' }, 'False AddressTaken: AoEVolume v0 has it'],
  [{ because: 'target-away', problem: 'gone' }, 'Unknown TargetUnavailable: the target process does not answer (gone)'],
  [{ because: 'data-pending' }, 'False NotProvisioned: the data is still being opened or made'],
  [{ because: 'no-data' }, 'False NotProvisioned: there is no data to serve: see condition Provisioned'],
  [{ because: 'no-address' }, 'False NoAddress: the operator has not assigned an address yet'],
  [{ because: 'not-probed' }, 'False SegmentNotAsked: the address must be probed again before the volume is served again'],
  [{ because: 'probe-failed', problem: 'no interface' }, 'False SegmentNotAsked: no interface'],
] as const satisfies [Obstacle, string][]) {
  test(`Exported is ${want}`, () => {
    expect(verdict(VolumeCondition.Exported, { plan: { action: 'wait', obstacle, retryMs: undefined } })).toBe(want);
  });
}

for (const [reason, want] of [
  ['AnsweredBySource', 'False AnsweredBySource: as before'],
  ['NotProvisioned', 'False NotProvisioned: as before'],
  ['Moving', 'False NotProvisioned: the data is still being opened or made'],
] as const) {
  test(`while the data is looked at again, ${reason} becomes ${want}`, () => {
    const before = { type: VolumeCondition.Exported, status: 'False' as const, reason, message: 'as before', lastTransitionTime: '' };
    expect(verdict(VolumeCondition.Exported, { plan: WAIT, of: { ...volume, status: { conditions: [before] } } })).toBe(want);
  });
}

for (const [seen, confirmed, want] of [
  [{}, state(), 'True Exported: the target serves the volume'],
  [{ access: { macs: [], nodes: [], problems: ['a', 'b'] } }, state(), 'True InitiatorsMissing: a; b'],
  [{ access: { macs: [], nodes: [], problems: [], refused: 'two hosts' } }, state(), 'True TooManyInitiators: two hosts'],
  [{}, state('', { error: 'EIO' }), 'False DeviceFailed: the target cannot use /dev/x: EIO'],
] as const) {
  test(`Exported is ${want}`, () => expect(verdict(VolumeCondition.Exported, { seen: seen as never, outcome: { confirmed } })).toBe(want));
}

for (const [reason, want] of [
  ['unavailable', 'Unknown TargetUnavailable: no'],
  ['waits', 'Unknown WaitsForDisk: no'],
  ['not-found', 'False PathMissing: no'],
  ['conflict', 'False AddressInUse: no'],
  ['invalid', 'False TargetRefused: no'],
  ['precondition', 'False TargetRefused: no'],
  ['failed', 'False TargetFailed: no'],
] as const) {
  test(`an error "${reason}" of the target makes Exported ${want}`, () => {
    expect(verdict(VolumeCondition.Exported, { outcome: { confirmed: state(), error: new TargetError(reason, 'no') } })).toBe(want);
  });
}

test('AddressConflict names the other target and what to do, and whether the volume is in use', () => {
  const stranger = { mac: '02:66:66:66:66:66', interface: 'eth1' };
  const of = (seen: Partial<Observed>) => verdict(VolumeCondition.AddressConflict, { seen });
  expect(of({ probe: { stranger: undefined } })).toBe('False NoAnswer: no other target answers at the address');
  expect(of({ probe: { stranger } })).toMatch(
    /^True AnsweredByOther: 02:66:66:66:66:66 on eth1 answers at e7\.3, too: take one of the two/,
  );
  expect(of({ probe: { stranger }, exported: state('lock') })).toMatch(/too: the volume is in use and still served/);
  expect(of({ probe: { error: 'no' } })).toBeUndefined();
  expect(of({ probe: { stranger }, targetProblem: 'gone' })).toBeUndefined();
  const plan: Plan = { action: 'withdraw', obstacle: { because: 'stranger' }, retryMs: 1 };
  expect(verdict(VolumeCondition.Exported, { seen: { probe: { stranger } }, plan })).toMatch(/^False AddressConflict: 02:66/);
});

describe('a volume that keeps the address of the disk it is a copy of', () => {
  const at = { shelf: 7, slot: 3 };
  const of = { ...volume, spec: { ...volume.spec, source: { external: at } } } as AoEVolume;
  const probe = { stranger: { mac: '02:66:66:66:66:66', interface: 'eth1' } };
  const plan: Plan = { action: 'wait', obstacle: { because: 'stranger' }, retryMs: 1 };
  const copying: DataResult = {
    kind: 'copying',
    phase: 'Copying',
    bytesDone: 0,
    bytesTotal: MiB,
    macs: [],
    from: 'e7.3',
    problem: '',
    failed: false,
  };

  test('has no conflict while it is copied', () => {
    expect(verdict(VolumeCondition.AddressConflict, { of, seen: { probe, data: copying }, plan: WAIT })).toBeUndefined();
  });
  test('waits for the other target to be stopped once its data is whole', () => {
    const want =
      / AnsweredBySource: the data is whole: stop the target from which it was copied, 02:66:66:66:66:66 on eth1, which still answers at e7\.3\. The volume is served once/;
    expect(verdict(VolumeCondition.AddressConflict, { of, seen: { probe, data }, plan })).toMatch(want);
    expect(verdict(VolumeCondition.Exported, { of, seen: { probe, data }, plan })).toMatch(want);
  });
  test('waits until the other target has been silent for a while', () => {
    const silent: Plan = { action: 'wait', obstacle: { because: 'silent-source' }, retryMs: 1 };
    expect(verdict(VolumeCondition.Exported, { of, seen: { probe: { stranger: undefined }, data }, plan: silent })).toMatch(
      /^False AnsweredBySource: the data is whole, and nobody answers at e7\.3 any more/,
    );
  });
  test('has a conflict as any other once it was exported', () => {
    const status = { serial: '11111111222233334444' };
    expect(verdict(VolumeCondition.AddressConflict, { of: { ...of, status }, seen: { probe, data } })).toMatch(/^True AnsweredByOther/);
    expect(verdict(VolumeCondition.Exported, { of: { ...of, status }, seen: { probe, data }, plan })).toMatch(/^False AddressConflict/);
    expect(verdict(VolumeCondition.AddressConflict, { of, seen: { probe, data, exported: state() } })).toMatch(/AnsweredByOther/);
  });
  test('has a conflict as any other once it is used', () => {
    const seen = { probe, data, exported: state('lock') };
    expect(verdict(VolumeCondition.AddressConflict, { of, seen })).toMatch(/^True AnsweredByOther: .*the volume is in use/);
  });
});

const lock = (volumeUID: string) => formatLock({ node: 'a', nodeUID: 'n', volumeUID, since: '2026-01-01T00:00:00Z' });
for (const [access, configString, want] of [
  ['Exclusive', '', /^False Free: nobody holds the lock$/],
  ['Shared', '', /^False Shared: there is no lock: all admitted hosts may write/],
  ['ReadOnlyMany', '', /^False ReadOnly: there is no lock: nobody can write$/],
  ['Exclusive', lock('u-1'), /^True Held: held by node a since 2026-01-01T00:00:00Z$/],
  ['Exclusive', lock('u-2'), /^True OtherVolume: held by node a since .*, for another volume: "/],
  ['Exclusive', 'net.corvus', /^True NotOurs: held by a host that set "net\.corvus": it is respected/],
] as const) {
  test(`Locked is ${want.source}`, () => {
    const of = { ...volume, spec: { ...volume.spec, access } };
    expect(verdict(VolumeCondition.Locked, { of, outcome: { holderSeen: state(configString) } })).toMatch(want);
  });
}

const waiting = (wait: RemovalWait): Outcome => ({ confirmed: state(), holderSeen: state(), removal: { outcome: 'waiting', wait } });
for (const [wait, want] of [
  [{ for: 'user', user: 'attached to a' }, 'True InUse: deletion waits: attached to a'],
  [{ for: 'deletion' }, 'True InUse: deletion waits: it is not deleted any more'],
  [{ for: 'data' }, 'True Removing: deletion waits: its data is still being opened or made'],
  [
    { for: 'pool', pool: 'fast' },
    'True NoSuchPool: deletion waits: AoEPool fast, which holds the data, does not exist: create it again, or remove the finalizer',
  ],
  [{ for: 'backend', error: new BackendError('BackingBusy', 'busy'), provisioned: true }, 'False Removing: the volume is being deleted'],
] as const satisfies [RemovalWait, string][]) {
  test(`Exported of a deleted volume is ${want}`, () => {
    expect(verdict(VolumeCondition.Exported, { of: deleted, plan: REMOVE, outcome: waiting(wait) })).toBe(want);
  });
}

test('a deletion that the backend holds up says so in Provisioned, which is unknown for data that was never reported', () => {
  const of = (provisioned: boolean) =>
    verdict(VolumeCondition.Provisioned, {
      plan: REMOVE,
      outcome: waiting({ for: 'backend', error: new BackendError('BackingBusy', 'busy'), provisioned }),
    });
  expect(of(true)).toBe('True RemovalFailed: deletion waits: busy');
  expect(of(false)).toBe('Unknown RemovalFailed: deletion waits: busy');
});

test('a deletion that waits for the target process says so', () => {
  const plan: Plan = { action: 'wait', obstacle: { because: 'target-away', problem: 'gone' }, retryMs: undefined };
  expect(verdict(VolumeCondition.Exported, { of: deleted, plan })).toBe(
    'Unknown TargetUnavailable: deletion waits: the target process does not answer (gone)',
  );
});

test('nothing is said about what is not known', () => {
  expect([...conditionsOf(volume, SEEN, SERVE, {}).keys()]).toStrictEqual([]);
  expect([...conditionsOf(volume, SEEN, WAIT, {}).keys()]).toStrictEqual(['Exported']);
});
