import { Code } from '../../../rpc/status.ts';
import type { StageJob } from '../calls/stage-job.ts';
import { FakeNode } from '../testing/fakes.ts';
import { releaseAfterFailure, takeLock } from './take.ts';

const since = '2026-01-01T00:00:00.000001Z';

function setUp({ external = false, access = 'Exclusive' as const } = {}) {
  const node = new FakeNode();
  const owner = { node: 'worker-1', nodeUID: 'uid-of-worker-1', volumeUID: 'uid-1' };
  const job = {
    volumeId: 'v1',
    name: 'volume v1',
    volume: node.volumes.items.get('v1'),
    context: { address: 'e7.3', target: { shelf: 7, slot: 3 }, serial: 'S1', volumeUID: 'uid-1', access, external },
    usage: { kind: 'block', readOnly: false, single: false },
    stagingPath: '/staging',
    owner,
    disk: node.deps.localDisk('e7.3'),
    signal: new AbortController().signal,
  } as StageJob;
  return { node, job };
}

test('takeLock() takes the lock, and records the holder of an external target only', async () => {
  for (const external of [false, true]) {
    const { node, job } = setUp({ external });
    await takeLock(node.deps, job, since);
    expect(node.target.holder?.since).toBe(since);
    expect(node.volumes.items.get('v1')?.status?.holder?.node).toBe(external ? 'worker-1' : undefined);
  }
});

for (const [what, prepare, code, message] of [
  [
    'another node',
    (node: FakeNode) => Object.assign(node.target, { holder: { node: 'b', nodeUID: 'x', volumeUID: 'uid-1', since } }),
    Code.FAILED_PRECONDITION,
    /held by node b since 2026-01-01/,
  ],
  [
    'a person',
    (node: FakeNode) => Object.assign(node.target, { otherString: 'hands off' }),
    Code.FAILED_PRECONDITION,
    /somebody who wrote "hands off"/,
  ],
  ['a target that does not answer', (node: FakeNode) => node.segment.targets.clear(), Code.UNAVAILABLE, /stopped answering/],
] as const) {
  test(`takeLock() fails because of ${what}`, async () => {
    const { node, job } = setUp();
    prepare(node);
    await expect(takeLock(node.deps, job, since)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
}

test('releaseAfterFailure() releases the lock', async () => {
  const { node, job } = setUp();
  await takeLock(node.deps, job, since);
  await releaseAfterFailure(node.deps, job);
  expect(node.target.holder).toBeUndefined();
});

test('releaseAfterFailure() keeps the lock while the disk is mounted', async () => {
  const { node, job } = setUp();
  await takeLock(node.deps, job, since);
  await node.driver.attach('e7.3');
  await node.mounter.mount('/dev/etherd/e7.3', '/pod', { options: ['bind'] });
  await releaseAfterFailure(node.deps, job);
  expect(node.target.holder?.node).toBe('worker-1');
});
