import type { AoENode } from '../../api/node.ts';
import type { TargetInterface } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { NodeReconciler } from './reconciler.ts';

const link = { name: 'aoe-local', mac: '02:00:00:00:09:09', mtu: 9000 };
const on = (name: string, error = ''): TargetInterface => ({ name, mac: '02:00:00:00:00:01', mtu: 9000, serving: error === '', error });

/** Condition TargetReady of a storage node, as its target and link are. */
async function conditionOf(interfaces: TargetInterface[], { connected = true, local = link as typeof link | { problem: string } } = {}) {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const target = { connected, problem: 'connection refused', interfaces: () => interfaces, served: 0 };
  const nodes = kube.store<AoENode>('AoENode');
  const status = new NodeReconciler({ node: 'n1', kube, nodes, target: target as unknown as TargetConnection, network: { link: local } });
  await status.reconcile('n1', new AbortController().signal);
  const [condition] = nodes.get('n1')?.status?.conditions ?? [];
  return { reason: `${condition?.status} ${condition?.reason}`, message: condition?.message ?? '' };
}

test('a storage node is ready when its target serves on the segment', async () => {
  const { reason, message } = await conditionOf([on('eth1'), on('aoe-target')]);
  expect([reason, message]).toStrictEqual(['True Serving', 'serving on eth1']);
});

test('the local link alone does not make a storage node ready', async () => {
  const wrong = await conditionOf([on('eth7', 'there is no such interface'), on('aoe-target')]);
  expect(wrong.reason).toBe('False NoInterface');
  expect(wrong.message).toMatch(/not on eth7 \(there is no such interface\)/);
  expect((await conditionOf([on('aoe-target')])).reason).toBe('False NoInterface');
});

test('one of two interfaces is enough, and the other is reported', async () => {
  const { reason, message } = await conditionOf([on('eth1'), on('eth2', 'the interface is down'), on('aoe-target')]);
  expect([reason, message]).toStrictEqual(['True InterfaceMissing', 'serving on eth1; not on eth2 (the interface is down)']);
});

test('a target that does not answer, or that pods on its node cannot reach, is reported', async () => {
  expect((await conditionOf([], { connected: false })).reason).toBe('False NotAnswering');
  expect((await conditionOf([on('eth1')], { local: { problem: 'no veth' } })).reason).toBe('False NoLocalLink');
});

test('the local link stays in the AoENode when it cannot be looked at for a moment', async () => {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const nodes = kube.store<AoENode>('AoENode');
  const world = { link: link as typeof link | { problem: string } };
  const target = { connected: true, interfaces: () => [on('eth1')], served: 0 };
  const status = new NodeReconciler({ node: 'n1', kube, nodes, target: target as unknown as TargetConnection, network: world });
  await status.reconcile('n1', new AbortController().signal);
  world.link = { problem: 'ip link show: Cannot allocate memory' };
  await status.reconcile('n1', new AbortController().signal);
  expect(nodes.get('n1')?.status?.interfaces).toStrictEqual([{ ...link, local: true }]);
  expect(nodes.get('n1')?.status?.conditions?.[0]?.reason).toBe('NoLocalLink');
});

test('an agent says once a minute that it is alive, and nothing else when nothing has changed', async () => {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const nodes = kube.store<AoENode>('AoENode');
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') };
  const target = { connected: true, interfaces: () => [on('eth1')], served: 0 } as unknown as TargetConnection;
  const status = new NodeReconciler({ node: 'n1', kube, nodes, target, network: { link }, now: () => clock.now });
  const seen: [number, string | undefined][] = [];
  for (const step of [0, 30_000, 30_000, -3_600_000]) {
    clock.now += step;
    expect(await status.reconcile('n1', new AbortController().signal)).toStrictEqual({ requeueAfterMs: 60_000 });
    seen.push([kube.written.length, nodes.get('n1')?.status?.agentSeen]);
  }
  expect(seen).toStrictEqual([
    [1, '2026-01-01T00:00:00Z'],
    [1, '2026-01-01T00:00:00Z'],
    [2, '2026-01-01T00:01:00Z'],
    [3, '2025-12-31T23:01:00Z'],
  ]);
});

test('the number of served volumes is written once for changes that come together', async () => {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const nodes = kube.store<AoENode>('AoENode');
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') };
  const served: number[] = [];
  const target = {
    connected: true,
    interfaces: () => [on('eth1')],
    get served() {
      return served.length;
    },
  } as unknown as TargetConnection;
  const status = new NodeReconciler({ node: 'n1', kube, nodes, target, network: { link }, now: () => clock.now });
  const reconcile = () => status.reconcile('n1', new AbortController().signal);
  await reconcile();
  for (let i = 0; i < 8; i++) {
    served.push(i);
    clock.now += 500;
    expect(await reconcile()).toStrictEqual({ requeueAfterMs: 5_000 - 500 * i });
  }
  expect([kube.written.length, nodes.get('n1')?.status?.targets]).toStrictEqual([1, 0]);
  clock.now += 1_500;
  expect(await reconcile()).toStrictEqual({ requeueAfterMs: 60_000 });
  expect([kube.written.length, nodes.get('n1')?.status?.targets]).toStrictEqual([2, 8]);
});

test('a write by the node plugin at the same moment is no conflict', async () => {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const late = kube.lateStore<AoENode>('AoENode');
  late.catchUp();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1', labels: { changed: 'meanwhile' } } });
  const target = { connected: true, interfaces: () => [on('eth1')], served: 0 } as unknown as TargetConnection;
  const withoutReads = { apply: kube.apply, get: () => Promise.reject(new Error('the AoENode is read again')) };
  const status = new NodeReconciler({ node: 'n1', kube: withoutReads, nodes: late, target, network: { link } });
  await status.reconcile('n1', new AbortController().signal);
  expect(kube.written).toHaveLength(1);
});

test('an AoENode names where the agent is asked for blocks of snapshots, for as long as it is', async () => {
  const kube = new FakeKube();
  kube.put({ kind: 'AoENode', metadata: { name: 'n1' } });
  const nodes = kube.store<AoENode>('AoENode');
  const target = { connected: true, interfaces: () => [on('eth1')], served: 0 } as unknown as TargetConnection;
  const address = { port: 9816, certificate: 'PEM' };
  for (const blocks of [address, undefined]) {
    const status = new NodeReconciler({ node: 'n1', kube, nodes, target, network: { link }, blocks: () => blocks });
    await status.reconcile('n1', new AbortController().signal);
    expect(nodes.get('n1')?.status?.blocks).toStrictEqual(blocks);
  }
});
