import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AoENode } from '../api/node.ts';
import { isHeartbeat, silentAgent } from './silent-agent.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const node = (resourceVersion: string, status: AoENode['status']): AoENode =>
  ({ metadata: { name: 'a', resourceVersion }, spec: { maintenance: false }, status }) as AoENode;

describe('isHeartbeat', () => {
  const before = node('1', { agentSeen: '2026-01-01T11:58:00Z', targets: 3 });
  it('tells a sign of life from news', () => {
    assert.equal(isHeartbeat(node('2', { targets: 3, agentSeen: '2026-01-01T11:59:00Z' }), before, NOW), true);
    assert.equal(isHeartbeat(node('2', { targets: 4, agentSeen: '2026-01-01T11:59:00Z' }), before, NOW), false);
    assert.equal(isHeartbeat(node('2', { targets: 3, agentSeen: '2026-01-01T11:58:00Z' }), before, NOW), false);
    assert.equal(isHeartbeat(node('2', { targets: 3, agentSeen: '2026-01-01T11:00:00Z' }), before, NOW), false);
    assert.equal(isHeartbeat(before, undefined, NOW), false);
  });

  it('takes the first one after a silence for news', () => {
    assert.equal(isHeartbeat(node('2', { agentSeen: '2026-01-01T13:00:00Z', targets: 3 }), before, NOW + 3_600_000), false);
  });
});

describe('silentAgent', () => {
  it('says nothing of an agent that does not tell', () => {
    assert.equal(silentAgent(node('1', {}), NOW), undefined);
    assert.equal(silentAgent(undefined, NOW), undefined);
  });
});
