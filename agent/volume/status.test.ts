import { formatLock } from '../../aoe/mod.ts';
import type { AoEVolume, AoEVolumeStatus } from '../../api/volume.ts';
import type { TargetVolumeState } from '../target/api.ts';
import type { Observed } from './observe.ts';
import type { Plan } from './plan.ts';
import { newProblems, statusOf } from './status.ts';

const A = '02:00:00:00:00:0a';
const CONDITION = {
  type: 'Exported',
  status: 'True',
  reason: 'Exported',
  message: 'm',
  lastTransitionTime: 't',
  observedGeneration: 1,
} as const;
const OTHER = { ...CONDITION, type: 'Placed' } as const;
const before = {
  capacity: '10Mi',
  serial: 'S',
  paths: [{ interface: 'eth1', mac: A, mtu: 9000 }],
  initiators: { observedGeneration: 1, nodes: ['a'], macs: [A] },
  holder: { name: 'a', node: 'a', raw: 'x' },
  conditions: [CONDITION, OTHER],
} satisfies AoEVolumeStatus;
const volume = {
  metadata: { name: 'v1', uid: 'u-1', generation: 2 },
  spec: { access: 'Exclusive' },
  status: before,
} as unknown as AoEVolume;
const SEEN = { access: { macs: [], nodes: [], problems: [] }, paths: [{ interface: 'eth2', mac: A, mtu: 1500 }] } as unknown as Observed;
const SERVE = { action: 'serve' } as Plan;
const waitFor = (because: 'no-data' | 'target-away'): Plan => ({
  action: 'wait',
  obstacle: { because, problem: '' } as never,
  retryMs: undefined,
});
const state = (configString: Uint8Array): TargetVolumeState =>
  ({ volume: { serial: 'S2', path: '/dev/x', macs: [A.toUpperCase()] }, bytes: 0, configString, error: '' }) as never;
const lock = formatLock({ node: 'b', nodeUID: 'n', volumeUID: 'u-1', since: '2026-01-01T00:00:00Z' });

test('what the reconcile found nothing out about stays as it was, and conditions of other programs are left out', () => {
  const { capacity, serial, initiators, holder } = before;
  const { conditions, fields } = statusOf(volume, SEEN, waitFor('target-away'), {});
  expect(conditions).toMatchObject([{ type: 'Exported', status: 'Unknown', reason: 'TargetUnavailable', observedGeneration: 2 }]);
  expect(fields).toStrictEqual({
    capacity,
    copy: undefined,
    serial,
    moves: undefined,
    paths: before.paths,
    initiators,
    limits: undefined,
    holder,
    reclaimsZeros: undefined,
  });
  expect(statusOf(volume, SEEN, SERVE, {}).conditions).toStrictEqual([CONDITION]);
});

test('only what the target has confirmed is reported as admitted, with the generation that asked for it', () => {
  const seen = { ...SEEN, access: { macs: [A], nodes: ['b'], problems: [] } };
  expect(statusOf(volume, seen, SERVE, {}).fields.initiators).toStrictEqual(before.initiators);
  const { fields } = statusOf(volume, seen, SERVE, { confirmed: state(lock), holderSeen: state(lock) });
  expect(fields.initiators).toStrictEqual({ observedGeneration: 2, nodes: ['b'], macs: [A] });
  expect([fields.serial, fields.holder?.node]).toStrictEqual(['S2', 'b']);
});

test('a spec that names too many hosts does not count as carried out', () => {
  const seen = { ...SEEN, access: { macs: [], nodes: [], problems: [], refused: 'two hosts' } };
  expect(statusOf(volume, seen, SERVE, { confirmed: state(lock) }).fields.initiators).toStrictEqual(before.initiators);
});

test('paths are those of a served volume, gone when it is off the segment, and kept while the target is away', () => {
  const paths = (plan: Plan, outcome = {}) => statusOf(volume, SEEN, plan, outcome).fields.paths;
  expect(paths(SERVE)).toStrictEqual(SEEN.paths);
  expect(paths(waitFor('no-data'))).toBeUndefined();
  expect(paths(waitFor('target-away'))).toStrictEqual(before.paths);
  expect(paths({ action: 'withdraw', obstacle: { because: 'stranger' }, retryMs: 1 }, { error: { reason: 'failed' } })).toStrictEqual(
    before.paths,
  );
});

test('the holder is gone when the string is empty, and when a deleted volume is off the segment', () => {
  const empty = state(new Uint8Array());
  expect(statusOf(volume, SEEN, SERVE, { confirmed: empty, holderSeen: empty }).fields.holder).toBeUndefined();
  const removal = { outcome: 'waiting', wait: { for: 'data' } } as const;
  expect(statusOf(volume, SEEN, { action: 'remove', access: undefined }, { removal }).fields.holder).toBeUndefined();
});

test('whether zeros are given back is what the target has confirmed, and kept while nothing is known', () => {
  const reclaims = state(lock);
  reclaims.volume.reclaim = true;
  expect(statusOf(volume, SEEN, SERVE, { confirmed: reclaims }).fields.reclaimsZeros).toBe(true);
  const known = { ...volume, status: { ...volume.status, reclaimsZeros: true } } as AoEVolume;
  expect(statusOf(known, SEEN, waitFor('target-away'), {}).fields.reclaimsZeros).toBe(true);
  expect(statusOf(known, SEEN, SERVE, { confirmed: state(lock) }).fields.reclaimsZeros).toBeUndefined();
});

test('while a thin pool fills, no volume in it says that zeros are given back', () => {
  const reclaims = state(lock);
  reclaims.volume.reclaim = true;
  const known = { ...volume, status: { ...volume.status, reclaimsZeros: true } } as AoEVolume;
  const filling = { ...SEEN, isPoolFilling: true };
  expect(statusOf(known, filling, SERVE, { confirmed: reclaims }).fields.reclaimsZeros).toBeUndefined();
  expect(statusOf(known, filling, waitFor('target-away'), {}).fields.reclaimsZeros).toBeUndefined();
});

test('the size is that of the data', () => {
  const data = { kind: 'available', path: '/dev/x', name: 'x', bytes: 20 << 20, made: false } as const;
  expect(statusOf(volume, { ...SEEN, data }, SERVE, {}).fields.capacity).toBe('20Mi');
});

test('a problem is new when its condition turned bad, or has another reason', () => {
  const lost = { type: 'Provisioned', status: 'False', reason: 'BackingLost', message: '' } as const;
  const conflict = { type: 'AddressConflict', status: 'True', reason: 'AnsweredByOther', message: '' } as const;
  const fine = [{ ...lost, status: 'True', reason: 'Provisioned' } as const, { ...conflict, status: 'False' } as const, CONDITION];
  const having = (condition: object): AoEVolume => ({ ...volume, status: { conditions: [condition] } }) as never;
  expect(newProblems(volume, [lost, conflict])).toStrictEqual([lost, conflict]);
  expect(newProblems(volume, fine)).toStrictEqual([]);
  expect(newProblems(having(lost), [lost])).toStrictEqual([]);
  expect(newProblems(having({ ...lost, reason: 'PoolMissing' }), [lost])).toStrictEqual([lost]);
  expect(newProblems(having({ ...lost, status: 'True' }), [lost])).toStrictEqual([lost]);
});
