import assert from 'node:assert/strict';
import { test } from 'node:test';
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

/** What an agent on node s decides that has just been started; the status says what the target has in force. */
function decide(of: AoEVolume, nodes: AoENode[], memory = new MacMemory()) {
  memory.noteNodes(nodes);
  memory.noteSpec('', of.spec.initiators?.macs ?? []);
  return desiredAccess(of, nodes, { self: 's', memory, inForce: of.status?.initiators?.macs ?? [] });
}

/** An agent on node s that has seen what came before, with a clock of its own. */
function agent() {
  const clock = { now: 0 };
  const memory = new MacMemory({ now: () => clock.now });
  const inForce = (nodes: string[], macs: string[]) => ({ initiators: { observedGeneration: 1, nodes, macs } });
  return { clock, inForce, decide: (of: AoEVolume, nodes: AoENode[]) => decide(of, nodes, memory).macs };
}

test('nobody is let in when nobody is asked for', () => {
  assert.deepEqual(decide(volume({}), [node('a', A)]), { macs: [], nodes: [], problems: [] });
});

test('every interface of a node is let in', () => {
  assert.deepEqual(decide(volume({ initiators: { nodes: ['a'] } }), [node('a', B, A)]).macs, [A, B]);
});

test('many MACs without a node may be one host', () => {
  assert.deepEqual(decide(volume({ initiators: { macs: [B, A] } }), []), { macs: [A, B], nodes: [], problems: [] });
});

test('an Exclusive volume is refused to a node beside another host', () => {
  for (const initiators of [{ nodes: ['a', 'b'] }, { nodes: ['a'], macs: [C] }]) {
    assert.match(decide(volume({ initiators }), [node('a', A), node('b', B)]).refused ?? '', /one host at a time/);
  }
  assert.equal(decide(volume({ access: 'Shared', initiators: { nodes: ['a', 'b'] } }), [node('a', A)]).refused, undefined);
});

test('MACs of two nodes are two hosts, MACs of one node are one', () => {
  const nodes = [node('a', A, B), node('b', C)];
  assert.match(decide(volume({ initiators: { macs: [A, C] } }), nodes).refused ?? '', /MACs of nodes a, b/);
  assert.deepEqual(decide(volume({ initiators: { macs: [A, B] } }), nodes).macs, [A, B]);
  assert.deepEqual(decide(volume({ access: 'Shared', initiators: { macs: [A, C] } }), nodes).macs, [A, C]);
});

test('a node whose status is empty keeps what it has, and gives nothing to the next', () => {
  const status = { initiators: { observedGeneration: 1, nodes: ['a'], macs: [A] } };
  assert.deepEqual(decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a')]).macs, [A]);
  assert.deepEqual(decide(volume({ initiators: { nodes: ['b'] } }, status), [node('a'), node('b')]).macs, []);
  // Its address is another node's now: that is not let in on its account.
  assert.deepEqual(decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a'), node('b', A)]).macs, []);
});

test('a MAC that two nodes claim is named with both', () => {
  assert.deepEqual([...contestedMacs([node('a', A), node('b', A, B), node('c', C, C)])], [[A, ['a', 'b']]]);
});

test("the local link of this node is let in for its own volumes, whatever its AoENode says, and another's never", () => {
  const self = volume({ initiators: { nodes: ['s'] } });
  assert.deepEqual(decide(self, [node('s', A)]).macs, [A, localMac('s')].sort());
  assert.deepEqual(decide(self, []), { macs: [localMac('s')], nodes: ['s'], problems: [] });
  assert.deepEqual(decide(volume({ initiators: { nodes: ['a'] } }), [node('a', A)]).macs, [A]);
  // Somebody else says that it is his.
  assert.match(decide(self, [node('x', localMac('s'))]).problems.join(), /s and x both claim it/);
});

test('one of two interfaces that a node names no more is let in for a while yet, and then not', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.inForce(['a'], [A, B]));
  assert.deepEqual(it.decide(wanted, [node('a', A, B)]), [A, B]);
  it.clock.now = 1_000_000;
  assert.deepEqual(it.decide(wanted, [node('a', A)]), [A, B]);
  it.clock.now += HOLD_MS - 1;
  assert.deepEqual(it.decide(wanted, [node('a', A)]), [A, B]);
  it.clock.now += 1;
  assert.deepEqual(it.decide(wanted, [node('a', A)]), [A]);
});

test('an interface that is back is held anew when it goes again', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.inForce(['a'], [A, B]));
  for (const step of [node('a', A, B), node('a', A), node('a', A, B)]) it.decide(wanted, [step]);
  it.clock.now = 2 * HOLD_MS;
  assert.deepEqual(it.decide(wanted, [node('a', A)]), [A, B]);
});

test('an address that left its node is not held once the node is out, or somebody else names it, or it never was in force', () => {
  const it = agent();
  const status = it.inForce(['a'], [A, B]);
  it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A, B, C)]);
  assert.deepEqual(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A)]), [A, B]);
  assert.deepEqual(it.decide(volume({ initiators: { nodes: ['b'] } }, status), [node('a', A)]), []);
  assert.deepEqual(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A), node('b', B)]), [A]);
  assert.deepEqual(it.decide(volume({ initiators: { nodes: ['a'] } }, status), [node('a', A)]), [A]);
});

test('a machine made anew under the name of another inherits nothing', () => {
  const it = agent();
  const wanted = volume({ initiators: { nodes: ['a'] } }, it.inForce(['a'], [A]));
  const made = (uid: string, mac: string): AoENode => ({ ...node('a', mac), metadata: { name: 'a', uid } });
  it.decide(wanted, [made('one', A)]);
  assert.deepEqual(it.decide(wanted, [made('two', B)]), [B]);
});

test('what is taken out of the spec is cut off, also while the AoENode of another host is empty', () => {
  const shared = { access: 'Shared' } as const;
  for (const restarted of [false, true]) {
    const it = agent();
    const status = it.inForce(['a', 'b'], [A, B, C]);
    const all = volume({ ...shared, initiators: { nodes: ['a', 'b'], macs: [C] } }, status);
    it.decide(all, restarted ? [node('a'), node('b', B)] : [node('a', A), node('b', B)]);
    assert.deepEqual(it.decide(all, [node('a'), node('b', B)]), [A, B, C]);
    // A MAC, then a node whose AoENode is empty as well.
    assert.deepEqual(it.decide(volume({ ...shared, initiators: { nodes: ['a', 'b'] } }, status), [node('a'), node('b', B)]), [A, B]);
    assert.deepEqual(it.decide(volume({ ...shared, initiators: { nodes: ['a'] } }, status), [node('a'), node('b')]), [A]);
  }
});

test('after a restart, what may be the address of a node that is out is cut off', () => {
  const status = { initiators: { observedGeneration: 1, nodes: ['a', 'b'], macs: [A, B] } };
  const left = volume({ access: 'Shared', initiators: { nodes: ['a'] } }, status);
  assert.deepEqual(decide(left, [node('a'), node('b')]).macs, []);
  assert.deepEqual(decide(left, [node('a'), node('b', B)]).macs, [A]);
});
