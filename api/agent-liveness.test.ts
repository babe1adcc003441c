import { AgentLiveness } from './agent-liveness.ts';
import type { AoENode } from './node.ts';

const MINUTE_MS = 60_000;
const node = (resourceVersion: string, status: AoENode['status']): AoENode =>
  ({ metadata: { name: 'a', resourceVersion }, spec: { maintenance: false }, status }) as AoENode;

/** The clock, and what goes by it. */
function clocked() {
  const world = { now: 0 };
  return { world, agents: new AgentLiveness({ now: () => world.now }) };
}

describe('AgentLiveness', () => {
  it('calls an agent silent five minutes after its last report, whatever the clock of its node says', () => {
    const { world, agents } = clocked();
    const old = node('1', { agentSeen: '1970-01-01T00:00:00Z' });
    agents.heard(old);
    expect(agents.silence(old)).toBeUndefined();
    world.now = 5 * MINUTE_MS - 1;
    expect(agents.silence(old)).toBeUndefined();
    world.now++;
    for (let asked = 0; asked < 2; asked++)
      expect(agents.silence(old) ?? '').toMatch(/^the agent on a is silent since 1970-01-01T00:00:00Z: is its pod running there/);
    const now = node('2', { agentSeen: '1970-01-01T00:00:01Z' });
    agents.heard(now);
    expect(agents.silence(now)).toBeUndefined();
  });

  it('says nothing of an agent that does not report, or is not known', () => {
    const { world, agents } = clocked();
    const mute = node('1', {});
    agents.heard(mute);
    world.now = 10 * MINUTE_MS;
    expect(agents.silence(mute)).toBeUndefined();
    expect(agents.silence(node('1', { agentSeen: '2026-01-01T00:00:00Z' }))).toBeUndefined();
  });

  it('a report after a silence ends it; the next one does not', () => {
    const { world, agents } = clocked();
    const report = (seconds: number): void => agents.heard(node('1', { agentSeen: `2026-01-01T00:00:0${seconds}Z` }));
    report(1);
    expect(agents.endedSilence('a')).toBe(false);
    world.now = 5 * MINUTE_MS;
    report(2);
    expect(agents.endedSilence('a')).toBe(true);
    report(2);
    expect(agents.endedSilence('a'), 'the same report says nothing new').toBe(true);
    report(3);
    expect(agents.endedSilence('a')).toBe(false);
    agents.forget('a');
    expect(agents.endedSilence('a')).toBe(false);
  });
});
