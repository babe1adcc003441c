import type { AoENode, AoENodeStatus } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { createLog } from '../../run/log.ts';
import { TargetConnection } from '../target/connection.ts';
import { FakeKube } from '../testing/fake-kube.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { HeardReporter } from './heard.ts';

const signal = new AbortController().signal;
const mac = (last: number) => `02:00:00:00:00:0${last}`;

/** Storage node s1, which is asked about w1. Nodes w1, w2 and s2 send heartbeats. */
async function world({ silent, listeningMs = 600_000 }: { silent: Record<string, number>; listeningMs?: number }) {
  const kube = new FakeKube();
  const add = (name: string, last: number, status: AoENodeStatus = {}) =>
    kube.put({
      kind: 'AoENode',
      metadata: { name },
      status: { heartbeatSeconds: 5, interfaces: [{ name: 'eth1', mac: mac(last).toUpperCase(), mtu: 1500 }], ...status },
    } as AoENode & { kind: string });
  add('s1', 1);
  add('w1', 2, { suspicion: { question: 'q1' } });
  add('w2', 3);
  add('s2', 4);
  const fake = new FakeTarget();
  fake.silences = { listeningMs, silentMs: new Map(Object.entries(silent)) };
  const target = new TargetConnection(fake, createLog('test', 'silent'));
  const stop = new AbortController();
  const connected = Promise.withResolvers<void>();
  target.subscribe(() => target.connected && connected.resolve());
  const running = target.run(stop.signal);
  await connected.promise;
  const nodes = kube.store<AoENode>('AoENode');
  const volumes = kube.store<AoEVolume>('AoEVolume');
  const self = kube.store<KubeObject>('Node');
  const reporter = new HeardReporter({ node: 's1', kube, nodes, self, volumes, target });
  return {
    kube,
    fake,
    target,
    add,
    report: () => reporter.reconcile(signal),
    heard: () => nodes.get('s1')?.status?.heard,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

test('the agent says for how long a node was silent, and how many others are heard', async () => {
  await using it = await world({ silent: { [mac(2)]: 41_900, [mac(3)]: 4_000, [mac(4)]: 18_000 } });
  expect(await it.report()).toStrictEqual({});
  expect(it.heard()).toStrictEqual([{ node: 'w1', question: 'q1', silentSeconds: 41, hears: 1, of: 2 }]);
});

test('a node that the target never heard was silent for as long as it has listened', async () => {
  await using it = await world({ silent: {}, listeningMs: 7_000 });
  await it.report();
  expect(it.heard()).toMatchObject([{ silentSeconds: 7, hears: 0, of: 2 }]);
});

test('a node that the target cannot hear, on another segment or without an interface there, is none of the others', async () => {
  await using it = await world({ silent: { [mac(2)]: 41_000, [mac(3)]: 4_000, [mac(4)]: 4_000 } });
  it.add('elsewhere', 5, { segment: 'b' });
  it.add('default', 6, { segment: 'default' });
  it.add('without', 7, { interfaces: [] });
  it.add('local', 8, { interfaces: [{ name: 'aoe-local', mac: mac(8), mtu: 1500, local: true }] });
  await it.report();
  expect(it.heard()).toMatchObject([{ hears: 2, of: 3 }]);
});

test('a storage node without a node plugin is on the segment that the label of its Node says', async () => {
  await using it = await world({ silent: { [mac(2)]: 41_000, [mac(3)]: 4_000, [mac(5)]: 4_000 } });
  it.kube.put({ kind: 'Node', metadata: { name: 's1', labels: { 'aoe.dev/segment': 'b' } } } as KubeObject & { kind: string });
  it.add('there', 5, { segment: 'b' });
  await it.report();
  expect(it.heard()).toMatchObject([{ hears: 1, of: 1 }]);
});

test('an address that the AoENode dropped, and that is still admitted, counts', async () => {
  await using it = await world({ silent: { [mac(2)]: 41_000, [mac(7)]: 1_000 } });
  const spec = { access: 'Exclusive', initiators: { nodes: ['w1'] } };
  it.kube.put({ kind: 'AoEVolume', metadata: { name: 'v', uid: 'u' }, spec } as unknown as AoEVolume);
  const volume = { uid: 'u', shelf: 1, slot: 1, path: '/x', serial: 'S', readOnly: false, bytes: 0, writesNeedLock: true };
  await it.target.export({ ...volume, macs: [mac(2), mac(7)] }, signal);
  await it.report();
  expect(it.heard()).toMatchObject([{ silentSeconds: 1 }]);
});

test('each question is answered once, and an answer goes with its question', async () => {
  await using it = await world({ silent: { [mac(2)]: 41_000 } });
  await it.report();
  const { calls } = it.fake;
  const asked = () => calls.filter((call) => call === 'getHeard').length;
  await it.report();
  expect(asked()).toBe(1);
  it.fake.silences = { listeningMs: 600_000, silentMs: new Map([[mac(2), 3_000]]) };
  it.add('w1', 2, { suspicion: { question: 'q2' } });
  await it.report();
  expect(it.heard()).toMatchObject([{ question: 'q2', silentSeconds: 3 }]);
  it.add('w1', 2);
  await it.report();
  expect(it.heard()).toBeUndefined();
  expect(asked()).toBe(2);
});

test('nothing is said by a target that is not on the segment, or is of an earlier version', async () => {
  await using deaf = await world({ silent: { [mac(2)]: 41_000 } });
  const served = deaf.fake.interfaces.map((each) => ({ ...each, serving: false, error: 'down' }));
  deaf.fake.interfaces = served;
  for (const each of served) await deaf.fake.announce(each);
  expect(await deaf.report()).toStrictEqual({ requeueAfterMs: 2_000 });
  expect(deaf.heard()).toBeUndefined();
});
