import type { SelectedInterfaces } from '../../../aoe/mod.ts';
import type { AoENode } from '../../../api/node.ts';
import type { Kube, NextCondition } from '../../../kube/mod.ts';
import { FakeNode } from '../testing/fakes.ts';
import { keepNodeObject } from './node-object.ts';

/** One AoENode, and what was written to it. */
class FakeKube {
  node: AoENode | undefined;
  applied: AoENode[] = [];
  onGet: () => void = () => {};

  async get(): Promise<AoENode | undefined> {
    this.onGet();
    return structuredClone(this.node);
  }
  async create(_type: unknown, object: AoENode): Promise<AoENode> {
    this.node = structuredClone(object);
    return object;
  }
  async apply(_type: unknown, object: AoENode): Promise<AoENode> {
    this.applied.push(structuredClone(object));
    this.node = { ...object, spec: this.node?.spec ?? { maintenance: false } };
    return object;
  }
}

const eth0 = { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 9000, up: true, physical: true };

/** Runs until the AoENode was read `reads` times. */
async function run(kube: FakeKube, reads: number, { found = [eth0], missing = [] }: Partial<SelectedInterfaces> = {}): Promise<boolean[]> {
  const { deps } = new FakeNode();
  const stop = new AbortController();
  let left = reads;
  const before = kube.onGet;
  kube.onGet = () => {
    before();
    if (--left < 0) stop.abort();
  };
  const options = {
    nodeName: 'n1',
    segment: 'rack-1',
    kube: kube as unknown as Kube,
    driver: deps.driver,
    log: deps.log,
    checkMs: 1,
    heartbeatSeconds: 5,
  };
  const interfaceNames = async () => [...found.map((each) => each.name), 'aoe-local'];
  const checked: boolean[] = [];
  const onChecked = async ({ status }: NextCondition) => void checked.push(status === 'True');
  await keepNodeObject({ ...options, interfaces: async () => ({ found, missing }), interfaceNames, onChecked }, stop.signal);
  return checked;
}

test('a missing AoENode is created, and gets segment, interfaces and condition', async () => {
  const kube = new FakeKube();
  await run(kube, 1);
  const [first] = kube.applied;
  expect(first?.metadata.name).toBe('n1');
  expect(first?.status?.segment).toBe('rack-1');
  expect(first?.status?.heartbeatSeconds).toBe(5);
  expect(first?.status?.interfaces).toStrictEqual([{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 9000 }]);
  expect(first?.status?.conditions?.[0]?.type).toBe('InitiatorReady');
  expect(first?.status?.conditions?.[0]?.status).toBe('True');
});

test('nothing is written again while nothing changes', async () => {
  const kube = new FakeKube();
  await run(kube, 5);
  expect(kube.applied).toHaveLength(1);
});

test('an entry that somebody removed is written again', async () => {
  const kube = new FakeKube();
  let looks = 0;
  kube.onGet = () => {
    if (++looks === 3 && kube.node) kube.node = { ...kube.node, status: {} };
  };
  await run(kube, 5);
  expect(kube.applied).toHaveLength(2);
});

async function conditionOf(selected: Partial<SelectedInterfaces>) {
  const kube = new FakeKube();
  await run(kube, 1, selected);
  return kube.applied[0]?.status?.conditions?.[0];
}

test('a node without any of the named interfaces is not ready, whatever its local link', async () => {
  const condition = await conditionOf({ found: [], missing: ['eth7'] });
  expect([condition?.status, condition?.reason]).toStrictEqual(['False', 'NoSuchInterface']);
  expect(condition?.message ?? '').toMatch(/no Ethernet interface eth7/);
});

test('one of two named interfaces is enough, and the message names the missing one', async () => {
  const condition = await conditionOf({ missing: ['eth7'] });
  expect([condition?.status, condition?.reason]).toStrictEqual(['True', 'InterfaceMissing']);
  expect(condition?.message ?? '').toMatch(/uses eth0, aoe-local; this node has no Ethernet interface eth7/);
});

test('a node with no interface that is up is not ready', async () => {
  expect((await conditionOf({ found: [] }))?.reason).toBe('NoInterface');
});

test('each check says whether the node can mount volumes, also while the API server does not answer', async () => {
  const kube = new FakeKube();
  kube.get = async () => {
    kube.onGet();
    throw new Error('connection refused');
  };
  expect(await run(kube, 1)).toContain(true);
  expect(await run(new FakeKube(), 1, { found: [] })).not.toContain(true);
});
