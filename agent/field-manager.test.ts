import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFieldManager } from './field-manager.ts';

test('the field manager names the node', () => {
  assert.equal(nodeFieldManager('storage-1'), 'aoe-csi-agent-storage-1');
});

test('the field manager of a node with a long name fits the API server, and is that of no other node', () => {
  const [one, two] = [`${'n'.repeat(200)}1`, `${'n'.repeat(200)}2`].map(nodeFieldManager);
  assert.ok((one?.length ?? 999) <= 128);
  assert.notEqual(one, two);
});
