import { nodeFieldManager } from './field-manager.ts';

test('the field manager names the node', () => {
  expect(nodeFieldManager('storage-1')).toBe('aoe-csi-agent-storage-1');
});

test('the field manager of a node with a long name fits the API server, and is that of no other node', () => {
  const [one, two] = [`${'n'.repeat(200)}1`, `${'n'.repeat(200)}2`].map(nodeFieldManager);
  expect(one?.length ?? 999).toBeLessThanOrEqual(128);
  expect(one).not.toBe(two);
});
