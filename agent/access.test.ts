import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AoENode } from '../api/node.ts';
import type { AoEVolume } from '../api/volume.ts';
import { contestedMacs, desiredAccess } from './access.ts';

const node = (name: string, ...macs: string[]): AoENode =>
  ({ metadata: { name }, spec: {}, status: { interfaces: macs.map((mac, index) => ({ name: `e${index}`, mac, mtu: 1500 })) } }) as never;
const volume = (spec: object, status: object = {}): AoEVolume =>
  ({ metadata: { name: 'v' }, spec: { access: 'Exclusive', ...spec }, status }) as never;
const [A, B, C] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'];

test('nobody is let in when nobody is asked for', () => {
  assert.deepEqual(desiredAccess(volume({}), [node('a', A)], 's'), { macs: [], nodes: [], problems: [] });
});

test('every interface of a node is let in', () => {
  assert.deepEqual(desiredAccess(volume({ initiators: { nodes: ['a'] } }), [node('a', B, A)], 's').macs, [A, B]);
});

test('many MACs without a node may be one host', () => {
  assert.deepEqual(desiredAccess(volume({ initiators: { macs: [B, A] } }), [], 's'), { macs: [A, B], nodes: [], problems: [] });
});

test('an Exclusive volume is refused to a node beside another host', () => {
  for (const initiators of [{ nodes: ['a', 'b'] }, { nodes: ['a'], macs: [C] }]) {
    assert.match(desiredAccess(volume({ initiators }), [node('a', A), node('b', B)], 's').refused ?? '', /one host at a time/);
  }
  assert.equal(desiredAccess(volume({ access: 'Shared', initiators: { nodes: ['a', 'b'] } }), [node('a', A)], 's').refused, undefined);
});

test('MACs of two nodes are two hosts, MACs of one node are one', () => {
  const nodes = [node('a', A, B), node('b', C)];
  assert.match(desiredAccess(volume({ initiators: { macs: [A, C] } }), nodes, 's').refused ?? '', /MACs of nodes a, b/);
  assert.deepEqual(desiredAccess(volume({ initiators: { macs: [A, B] } }), nodes, 's').macs, [A, B]);
  assert.deepEqual(desiredAccess(volume({ access: 'Shared', initiators: { macs: [A, C] } }), nodes, 's').macs, [A, C]);
});

test('a node whose status is empty keeps what it has, and gives nothing to the next', () => {
  const status = { initiators: { observedGeneration: 1, nodes: ['a'], macs: [A] } };
  assert.deepEqual(desiredAccess(volume({ initiators: { nodes: ['a'] } }, status), [node('a')], 's').macs, [A]);
  assert.deepEqual(desiredAccess(volume({ initiators: { nodes: ['b'] } }, status), [node('a'), node('b')], 's').macs, []);
  // Its address is another node's now: that is not let in on its account.
  assert.deepEqual(desiredAccess(volume({ initiators: { nodes: ['a'] } }, status), [node('a'), node('b', A)], 's').macs, []);
});

test('a MAC that two nodes claim is named with both', () => {
  assert.deepEqual([...contestedMacs([node('a', A), node('b', A, B), node('c', C, C)])], [[A, ['a', 'b']]]);
});
