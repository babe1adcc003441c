import assert from 'node:assert/strict';
import { formatLock } from '../../../aoe/mod.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { FakeNode } from '../testing/fakes.ts';
import { DownDisks } from './down-disks.ts';

const MAC = '02:00:00:00:00:07';
const LOCK = '2026-01-01T00:00:00.000001Z';
const signal = new AbortController().signal;

/** A node that has `v1` staged and published, as a raw block device or as a file system, and whose kernel has given up the disk. */
async function down(kind: 'block' | 'filesystem', { node = new FakeNode(), record = {} }: { node?: FakeNode; record?: object } = {}) {
  await node.driver.attach('e7.3');
  if (kind === 'block') await node.mounter.mount('/dev/etherd/e7.3', '/publish/v1', { options: ['bind'] });
  else await node.mounter.mount('/dev/etherd/e7.3', '/staging/v1', { type: 'ext4', options: [] });
  await node.recordStaged({ locks: [LOCK], ...record });
  node.target.holder = { node: 'worker-1', nodeUID: 'uid-of-worker-1', volumeUID: 'uid-1', since: LOCK };
  const volume = node.volumes.items.get('v1') as AoEVolume;
  volume.status = { serial: 'S1', initiators: { observedGeneration: 1, nodes: ['worker-1'], macs: [MAC] } };
  const disk = node.driver.known.get('e7.3') ?? assert.fail();
  Object.assign(disk, { state: 'closewait', openedBy: ['process 7 (qemu)'] });
  const revived: string[] = [];
  node.driver.attach = async (address) => {
    revived.push(address);
    Object.assign(disk, { state: 'up', serial: node.target.serial });
    return disk.disk;
  };
  const events: string[] = [];
  const downDisks = new DownDisks(node.deps, {
    macs: async () => [MAC],
    deadSeconds: async () => 10,
    emit: (_volume, type, reason, message) => events.push(`${type} ${reason}: ${message}`),
  });
  return {
    node,
    volume,
    disk,
    revived,
    events,
    downDisks,
    check: async (times = 2) => {
      for (let i = 0; i < times; i++) await downDisks.check(signal);
    },
    stays: () => {
      expect(revived).toStrictEqual([]);
      expect(disk.state).toBe('closewait');
    },
  };
}

test('a raw block disk is revived when its target is back with the same serial number and lock; an event says so', async () => {
  const it = await down('block');
  await it.check(1);
  it.stays();
  expect((await it.downDisks.down()).map(({ volumeId }) => volumeId)).toStrictEqual(['v1']);
  await it.check(1);
  expect(it.revived).toStrictEqual(['e7.3']);
  expect(it.events).toStrictEqual([
    'Normal DiskRevived: node worker-1: disk e7.3 is down, because its target did not answer for longer than aoe_deadsecs (10 s). Its target answers again, and the raw block device works again; programs had I/O errors meanwhile',
  ]);
  expect(await it.downDisks.down()).toStrictEqual([]);
  await it.check(2);
  expect(it.events).toHaveLength(1);
});

test('a disk whose target is away stays as it is, and is reported once', async () => {
  const it = await down('block');
  it.node.segment.targets.clear();
  await it.check(4);
  it.stays();
  expect(it.events).toHaveLength(1);
  expect(it.events[0]).toMatch(
    /^Warning DiskDown: node worker-1: disk e7\.3 .* \(10 s\), and it cannot be used yet: .*no target answers\..*\? Its users have I\/O errors/,
  );
});

for (const [what, change, message] of [
  [
    'that this node cannot ask, without an AoE interface,',
    ({ wire }: FakeNode) => {
      wire.survey = () => Promise.reject(new RpcError(Code.UNAVAILABLE, 'this node has no AoE interface that is up: see --interfaces'));
    },
    /cannot be used yet: this node has no AoE interface that is up: see --interfaces\. Its users/,
  ],
  [
    'that answers, but does not admit this node,',
    ({ wire }: FakeNode) => {
      const survey = wire.survey.bind(wire);
      wire.survey = async (address) => ({ ...(await survey(address)), identities: [] });
    },
    /cannot be used yet: .* does not identify its disk; it may be starting, or it does not admit this host\. Its users/,
  ],
] as const) {
  test(`an event about a disk whose target is one ${what} says so`, async () => {
    const it = await down('block');
    change(it.node);
    await it.check(3);
    it.stays();
    expect(it.events).toStrictEqual([expect.stringMatching(message)]);
    expect(it.events[0]).toMatch(/^Warning DiskDown: /);
  });
}

test('a mounted file system is not revived: an event asks for a new mount', async () => {
  const it = await down('filesystem');
  await it.check(3);
  it.stays();
  expect(it.events).toHaveLength(1);
  expect(it.events[0]).toMatch(/^Warning RemountNeeded: .* delete the pods on this node that use the volume$/);
});

