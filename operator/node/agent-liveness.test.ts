import type { AoENode } from '../../api/node.ts';
import { AgentWatch } from './agent-liveness.ts';

const MINUTE_MS = 60_000;
const node = (resourceVersion: string, status: AoENode['status']): AoENode =>
  ({ metadata: { name: 'a', resourceVersion }, spec: { maintenance: false }, status }) as AoENode;

/** A watch, and the clock that it goes by. */
function watch() {
  const world = { now: 0 };
  return { world, agents: new AgentWatch({ now: () => world.now }) };
}

describe('AgentWatch', () => {
  it('calls an agent silent five minutes after its last sign of life, whatever the clock of its node says', () => {
    const { world, agents } = watch();
    const old = node('1', { agentSeen: '1970-01-01T00:00:00Z' });
    expect(agents.silent(old)).toBeUndefined();
    world.now = 5 * MINUTE_MS - 1;
    expect(agents.silent(old)).toBeUndefined();
    world.now++;
    expect(agents.silent(old) ?? '').toMatch(/^the agent on a is silent since 1970-01-01T00:00:00Z: is its pod running there/);
    expect(agents.silent(node('2', { agentSeen: '1970-01-01T00:00:01Z' }))).toBeUndefined();
  });

  it('says nothing of an agent that does not tell', () => {
    const { world, agents } = watch();
    for (const each of [node('1', {}), undefined]) {
      agents.silent(each);
      world.now += 10 * MINUTE_MS;
      expect(agents.silent(each)).toBeUndefined();
    }
  });

  it('tells a sign of life from news', () => {
    const { agents } = watch();
    const before = node('1', { agentSeen: '2026-01-01T11:58:00Z', targets: 3 });
    expect(agents.isHeartbeat(before, undefined)).toBe(false);
    expect(agents.isHeartbeat(node('2', { targets: 3, agentSeen: '2026-01-01T11:59:00Z' }), before)).toBe(true);
    expect(agents.isHeartbeat(node('2', { targets: 4, agentSeen: '2026-01-01T12:00:00Z' }), before)).toBe(false);
    expect(agents.isHeartbeat(node('2', { targets: 3, agentSeen: '2026-01-01T11:58:00Z' }), before)).toBe(false);
  });

  it('takes the first one after a silence for news', () => {
    const { world, agents } = watch();
    const before = node('1', { agentSeen: '2026-01-01T11:58:00Z' });
    agents.hear(before);
    world.now = 5 * MINUTE_MS;
    expect(agents.isHeartbeat(node('2', { agentSeen: '2026-01-01T12:03:00Z' }), before)).toBe(false);
  });
});
