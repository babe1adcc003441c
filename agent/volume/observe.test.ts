import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { MacMemory } from '../access/mac-memory.ts';
import { AddressSchedule } from '../address/schedule.ts';
import { observe, provisionedIn, provisionedUids, sortedMacs, wasProvisioned } from './observe.ts';
import { WipeMeter } from './wipe-meter.ts';

const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
const node = (name: string, mac: string): AoENode =>
  ({ metadata: { name }, spec: {}, status: { interfaces: [{ name: 'eth0', mac, mtu: 1500 }] } }) as never;
const volume = (uid: string, pool: string, status?: object): AoEVolume =>
  ({ metadata: { name: uid, uid }, spec: { pool, access: 'Exclusive', initiators: { nodes: ['a'] } }, status }) as never;

const memory = () => ({
  namedMacs: new Set<string>(),
  addressSchedule: new AddressSchedule(),
  isReopenDue: true,
  wipe: new WipeMeter(),
  removal: { isPending: false },
});

test('data was made once a size was reported', () => {
  expect(wasProvisioned(volume('u-1', 'fast'))).toBe(false);
  expect(wasProvisioned(volume('u-1', 'fast', { capacity: '10Mi' }))).toBe(true);
  const volumes = [volume('u-1', 'fast'), volume('u-2', 'fast', { capacity: '10Mi' }), volume('u-3', 'slow', { capacity: '10Mi' })];
  expect(volumes.map(provisionedIn)).toStrictEqual([[], ['fast'], ['slow']]);
});

test('the UIDs of volumes are read one after the other', () => {
  const asked: string[] = [];
  const store = {
    get: (name: string) => {
      asked.push(name);
      return name === 'gone' ? undefined : volume(name, 'fast');
    },
  };
  const [first] = provisionedUids(store, ['gone', 'u-1', 'u-2']);
  expect([first, asked]).toStrictEqual(['u-1', ['gone', 'u-1']]);
});

test('the UIDs of volumes are those of the names at the start, also when these change while they are read', () => {
  const names = new Set(['u-1', 'u-2']);
  const read: string[] = [];
  for (const uid of provisionedUids({ get: (name) => volume(name, 'fast') }, names)) {
    read.push(uid);
    // A change of a volume moves its name to the end of an index.
    names.delete(uid);
    if (read.length < 10) names.add(uid);
  }
  expect(read).toStrictEqual(['u-1', 'u-2']);
});

test('MAC addresses are compared in lower case and in order', () => {
  expect(sortedMacs([B.toUpperCase(), A])).toStrictEqual([A, B]);
});

test('what the target and the nodes say now is read, and what a target has lost is taken from the status', () => {
  const nodes = [node('a', A)];
  const macs = new MacMemory();
  macs.note([node('a', B)]);
  macs.note(nodes);
  const interfaces = [
    { name: 'eth1', mac: B, mtu: 9000, serving: true, error: '' },
    { name: 'eth2', mac: '', mtu: 0, serving: false, error: 'gone' },
    { name: 'aoe-target', mac: A, mtu: 9000, serving: true, error: '' },
  ];
  const target = {
    connected: true,
    problem: '',
    state: () => undefined,
    supports: (name: string) => name === 'writes_need_lock',
    interfaces: () => interfaces,
  };
  const of = volume('u-1', 'fast', { initiators: { nodes: ['a'], macs: [A, B] } });
  const pools = { get: () => ({ metadata: { name: 'fast' }, spec: { backend: 'file', reclaimZeros: 'None' } }) as AoEPool };
  const seen = observe({ node: 's', nodes: { list: () => nodes }, pools, macs, target }, of, memory(), {
    data: undefined,
    probe: undefined,
  });
  expect(seen).toMatchObject({ provisioned: false, exported: undefined, knowsWritesNeedLock: true, keepsZeros: true, nextProbeMs: 1 });
  expect(seen.isReopenDue).toBe(true);
  expect(seen.targetProblem).toBeUndefined();
  // The node has just dropped B, which the status still has as admitted.
  expect(seen.access).toMatchObject({ macs: [A, B], nodes: ['a'] });
  expect(seen.paths).toStrictEqual([
    { interface: 'eth1', mac: B, mtu: 9000 },
    { interface: 'aoe-target', mac: A, mtu: 9000, local: true },
  ]);
});

test.each([
  ['79.99', '1.00', true, false],
  ['80.00', '1.00', true, true],
  ['1.00', '80.00', true, true],
  ['75.00', '1.00', undefined, true],
  ['74.99', '74.99', undefined, false],
  [undefined, undefined, true, false],
])(
  'a pool with %s %% of its data and %s %% of its metadata in use, where zeros were given back: %s, is filling: %s',
  (data, metadata, was, is) => {
    const entry = { name: 's', ready: true, ...(data && metadata ? { dataPercent: data, metadataPercent: metadata } : {}) };
    const other = { name: 'other', ready: true, dataPercent: '99.00', metadataPercent: '99.00' };
    const pools = { get: () => ({ metadata: { name: 'thin' }, spec: {}, status: { nodes: [other, entry] } }) as never };
    const target = { connected: true, problem: '', state: () => undefined, supports: () => true, interfaces: () => [] };
    const of = volume('u-1', 'thin', was ? { reclaimsZeros: true } : {});
    const context = { node: 's', nodes: { list: () => [] }, pools, macs: new MacMemory(), target };
    expect(observe(context, of, memory(), { data: undefined, probe: undefined }).isPoolFilling).toBe(is);
  },
);
