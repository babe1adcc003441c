import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { MacMemory } from '../access/mac-memory.ts';
import { AddressSchedule } from '../address/schedule.ts';
import { observe, provisionedIn, provisionedUids, sortedMacs, wasProvisioned } from './observe.ts';
import { WipeMeter } from './wiping.ts';

const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
const node = (name: string, mac: string): AoENode =>
  ({ metadata: { name }, spec: {}, status: { interfaces: [{ name: 'eth0', mac, mtu: 1500 }] } }) as never;
const volume = (uid: string, pool: string, status?: object): AoEVolume =>
  ({ metadata: { name: uid, uid }, spec: { pool, access: 'Exclusive', initiators: { nodes: ['a'] } }, status }) as never;

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
  const memory = { namedMacs: new Set<string>(), addressSchedule: new AddressSchedule(), isReopenDue: true, wipe: new WipeMeter() };
  const of = volume('u-1', 'fast', { initiators: { nodes: ['a'], macs: [A, B] } });
  const seen = observe({ node: 's', nodes: { list: () => nodes }, macs, target }, of, memory, { data: undefined, probe: undefined });
  expect(seen).toMatchObject({ provisioned: false, exported: undefined, knowsWritesNeedLock: true, isReopenDue: true, nextProbeMs: 1 });
  expect(seen.targetProblem).toBeUndefined();
  // The node has just dropped B, which the status still has as admitted.
  expect(seen.access).toMatchObject({ macs: [A, B], nodes: ['a'] });
  expect(seen.paths).toStrictEqual([
    { interface: 'eth1', mac: B, mtu: 9000 },
    { interface: 'aoe-target', mac: A, mtu: 9000, local: true },
  ]);
});
