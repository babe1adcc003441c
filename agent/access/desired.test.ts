import { localMac } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { contestedMacs, desiredAccess } from './desired.ts';
import { HOLD_MS, MacMemory } from './mac-memory.ts';

const node = (name: string, ...macs: string[]): AoENode =>
  ({ metadata: { name }, spec: {}, status: { interfaces: macs.map((mac, index) => ({ name: `e${index}`, mac, mtu: 1500 })) } }) as never;
const volume = (spec: object, status: object = {}): AoEVolume =>
  ({ metadata: { name: 'v' }, spec: { access: 'Exclusive', ...spec }, status }) as never;
const [A, B, C] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'];

/** The decision of an agent on node s that has just started. The status has the hosts that the target admits. */
function decide(of: AoEVolume, nodes: AoENode[], memory = new MacMemory(), namedMacs = new Set<string>()) {
  memory.note(nodes);
  for (const mac of of.spec.initiators?.macs ?? []) namedMacs.add(mac);
  return desiredAccess(of, nodes, { self: 's', memory, namedMacs, admitted: of.status?.initiators?.macs ?? [] });
}

/** An agent on node s that has seen what came before, with a clock of its own. */
function agent() {
  const clock = { now: 0 };
  const memory = new MacMemory({ now: () => clock.now });
  const namedMacs = new Set<string>();
  const admitted = (nodes: string[], macs: string[]) => ({ initiators: { observedGeneration: 1, nodes, macs } });
  return { clock, admitted, decide: (of: AoEVolume, nodes: AoENode[]) => decide(of, nodes, memory, namedMacs).macs };
}

test('no host is admitted when the spec names none', () => {
  expect(decide(volume({}), [node('a', A)])).toStrictEqual({ macs: [], nodes: [], problems: [] });
});

test('every interface of a node is admitted', () => {
  expect(decide(volume({ initiators: { nodes: ['a'] } }), [node('a', B, A)]).macs).toStrictEqual([A, B]);
});

test('many MACs without a node may be one host', () => {
  expect(decide(volume({ initiators: { macs: [B, A] } }), [])).toStrictEqual({ macs: [A, B], nodes: [], problems: [] });
});

test('an Exclusive volume is refused to a node beside another host', () => {
  for (const initiators of [{ nodes: ['a', 'b'] }, { nodes: ['a'], macs: [C] }]) {
    expect(decide(volume({ initiators }), [node('a', A), node('b', B)]).refused ?? '').toMatch(/one host at a time/);
  }
  expect(decide(volume({ access: 'Shared', initiators: { nodes: ['a', 'b'] } }), [node('a', A)]).refused).toBeUndefined();
});

test('MACs of two nodes are two hosts, MACs of one node are one', () => {
  const nodes = [node('a', A, B), node('b', C)];
  expect(decide(volume({ initiators: { macs: [A, C] } }), nodes).refused ?? '').toMatch(/MACs of nodes a, b/);
  expect(decide(volume({ initiators: { macs: [A, B] } }), nodes).macs).toStrictEqual([A, B]);
  expect(decide(volume({ access: 'Shared', initiators: { macs: [A, C] } }), nodes).macs).toStrictEqual([A, C]);
});