for (const [what, change, message] of [
  [
    'whose lock was lost',
    ({ target }: FakeNode) => {
      delete target.holder;
    },
    /DiskNotRevived.*lost its lock/,
  ],
  [
    'whose lock was taken again meanwhile',
    ({ target }: FakeNode) => {
      assert.ok(target.holder);
      target.holder.since = '2026-01-01T00:00:00.000009Z';
    },
    /DiskNotRevived.*lost its lock/,
  ],
  [
    'whose address has another disk now',
    ({ target }: FakeNode) => {
      target.serial = 'S2';
    },
    /DiskNotRevived.*wrong disk/,
  ],
  [
    'at whose address two disks answer',
    ({ target, segment }: FakeNode) => void segment.targets.set('e7.3', [target, { ...target, serial: 'S2', mac: '02:00:00:00:00:02' }]),
    /DiskNotRevived.*two disks/,
  ],
  [
    'that the node may not use any more',
    ({ volumes }: FakeNode) => {
      const volume = volumes.items.get('v1');
      assert.ok(volume);
      volume.spec.initiators = { nodes: ['worker-2'] };
    },
    /DiskNotRevived.*may not use/,
  ],
  [
    'to which the target does not admit the node',
    ({ volumes }: FakeNode) => {
      const volume = volumes.items.get('v1');
      assert.ok(volume?.status);
      volume.status.initiators = { observedGeneration: 1, nodes: [], macs: [] };
    },
    /DiskNotRevived.*may not use/,
  ],
  [
    'whose serial number is not known',
    ({ volumes }: FakeNode) => {
      const volume = volumes.items.get('v1');
      assert.ok(volume?.status);
      delete volume.status.serial;
    },
    /DiskNotRevived.*serial number is not known/,
  ],
] as const) {
  test(`a raw block disk ${what} is not revived, and an event says why`, async () => {
    const it = await down('block');
    change(it.node);
    await it.check(3);
    it.stays();
    expect(it.events.join()).toMatch(message);
  });
}

for (const [what, change] of [
  [
    'of a volume that was deleted and created again',
    ({ node }) => void Object.assign(node.volumes.items.get('v1')?.metadata ?? {}, { uid: 'x' }),
  ],
  ['of a volume that is gone', ({ node }) => node.volumes.items.clear()],
  [
    'while the API server does not answer',
    ({ node }) => {
      node.volumes.get = () => Promise.reject(new Error('connection refused'));
    },
  ],
  ['with an address that another staged volume has, too', ({ node, other }) => node.deps.staged.put('v2', other)],
  [
    'of which nothing is published',
    ({ node }) => {
      node.mounter.mounts = [];
    },
  ],
] as const satisfies readonly [string, (it: { node: FakeNode; other: never }) => unknown][]) {
  test(`a raw block disk ${what} is not revived`, async () => {
    const it = await down('block');
    const record = await it.node.deps.staged.get('v1');
    await change({ node: it.node, other: { ...record, volumeUID: 'uid-2' } as never });
    await it.check(3);
    it.stays();
    expect(it.events).toStrictEqual([]);
  });
}

test("the kubelet's calls go first, and what changed meanwhile counts", async () => {
  const it = await down('block');
  await it.node.deps.jobs.run('v1', 'NodeUnpublishVolume', () => it.check(3));
  it.stays();
  // The lock is lost between the two times at which it is read.
  const survey = it.node.wire.survey.bind(it.node.wire);
  let asked = 0;
  it.node.wire.survey = async (address) => {
    const answer = await survey(address);
    if (++asked < 2) return answer;
    const string = formatLock({ node: 'worker-1', nodeUID: 'uid-of-worker-1', volumeUID: 'uid-1', since: '2027-01-01T00:00:00Z' });
    return { ...answer, configs: answer.configs.map((each) => ({ ...each, string })) };
  };
  await it.check(1);
  it.stays();
  expect(asked).toBe(2);
});

test('a shared volume has no lock, and is revived', async () => {
  const it = await down('block', { record: { access: 'Shared', locks: undefined } });
  delete it.node.target.holder;
  await it.check();
  expect(it.revived).toStrictEqual(['e7.3']);
});

test('a disk that was staged again is not called down until the next check', async () => {
  const it = await down('filesystem');
  await it.check(1);
  it.disk.state = 'up';
  expect(await it.downDisks.down()).toStrictEqual([]);
});

test('a disk that was unstaged, or came back by itself, is forgotten', async () => {
  const it = await down('filesystem');
  await it.check(1);
  expect(await it.downDisks.down()).toHaveLength(1);
  it.disk.state = 'up';
  await it.check(1);
  expect(await it.downDisks.down()).toStrictEqual([]);
  it.disk.state = 'down';
  await it.check(1);
  await it.node.deps.staged.delete('v1');
  await it.check(1);
  expect(await it.downDisks.down()).toStrictEqual([]);
});

test('a disk with authenticated encryption is not revived: dm-integrity would go on giving errors', async () => {
  const it = await down('block', { record: { encrypted: true, authenticated: true } });
  await it.check();
  it.stays();
  expect(it.events[0]).toMatch(/^Warning DiskNotRevived: .* authenticated encryption must be opened again\. Delete the pods/);
});
