import { TargetError, type TargetStats } from '../target/api.ts';
import { FakeCopier } from '../testing/fake-copier.ts';
import { CopyLimit } from './copy-limit.ts';

const MIB = 1 << 20;
const { signal } = new AbortController();
const job = {
  id: 'copy-u-1',
  volume: 'v',
  source: { kind: 'local', path: '/dev/source' },
  destination: { path: '/dev/destination', zeroed: true },
  bytes: 4096,
  bytesPerSecond: 0,
} as const;

/** A node with a copier, and a volume that hosts have asked for data so often. */
function storageNode() {
  const node = { copier: new FakeCopier(), reads: 0, writes: 0, now: 0, isTargetUp: true, questions: 0 };
  const requests = (count: number) => ({ errors: 0, bytes: 0, seconds: 0, latency: [count, 0] });
  const stats = (): TargetStats => {
    const { reads, writes } = node;
    const initiator = {
      mac: '02:00:00:00:00:01',
      requests: { read: requests(reads), write: requests(writes) },
      repeats: 0,
      dropped: 0,
      throttled: 0,
    };
    return { latencyBounds: [1], volumes: [{ uid: 'u', initiators: [initiator], refused: {}, reclaimed: 0 }], interfaces: [], refused: {} };
  };
  const target = {
    getStats: async () => {
      node.questions++;
      if (!node.isTargetUp) throw new TargetError('unavailable', 'no target answers');
      return stats();
    },
  };
  const limit = new CopyLimit({ copier: node.copier, target, bytesPerSecond: 32 * MIB, log: { debug() {} }, now: () => node.now });
  /** One look, so many milliseconds after the last one. */
  const lookAfter = async (ms: number) => {
    node.now += ms;
    return await limit.look(signal);
  };
  return Object.assign(node, { target, limit, lookAfter });
}

describe('CopyLimit', () => {
  it('limits copies while a host reads or writes, and for three seconds after', async () => {
    const node = storageNode();
    const { copier, lookAfter } = node;
    await copier.start(job);
    const limits: number[] = [];
    for (const used of [undefined, 'reads', 'writes', undefined, undefined, undefined, undefined, 'reads'] as const) {
      if (used) node[used]++;
      await lookAfter(1_000);
      limits.push(copier.limit / MIB);
    }
    expect(limits).toStrictEqual([32, 32, 32, 32, 32, 0, 0, 32]);
  });

  it('has the limit in force before a copy begins, and asks the target nothing until then', async () => {
    const node = storageNode();
    const { copier, lookAfter } = node;
    expect(await lookAfter(0)).toBe(2_000);
    expect(copier.limit).toBe(32 * MIB);
    expect(node.questions).toBe(0);
    await copier.start(job);
    // Nobody knows yet whether volumes are in use.
    await lookAfter(2_000);
    expect(copier.limit).toBe(32 * MIB);
    await lookAfter(3_000);
    expect(copier.limit).toBe(0);
  });

  it('does not let copies that have ended count', async () => {
    const node = storageNode();
    await node.copier.start(job);
    node.copier.fail(job.id, 'the disk is too small');
    expect(await node.lookAfter(0)).toBe(2_000);
    expect(node.questions).toBe(0);
  });

  it('goes on after a target that did not answer', async () => {
    const node = storageNode();
    await node.copier.start(job);
    await node.lookAfter(0);
    await node.lookAfter(3_000);
    node.isTargetUp = false;
    await expect(node.lookAfter(1_000)).rejects.toThrow('no target answers');
    expect(node.copier.limit).toBe(0);
    Object.assign(node, { isTargetUp: true, reads: 1 });
    await node.lookAfter(1_000);
    expect(node.copier.limit).toBe(32 * MIB);
  });

  it('does nothing when there is no limit', async () => {
    const { copier, target } = storageNode();
    await new CopyLimit({ copier, target, bytesPerSecond: 0, log: { debug() {} } }).run(signal);
    expect(copier.calls).toStrictEqual([]);
  });
});
