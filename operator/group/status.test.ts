import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { readyOf, statusOf } from './status.ts';

for (const [reason, phase] of [
  ['Copying', 'Pending'],
  ['SnapshotLost', 'Failed'],
] as const) {
  test(`a committed group with a member that is ${reason} is ${phase}`, () => {
    const status = { stage: 'Committed', members: [{ name: 'm', volumeName: 'v' }] };
    const group = { metadata: { name: 'g', uid: 'g-uid' }, spec: { members: [] }, status } as never as AoESnapshotGroup;
    const conditions = [{ type: 'Ready', status: 'False', reason, message: '7 %' }];
    const member = {
      metadata: { name: 'm' },
      spec: { volumeName: 'v', group: { name: 'g', uid: 'g-uid' } },
      status: { phase: 'Pending', committed: true, conditions },
    } as never as AoESnapshot;
    const verdict = readyOf(group, () => member);
    expect(verdict).toStrictEqual({ status: 'False', reason, message: 'AoESnapshot m: 7 %' });
    expect(statusOf(group, group.status ?? ({} as never), verdict).fields?.phase).toBe(phase);
  });
}
