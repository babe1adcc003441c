import type { AoENode } from '../../api/node.ts';
import { isMoreThanHeartbeat } from './heartbeat.ts';

const node = (resourceVersion: string, status: AoENode['status']): AoENode =>
  ({ metadata: { name: 'a', resourceVersion }, spec: { maintenance: false }, status }) as AoENode;

describe('isMoreThanHeartbeat', () => {
  it('tells a report that the agent is alive from a change', () => {
    const previous = node('1', { agentSeen: '2026-01-01T11:58:00Z', targets: 3 });
    const table: [AoENode['status'], boolean][] = [
      [{ targets: 3, agentSeen: '2026-01-01T11:59:00Z' }, false],
      [{ targets: 4, agentSeen: '2026-01-01T12:00:00Z' }, false],
      [{ targets: 3, agentSeen: '2026-01-01T11:58:00Z', segment: 'blue' }, true],
    ];
    for (const [status, expected] of table)
      expect(isMoreThanHeartbeat({ type: 'applied', object: node('2', status), previous })).toBe(expected);
    expect(isMoreThanHeartbeat({ type: 'applied', object: previous })).toBe(true);
  });
});
