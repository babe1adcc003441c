import type { Pod } from '../cluster/objects.ts';
import { aoeNode, condition, machine, NOW, pod, pool, volume } from '../testing/objects.ts';
import { machineProblems, nodeProblems, podProblems, poolProblems, snapshotProblems, volumeProblems } from './problems.ts';

describe('what is not well', () => {
  it('is nothing when all is well', () => {
    expect(volumeProblems(volume('v'))).toStrictEqual([]);
    expect(nodeProblems(aoeNode('s', { storage: true }), NOW)).toStrictEqual([]);
    expect(machineProblems(machine('m'))).toStrictEqual([]);
    expect(poolProblems(pool('p'))).toStrictEqual([]);
    expect(podProblems(pod('p'))).toStrictEqual([]);
  });

  it('of a volume is the cause once, although Ready repeats it', () => {
    const lost = 'the logical volume is gone';
    const conditions = [condition('Provisioned', 'False', 'BackingLost', lost), condition('Ready', 'False', 'BackingLost', lost)];
    expect(volumeProblems(volume('v', { status: { conditions } }))).toStrictEqual([
      { subject: 'volume v', reason: 'BackingLost', message: lost },
    ]);
  });

  it('of a volume is what is missing although it is Ready', () => {
    const conditions = [
      condition('Exported', 'True', 'InitiatorsMissing', 'node w has no MAC address yet'),
      condition('Grown', 'False', 'PoolFull', 'no room'),
      condition('AddressConflict', 'True', 'AnsweredByOther', '02:00:00:00:00:09 answers, too'),
      condition('Locked', 'True', 'NotOurs', 'locked by "me"'),
      condition('Ready', 'True', 'Exported', 'exported'),
    ];
    const reasons = volumeProblems(volume('v', { status: { conditions } })).map(({ reason }) => reason);
    expect(reasons).toStrictEqual(['InitiatorsMissing', 'PoolFull', 'AnsweredByOther', 'NotOurs']);
  });

  it('of a volume without any report is that', () => {
    expect(volumeProblems(volume('v', { status: { conditions: [] } }))[0]?.message).toMatch('does the operator run?');
  });

  it('of a node is a condition, or a silent agent', () => {
    const conditions = [
      condition('InitiatorReady', 'False', 'NoDriver', 'modprobe failed'),
      condition('TargetReady', 'True', 'InterfaceMissing', 'not on eth2'),
    ];
    const found = nodeProblems(aoeNode('n', { storage: true, status: { conditions, agentSeen: '2026-11-28T11:50:00Z' } }), NOW);
    expect(found.map(({ reason, message }) => `${reason}: ${message}`)).toStrictEqual([
      'NoDriver: InitiatorReady is False: modprobe failed',
      'InterfaceMissing: TargetReady is True: not on eth2',
      expect.stringMatching(/^Silent: the agent on n has not reported since 2026-11-28T11:50:00Z/),
    ]);
    expect(machineProblems(machine('m', { ready: false }))[0]?.message).toMatch(/^node m has not been Ready since/);
  });

  it('of a pool and of a snapshot is their condition', () => {
    expect(poolProblems(pool('p', [], condition('Ready', 'True', 'NeedsAttention', 'almost full on s')))[0]?.message).toBe(
      'almost full on s',
    );
    const status = { phase: 'Failed', conditions: [condition('Ready', 'False', 'PoolFull', 'no room')] };
    expect(snapshotProblems({ metadata: { name: 's' }, status } as never)).toStrictEqual([
      { subject: 'snapshot s', reason: 'PoolFull', message: 'no room' },
    ]);
  });

  it('of a pod is its container, or that no node takes it; a pod that has done its work is well', () => {
    const waiting = { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 5m0s' } };
    const crashing: Pod = {
      ...pod('p'),
      status: { phase: 'Running', containerStatuses: [{ name: 'agent', ready: false, state: waiting }] },
    };
    expect(podProblems(crashing)).toStrictEqual([
      { subject: 'pod shop/p', reason: 'CrashLoopBackOff', message: 'container agent on worker-1: back-off 5m0s' },
    ]);
    const unscheduled = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes' };
    expect(podProblems({ ...pod('p'), status: { phase: 'Pending', conditions: [unscheduled] } })[0]?.message).toBe('0/3 nodes');
    expect(podProblems({ ...pod('p'), status: { phase: 'Succeeded' } })).toStrictEqual([]);
  });
});