test('a node whose status is empty keeps what it has, and gives nothing to the next', () => {
  const status = { initiators: { observedGeneration: 1, nodes: ['a'], macs: [A] } };
  expect(decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a')]).macs).toStrictEqual([A]);
  expect(decide(volume({ initiators: { nodes: ['b'] } }, status), [node('a'), node('b')]).macs).toStrictEqual([]);
  // Another node has the address now, so it is not admitted for this one.
  expect(decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a'), node('b', A)]).macs).toStrictEqual([]);
});

test('a MAC that two nodes claim is named with both', () => {
  expect([...contestedMacs([node('a', A), node('b', A, B), node('c', C, C)])]).toStrictEqual([[A, ['a', 'b']]]);
});

test('a MAC that a second node claims stays with the first, and the second is told', () => {
  const it = agent();
  const [first, second] = [volume({ initiators: { nodes: ['a'] } }), volume({ initiators: { nodes: ['b'] } })];
  expect(it.decide(first, [node('a', A), node('b', B)])).toStrictEqual([A]);
  const both = [node('a', A), node('b', A, B)];
  expect(it.decide(first, both)).toStrictEqual([A]);
  expect(it.decide(second, both)).toStrictEqual([B]);
  const memory = new MacMemory();
  memory.note([node('a', A)]);
  expect(decide(second, both, memory).problems.join()).toMatch(
    /MAC .*0a .* is not admitted: AoENodes a and b both claim it, and a did so first/,
  );
  // The first gives it up, and the second has it.
  expect(it.decide(second, [node('a'), node('b', A)])).toStrictEqual([A]);
  expect(it.decide(first, [node('a', A), node('b', A)])).toStrictEqual([]);
});

test('a MAC that two nodes claim is admitted to neither when nobody knows who was first, and stays with the one that is using it', () => {
  const both = [node('a', A), node('b', A)];
  for (const name of ['a', 'b']) expect(decide(volume({ initiators: { nodes: [name] } }), both).macs).toStrictEqual([]);
  const status = { initiators: { observedGeneration: 1, nodes: ['a'], macs: [A] } };
  expect(decide(volume({ initiators: { nodes: ['a'] } }, status), both).macs).toStrictEqual([A]);
  expect(decide(volume({ initiators: { nodes: ['b'] } }, status), both).macs).toStrictEqual([]);
});

test("the local link of this node is admitted for its own volumes, whatever its AoENode says, and another's never", () => {
  const self = volume({ initiators: { nodes: ['s'] } });
  expect(decide(self, [node('s', A)]).macs).toStrictEqual([A, localMac('s')].sort());
  expect(decide(self, [])).toStrictEqual({ macs: [localMac('s')], nodes: ['s'], problems: [] });
  expect(decide(volume({ initiators: { nodes: ['a'] } }), [node('a', A)]).macs).toStrictEqual([A]);
  // Somebody else says that it is his.
  expect(decide(self, [node('x', localMac('s'))]).problems.join()).toMatch(/s and x both claim it/);
});

test('an interface that a node no longer names stays admitted for a while, and then not', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.admitted(['a'], [A, B]));
  expect(it.decide(wanted, [node('a', A, B)])).toStrictEqual([A, B]);
  it.clock.now = 1_000_000;
  expect(it.decide(wanted, [node('a', A)])).toStrictEqual([A, B]);
  it.clock.now += HOLD_MS - 1;
  expect(it.decide(wanted, [node('a', A)])).toStrictEqual([A, B]);
  it.clock.now += 1;
  expect(it.decide(wanted, [node('a', A)])).toStrictEqual([A]);
});

test('an interface that came back is held again when it goes again', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.admitted(['a'], [A, B]));
  for (const step of [node('a', A, B), node('a', A), node('a', A, B)]) it.decide(wanted, [step]);
  it.clock.now = 2 * HOLD_MS;
  expect(it.decide(wanted, [node('a', A)])).toStrictEqual([A, B]);
});

test('an address that left its node is not held once the node is removed, another node names it, or when it was never admitted', () => {
  const it = agent();
  const status = it.admitted(['a'], [A, B]);
  it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A, B, C)]);
  expect(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A)])).toStrictEqual([A, B]);
  expect(it.decide(volume({ initiators: { nodes: ['b'] } }, status), [node('a', A)])).toStrictEqual([]);
  expect(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A), node('b', B)])).toStrictEqual([A]);
  expect(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A)])).toStrictEqual([A]);
});

test('a new machine under the name of another inherits nothing', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.admitted(['a'], [A]));
  const made = (uid: string, mac: string): AoENode => ({ ...node('a', mac), metadata: { name: 'a', uid } });
  it.decide(wanted, [made('one', A)]);
  expect(it.decide(wanted, [made('two', B)])).toStrictEqual([B]);
});

test('what is taken out of the spec is cut off, also while the AoENode of another host is empty', () => {
  const shared = { access: 'Shared' } as const;
  for (const restarted of [false, true]) {
    const it = agent();
    const status = it.admitted(['a', 'b'], [A, B, C]);
    const all = volume({ ...shared, initiators: { nodes: ['a', 'b'], macs: [C] } }, status);
    it.decide(all, restarted ? [node('a'), node('b', B)] : [node('a', A), node('b', B)]);
    expect(it.decide(all, [node('a'), node('b', B)])).toStrictEqual([A, B, C]);
    // A MAC, then a node whose AoENode is empty as well.
    expect(it.decide(volume({ ...shared, initiators: { nodes: ['a', 'b'] } }, status), [node('a'), node('b', B)])).toStrictEqual([A, B]);
    expect(it.decide(volume({ ...shared, initiators: { nodes: ['a'] } }, status), [node('a'), node('b')])).toStrictEqual([A]);
  }
});

test('after a restart, what may be the address of a node that is out is cut off', () => {
  const status = { initiators: { observedGeneration: 1, nodes: ['a', 'b'], macs: [A, B] } };
  const left = volume({ access: 'Shared', initiators: { nodes: ['a'] } }, status);
  expect(decide(left, [node('a'), node('b')]).macs).toStrictEqual([]);
  expect(decide(left, [node('a'), node('b', B)]).macs).toStrictEqual([A]);
});
