import { formatLock } from '../../aoe/mod.ts';
import { limitNumbers } from '../../api/limits/limits.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { TargetVolumeState } from '../target/api.ts';
import type { Observed } from './observe.ts';
import { growthBarrier, isUsed, type Plan, planPreparation, planVolume, retryMsOf } from './plan.ts';

const UID = '11111111-2222-3333-4444-555555555555';
const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
const STRANGER = { mac: '02:66:66:66:66:66', interface: 'eth1' };
const MiB = 1 << 20;

function volume(change: { spec?: object; deleted?: boolean; placed?: string } = {}): AoEVolume {
  const { spec, deleted, placed } = change;
  const refused = placed && { conditions: [{ type: 'Placed', status: 'False', reason: placed, message: 'AoEVolume v0 has it' }] };
  return {
    metadata: { name: 'v1', uid: UID, ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
    spec: { access: 'Exclusive', pool: 'fast', address: { shelf: 7, slot: 3 }, initiators: {}, ...spec },
    ...(refused ? { status: refused } : {}),
  } as never;
}

const state = (change: Partial<TargetVolumeState['volume']> = {}, rest: Partial<TargetVolumeState> = {}): TargetVolumeState => ({
  volume: {
    uid: UID,
    shelf: 7,
    slot: 3,
    path: '/dev/x',
    serial: '11111111222233334444',
    readOnly: false,
    bytes: 10 * MiB,
    macs: [],
    writesNeedLock: true,
    ...change,
  },
  bytes: 10 * MiB,
  configString: new Uint8Array(),
  error: '',
  ...rest,
});
const lockOf = (node: string, volumeUID = UID): Uint8Array => formatLock({ node, nodeUID: 'n', volumeUID, since: '2026-01-01T00:00:00Z' });

const data = { kind: 'available', path: '/dev/x', name: 'vg/x', bytes: 10 * MiB, made: false } as const;
/** Data is there, nobody else answers, and the target does not serve the volume. */
const SEEN: Observed = {
  provisioned: true,
  data,
  wiping: undefined,
  probe: { stranger: undefined },
  nextProbeMs: 60_000,
  targetProblem: undefined,
  exported: undefined,
  knowsWritesNeedLock: true,
  knowsExportedSize: true,
  knowsLimits: true,
  knowsReclaim: true,
  isReopenDue: true,
  access: { macs: [], nodes: [], problems: [] },
  paths: [],
};
const seen = (change: Partial<Observed>): Observed => ({ ...SEEN, ...change });

/** The plan in a few words. */
function short(plan: Plan): string {
  if (plan.action === 'wait' || plan.action === 'withdraw') return `${plan.action}: ${plan.obstacle.because}, ${plan.retryMs}`;
  if (plan.action === 'lend') return `lend: ${plan.definition ? `export to ${plan.definition.macs.join()}` : 'nothing'}`;
  const { access } = plan;
  const definition = plan.action === 'serve' && plan.definition ? ['export'] : [];
  const cutOff = access && access.cutOff.length > 0 ? [`cut off ${access.cutOff.join()}`] : [];
  const lock = access?.staleLock ? [`clear the lock of ${access.staleLock.lock.node}`] : [];
  return `${plan.action}: ${[...definition, `admit ${access?.access.macs.join() || 'nobody'}`, ...cutOff, ...lock].join(', ')}`;
}

/** A volume on node here whose data is copied by a node that reads with these addresses. */
function moved(macs: string[] = [], to = 'there'): AoEVolume {
  const move = { id: '0123abcd', stage: 'Copying', nodeName: to, pool: 'other' };
  const report = { id: move.id, nodeName: to, phase: 'Waiting', macs };
  return { ...volume({ spec: { nodeName: 'here', move } }), status: { move: report } } as never;
}
const lent = state({ macs: [B], readOnly: true, writesNeedLock: false, forCopies: true });
const lost = { kind: 'lost', path: '/dev/x' } as const;
const wantsA = volume({ spec: { initiators: { nodes: ['a'] } } });
const wantsB = volume({ spec: { initiators: { nodes: ['b'] } } });
const admitA = { macs: [A], nodes: ['a'], problems: [] };
const admitB = { macs: [B], nodes: ['b'], problems: [] };
const refusedAccess = { macs: [], nodes: [], problems: [], refused: 'two hosts' };

for (const [what, of, observed, plan] of [
  ['a new volume', volume(), seen({}), 'serve: export, admit nobody'],
  [
    'a volume that is to be moved, and that a host had',
    moved(),
    seen({ exported: state({ macs: [A] }) }),
    `serve: admit nobody, cut off ${A}`,
  ],
  ['a volume that is to be moved', moved(), seen({ exported: state() }), 'withdraw: moving, 1'],
  ['a volume that is moved, before anybody reads it', moved(), seen({}), 'wait: moving, 30000'],
  ['a volume that is moved', moved([B]), seen({ knowsForCopies: true }), `lend: export to ${B}`],
  ['a volume that is moved, at an older target', moved([B]), seen({}), 'wait: moving, 30000'],
  ['a volume that is moved, and whose data is gone', moved([B]), seen({ knowsForCopies: true, data: lost }), 'wait: moving, 15000'],
  ['a volume that is lent', moved([B]), seen({ knowsForCopies: true, exported: lent }), 'lend: nothing'],
  ['a volume that is lent to an earlier address', moved([A]), seen({ knowsForCopies: true, exported: lent }), `lend: export to ${A}`],
  ['a volume that moves to another pool of its node', moved([], 'here'), seen({}), 'wait: moving, 30000'],
  ['a volume that was lent', volume(), seen({ exported: lent }), 'withdraw: not-probed, 1'],
  ['a new volume for a node', wantsA, seen({ access: admitA }), `serve: export, admit ${A}`],
  ['a volume that is served as it should be', wantsA, seen({ access: admitA, exported: state({ macs: [A] }) }), `serve: admit ${A}`],
  ['a volume whose data is elsewhere', volume(), seen({ exported: state({ path: '/dev/y' }) }), 'serve: export, admit nobody'],
  ['a volume at another address', volume(), seen({ exported: state({ slot: 4 }) }), 'serve: export, admit nobody'],
  ['a volume in trouble', volume(), seen({ exported: state({}, { error: 'EIO' }) }), 'serve: export, admit nobody'],
  [
    'a volume in trouble that was just opened',
    volume(),
    seen({ isReopenDue: false, exported: state({}, { error: 'EIO' }) }),
    'serve: admit nobody',
  ],
  ['a volume that grew', volume(), seen({ data: { ...data, bytes: 20 * MiB }, exported: state() }), 'serve: export, admit nobody'],
  ['a volume whose size the target was not told', volume(), seen({ exported: state({ bytes: 0 }) }), 'serve: export, admit nobody'],
  ['a volume that the target has larger', volume(), seen({ exported: state({ bytes: 20 * MiB }) }), 'serve: admit nobody'],
  [
    'a volume of whole sectors and a rest',
    volume(),
    seen({ data: { ...data, bytes: 10 * MiB + 7 }, exported: state() }),
    'serve: admit nobody',
  ],
  ['a volume that gets limits', volume({ spec: { limits: { iops: 100 } } }), seen({ exported: state() }), 'serve: export, admit nobody'],
  [
    'a volume with limits',
    volume({ spec: { limits: { iops: 100, writeBytesPerSecond: '1Mi' } } }),
    seen({ exported: state({ limits: limitNumbers({ iops: 100, writeBytesPerSecond: '1024Ki' }) }) }),
    'serve: admit nobody',
  ],
  [
    'a volume that loses its limits',
    volume(),
    seen({ exported: state({ limits: limitNumbers({ iops: 100 }) }) }),
    'serve: export, admit nobody',
  ],
  [
    'a volume that gets limits, and a target that knows none',
    volume({ spec: { limits: { iops: 100 } } }),
    seen({ knowsLimits: false, exported: state() }),
    'serve: admit nobody',
  ],
  [
    'a volume that may give zeros back',
    volume(),
    seen({ data: { ...data, reclaims: true }, exported: state() }),
    'serve: export, admit nobody',
  ],
  [
    'a volume that gives zeros back',
    volume(),
    seen({ data: { ...data, reclaims: true }, exported: state({ reclaim: true }) }),
    'serve: admit nobody',
  ],
  [
    'a volume that gives zeros back, in a pool that is to have none back any more',
    volume(),
    seen({ keepsZeros: true, data: { ...data, reclaims: true }, exported: state({ reclaim: true }) }),
    'serve: export, admit nobody',
  ],
  [
    'a volume in such a pool',
    volume(),
    seen({ keepsZeros: true, data: { ...data, reclaims: true }, exported: state() }),
    'serve: admit nobody',
  ],
  ['a volume that must not do so any more', volume(), seen({ exported: state({ reclaim: true }) }), 'serve: export, admit nobody'],
  [
    'a volume that may give zeros back, and a target that cannot',
    volume(),
    seen({ knowsReclaim: false, data: { ...data, reclaims: true }, exported: state() }),
    'serve: admit nobody',
  ],
  [
    'a volume that grew, and a target that knows no sizes',
    volume(),
    seen({ knowsExportedSize: false, data: { ...data, bytes: 20 * MiB }, exported: state({ bytes: 0 }) }),
    'serve: export, admit nobody',
  ],
  [
    'the same, just after it was exported again',
    volume(),
    seen({ knowsExportedSize: false, isReopenDue: false, data: { ...data, bytes: 20 * MiB }, exported: state({ bytes: 0 }) }),
    'serve: admit nobody',
  ],
  [
    'the same, while the target has no disk',
    volume(),
    seen({ knowsExportedSize: false, data: { ...data, bytes: 20 * MiB }, exported: state({ bytes: 0 }, { bytes: 0 }) }),
    'serve: admit nobody',
  ],
  [
    'a served volume whose data is lost',
    volume(),
    seen({ data: { kind: 'lost', path: '/dev/x' }, exported: state() }),
    'serve: admit nobody',
  ],
  [
    'a served volume whose data is not known yet',
    wantsA,
    seen({ data: undefined, access: admitA, exported: state() }),
    `serve: admit ${A}`,
  ],
  [
    'a takeover',
    wantsB,
    seen({ access: admitB, exported: state({ macs: [A] }, { configString: lockOf('a') }) }),
    `serve: admit ${B}, cut off ${A}, clear the lock of a`,
  ],
  ['a detached volume', volume(), seen({ exported: state({ macs: [A] }) }), `serve: admit nobody, cut off ${A}`],
  [
    'the lock of a wanted node whose address is not known',
    wantsA,
    seen({ exported: state({}, { configString: lockOf('a') }) }),
    'serve: admit nobody',
  ],
  ['the lock of another volume', volume(), seen({ exported: state({}, { configString: lockOf('a', 'other') }) }), 'serve: admit nobody'],
  [
    'a config string of another program',
    volume(),
    seen({ exported: state({}, { configString: Buffer.from('x') }) }),
    'serve: admit nobody',
  ],
  [
    'two hosts for an Exclusive volume',
    wantsB,
    seen({ access: refusedAccess, exported: state({ macs: [A] }, { configString: lockOf('a') }) }),
    `serve: admit ${A}`,
  ],
  ['MACs in another case', wantsA, seen({ access: admitA, exported: state({ macs: [A.toUpperCase()] }) }), `serve: admit ${A}`],
  ['no answer of the target', volume(), seen({ targetProblem: 'gone' }), 'wait: target-away, undefined'],
  [
    'no answer of the target, and no data',
    volume(),
    seen({ targetProblem: 'gone', data: { kind: 'no-pool' } }),
    'wait: target-away, 15000',
  ],
  ['data that is still being made', volume(), seen({ data: undefined }), 'wait: data-pending, undefined'],
  ['data that cannot be made', volume(), seen({ data: { kind: 'no-pool' } }), 'wait: no-data, 15000'],
  ['no address', volume({ spec: { address: undefined } }), seen({ probe: undefined }), 'wait: no-address, 30000'],
  ['an address that was not probed', volume(), seen({ probe: undefined }), 'wait: not-probed, 1'],
  ['an address that could not be probed', volume(), seen({ probe: { error: 'no interface' } }), 'wait: probe-failed, 5000'],
  ['another target at the address of a new volume', volume(), seen({ probe: { stranger: STRANGER } }), 'wait: stranger, 60000'],
  [
    'another target, and an unused volume',
    volume(),
    seen({ probe: { stranger: STRANGER }, exported: state() }),
    'withdraw: stranger, 60000',
  ],
  [
    'another target, and a volume in use',
    wantsA,
    seen({ probe: { stranger: STRANGER }, access: admitA, exported: state({ macs: [A] }) }),
    `serve: admit ${A}`,
  ],
  [
    'another target, and a volume with a lock',
    volume(),
    seen({ probe: { stranger: STRANGER }, exported: state({}, { configString: Buffer.from('x') }) }),
    'serve: admit nobody',
  ],
  [
    'a copied address',
    volume({ placed: 'AddressTaken' }),
    seen({ provisioned: false, data: undefined, probe: undefined }),
    'wait: place-refused, undefined',
  ],
  ['a copied address of a volume that was made', volume({ placed: 'AddressTaken' }), seen({}), 'serve: export, admit nobody'],
  ['a pool that is full', volume({ placed: 'PoolFull' }), seen({ provisioned: false }), 'serve: export, admit nobody'],
  [
    'a deleted volume',
    volume({ deleted: true }),
    seen({ data: undefined, probe: undefined, exported: state({ macs: [A] }, { configString: lockOf('a') }) }),
    `remove: admit nobody, cut off ${A}, clear the lock of a`,
  ],
  [
    'a deleted volume in use',
    { ...wantsA, metadata: volume({ deleted: true }).metadata },
    seen({ access: admitA, exported: state({ macs: [A] }) }),
    `remove: admit ${A}`,
  ],
  ['a deleted volume that is not served', volume({ deleted: true }), seen({ data: undefined, probe: undefined }), 'remove: admit nobody'],
  [
    'a deleted volume, and no answer of the target',
    volume({ deleted: true }),
    seen({ targetProblem: 'gone' }),
    'wait: target-away, undefined',
  ],
] as const) {
  test(`${what}: ${plan}`, () => expect(short(planVolume(of, observed))).toBe(plan));
}

test('only nodes that have an Exclusive volume to themselves must take its lock before they write', () => {
  const needs = (spec: object, knowsWritesNeedLock = true): boolean | undefined => {
    const plan = planVolume(volume({ spec }), seen({ knowsWritesNeedLock }));
    return plan.action === 'serve' ? plan.access.access.writesNeedLock : undefined;
  };
  expect(needs({})).toBe(true);
  expect(needs({ initiators: { macs: [A] } })).toBe(false);
  expect(needs({ access: 'Shared' })).toBe(false);
  expect(needs({}, false)).toBe(false);
});

test('a plan changes nothing that it is made from', () => {
  const frozen = seen({ exported: state({ macs: [A] }, { configString: lockOf('a') }), access: admitB });
  const before = structuredClone(frozen);
  planVolume(wantsB, frozen);
  expect(frozen).toStrictEqual(before);
});

for (const [what, of, observed, due, want] of [
  ['a new volume: make the data, probe', volume(), seen({ provisioned: false }), false, ['create', true]],
  ['a volume that was made: open the data, probe', volume(), seen({}), false, ['open', true]],
  [
    'a volume that the target serves: open the data, whatever the status says',
    volume(),
    seen({ provisioned: false, exported: state() }),
    false,
    ['open', false],
  ],
  ['a served volume whose address is due: probe', volume(), seen({ exported: state() }), true, ['open', true]],
  ['without a target: no probe', volume(), seen({ targetProblem: 'gone' }), true, ['open', false]],
  ['a deleted volume: nothing', volume({ deleted: true }), seen({}), true, ['none', false]],
  ['a copied address: nothing', volume({ placed: 'AddressTaken' }), seen({ provisioned: false }), true, ['none', false]],
] as const) {
  test(`to prepare ${what}`, () => {
    const { data: mode, probe } = planPreparation(of, observed, due);
    expect([mode, probe !== undefined]).toStrictEqual(want);
  });
}

test('a volume is looked at again when its address is due, and sooner when something is wrong', () => {
  const serve = planVolume(volume(), seen({ exported: state() }));
  const after = (observed: Partial<Observed>, outcome: Parameters<typeof retryMsOf>[1] = {}) => retryMsOf(serve, outcome, seen(observed));
  expect(after({})).toBe(60_000);
  expect(after({ data: { kind: 'no-pool' } })).toBe(15_000);
  expect(after({}, { confirmed: state({}, { error: 'EIO' }) })).toBe(5_000);
  expect(after({ nextProbeMs: 1_000 }, { confirmed: state({}, { error: 'EIO' }) })).toBe(1_000);
  expect(after({}, { error: { reason: 'failed' } as never })).toBe(5_000);
});

test('a volume is used when a host is admitted, or its config string is set', () => {
  expect(isUsed(state())).toBe(false);
  expect(isUsed(state({ macs: [A] }))).toBe(true);
  expect(isUsed(state({}, { configString: Buffer.from('x') }))).toBe(true);
});

test('data grows only when the target has the present size, since it would serve the new part after a restart', () => {
  const barrier = (change: Partial<Observed>): string | undefined => growthBarrier(seen(change));
  expect(barrier({})).toBe('the volume is exported at its present size first');
  expect(barrier({ exported: state() })).toBeUndefined();
  expect(barrier({ exported: state({ bytes: 0 }) })).toBe('the target is given the present size first');
  expect(barrier({ targetProblem: 'no process' })).toMatch(/does not answer \(no process\)/);
  expect(barrier({ knowsExportedSize: false, exported: state({ bytes: 0 }) })).toMatch(
    /of an earlier version, which cannot take a new size/,
  );
});
