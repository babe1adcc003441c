import { AOE_SNAPSHOT_GROUPS, AOE_SNAPSHOTS, AOE_VOLUMES, API_VERSION, NODES } from '../../api/resources.ts';
import type { AoESnapshotGroup, GroupStage } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, KubeObject } from '../../kube/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { endOf, type Program, startOperator } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const HTTP = `127.0.0.1:${(await freePorts(1))[0]}`;
const LIMIT = { timeoutMs: 90_000 };
/** Another operator leads when the Lease of one that was killed has ended. */
const LEASE = { timeoutMs: 120_000 };
const VOLUMES = ['v', 'w', 'x'];

describe.skipIf(unavailable)('groups of snapshots with a real API server', () => {
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let agent: FakeAgent;
  const running: Promise<void>[] = [];
  const stop = new AbortController();
  /** Members that could be used before their group was committed. */
  const early: string[] = [];

  const start = () => startOperator(server, HTTP);
  const create = (name: string, volumes: readonly string[]) =>
    kube.create<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, {
      apiVersion: API_VERSION,
      kind: 'AoESnapshotGroup',
      metadata: { name },
      spec: { members: volumes.map((volumeName) => ({ volumeName })) },
    });
  const stageOf = (name: string, stages: GroupStage[], limit = LIMIT) =>
    agent.groups.groups.waitFor(name, (now) => (now?.status?.stage && stages.includes(now.status.stage) ? now : undefined), limit);
  const ready = (group: AoESnapshotGroup) => group.status?.conditions?.find(({ type }) => type === 'Ready');
  const remove = async (name: string) => {
    await kube.delete(AOE_SNAPSHOT_GROUPS, name);
    await agent.groups.groups.waitFor(name, (now) => now === undefined, LIMIT);
    expect((await kube.list(AOE_SNAPSHOTS)).items).toStrictEqual([]);
  };

  serveTests(
    async (started) => {
      ({ server, kube } = started);
      agent = new FakeAgent(kube);
      agent.groups.snapshots.subscribe(({ type, object }) => {
        const stage = agent.groups.groups.get(object.spec.group?.name ?? '')?.status?.stage;
        // The watch of groups may be a little late, but no snapshot is usable before the operator has seen its own write.
        if (type === 'applied' && object.status?.phase === 'Ready' && (stage === 'Preparing' || stage === 'Holding'))
          early.push(object.metadata.name);
      });
      running.push(agent.run(stop.signal));
      await makePool(kube, 'default');
      for (const node of ['storage-1', 'storage-2']) {
        await announceNode(kube, node);
        await reportPool(kube, 'default', { name: node, ready: true, size: '40Gi', free: '40Gi', granularity: '4Mi' });
      }
      operator = start();
      await operator.ready(HTTP);
      for (const [index, name] of VOLUMES.entries())
        await kube.create(AOE_VOLUMES, volume(name, { nodeName: `storage-${(index % 2) + 1}` }));
      for (const name of VOLUMES) await agent.volumes.waitFor(name, (now) => now?.status?.phase === 'Ready', LIMIT);
    },
    endOf(stop, running, () => operator),
  );

  it('are committed when all agents have done their part, and can be used from then on', async () => {
    await create('g', VOLUMES);
    const { status } = await stageOf('g', ['Committed']);
    for (const { name } of status?.members ?? []) {
      const member = await agent.groups.snapshots.waitFor(name, (now) => (now?.status?.phase === 'Ready' ? now : undefined), LIMIT);
      expect(member.status).toMatchObject({ committed: true, createdAt: status?.createdAt });
    }
    expect(early).toStrictEqual([]);
    await remove('g');
  });

  it('tell how long a hold lasts here, the snapshots apart', async () => {
    // A stage may be over when somebody comes to wait for it.
    const reached = new Map<string, number>();
    const end = agent.groups.groups.subscribe(({ object: { metadata, status } }) => {
      const key = `${metadata.name} ${status?.stage}`;
      if (!reached.has(key)) reached.set(key, performance.now());
    });
    const times: number[] = [];
    for (let round = 0; round < 10; round++) {
      const name = `t-${round}`;
      await create(name, VOLUMES);
      await stageOf(name, ['Committed']);
      times.push((reached.get(`${name} Taking`) ?? Number.NaN) - (reached.get(`${name} Holding`) ?? Number.NaN));
      await remove(name);
    }
    end();
    expect(times).not.toContain(Number.NaN);
    times.sort((a, b) => a - b);
    console.log(`from Holding to Taking: ${times.map((ms) => ms.toFixed(0)).join(' ')} ms`);
    expect(times[5]).toBeLessThan(2_000);
  });

  it('fail as a whole, with the reason of the member', async () => {
    agent.groups.failing.set('w', 'PoolFull');
    await create('full', VOLUMES);
    const group = await stageOf('full', ['Failed', 'Committed']);
    expect(ready(group)).toMatchObject({
      status: 'False',
      reason: 'PoolFull',
      message: expect.stringMatching(/full-1 of AoEVolume w on node storage-2/),
    });
    await agent.groups.snapshots.waitFor('full-0', (now) => now === undefined, LIMIT);
    agent.groups.failing.clear();
    await remove('full');
  });

  it('end when an agent does not report, and nothing of them stays', async () => {
    agent.groups.silent.add('storage-2');
    await create('silent', VOLUMES);
    await stageOf('silent', ['Preparing']);
    await remove('silent');
    agent.groups.silent.clear();
  });

  for (const [stage, how] of [
    ['Holding', 'stop'],
    ['Taking', 'kill'],
  ] as const) {
    it(`are finished by the next operator when one ends in stage ${stage}`, async () => {
      const name = `ended-in-${stage.toLowerCase()}`;
      const reached = stageOf(name, [stage]);
      await create(name, VOLUMES);
      await reached;
      await operator[how]();
      operator = start();
      await operator.ready(HTTP);
      const { status } = await stageOf(name, ['Committed', 'Failed'], LEASE);
      if (status?.stage === 'Committed') expect((await kube.list<KubeObject>(AOE_SNAPSHOTS)).items).toHaveLength(3);
      else await agent.groups.snapshots.waitFor(`${name}-2`, (now) => now === undefined, LIMIT);
      await remove(name);
    });
  }

  it('are not committed when a node is down', async () => {
    await kube.create(NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'storage-2' } });
    const conditions = [{ type: 'Ready', status: 'Unknown', reason: 'x', message: 'x', lastHeartbeatTime: null, lastTransitionTime: null }];
    await kube.patch(NODES, 'storage-2', { status: { conditions } }, { subresource: 'status' });
    // The operator knows it when it has said so of the volume there.
    const isKnown = (now: AoEVolume | undefined) => now?.status?.conditions?.some(({ reason }) => reason === 'StorageNodeNotReady');
    await agent.volumes.waitFor('w', isKnown, LIMIT);
    await create('down', VOLUMES);
    const group = await stageOf('down', ['Failed', 'Committed']);
    expect(ready(group)?.reason).toBe('StorageNodeNotReady');
    await kube.delete(NODES, 'storage-2');
    await remove('down');
  });

  it('have members that cannot be changed, and a name that leaves room for theirs', async () => {
    await create('fixed', ['v']);
    await expect(kube.patch(AOE_SNAPSHOT_GROUPS, 'fixed', { spec: { members: [{ volumeName: 'w' }] } })).rejects.toMatchObject({
      code: 422,
    });
    await stageOf('fixed', ['Committed']);
    await expect(kube.patch(AOE_SNAPSHOTS, 'fixed-0', { spec: { group: { name: 'x', uid: 'y' } } })).rejects.toMatchObject({ code: 422 });
    await remove('fixed');
    await expect(create('n'.repeat(241), ['v'])).rejects.toMatchObject({ code: 422 });
    await expect(create('twice', ['v', 'v'])).rejects.toMatchObject({ code: 422 });
    await expect(create('none', [])).rejects.toMatchObject({ code: 422 });
  });

  it('has seen no error in the fake agents', () => expect([agent.errors, agent.groups.errors]).toStrictEqual([[], []]));
});
