import assert from 'node:assert/strict';
import { AOE_SNAPSHOTS, AOE_VOLUMES, API_VERSION, NODES } from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Informer, type Kube } from '../../kube/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { endOf, type Program, startOperator } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const HTTP = `127.0.0.1:${(await freePorts(1))[0]}`;
const LIMIT = { timeoutMs: 90_000 };
const MACS = { first: '02:00:5e:10:00:01', second: '02:00:5e:10:00:02' };

/** The operator with the real API server, and fake agents: one has a snapshot, the other one plays that its copier copies. */
describe.skipIf(unavailable)('copies of a snapshot with a real API server', () => {
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let agent: FakeAgent;
  let snapshots: Informer<AoESnapshot>;
  const stop = new AbortController();
  const running: Promise<void>[] = [];

  const start = async (): Promise<Program> => {
    const program = startOperator(server, HTTP, '--shelves=1', '--identity=operator');
    await program.ready(HTTP);
    return program;
  };
  const until = (is: (now: AoESnapshot) => boolean | undefined) =>
    snapshots.waitFor('s', (now) => (now && is(now) ? now : undefined), LIMIT);
  const volumeIs = (name: string, is: (now: AoEVolume) => boolean | undefined) =>
    agent.volumes.waitFor(name, (now) => (now && is(now) ? now : undefined), LIMIT);
  /** What the agent of the snapshot writes, as far as copies are concerned. */
  const serve = async (copyServed: { shelf: number; slot: number } | undefined): Promise<void> => {
    const { nodeName, pool, volumeUID, capacity, createdAt, conditions } = snapshots.get('s')?.status ?? {};
    const own = conditions?.filter(({ type }) => type === 'Taken');
    const status = { nodeName, pool, volumeUID, capacity, createdAt, conditions: own, ...(copyServed ? { copyServed } : {}) };
    const object = { apiVersion: API_VERSION, kind: AOE_SNAPSHOTS.kind, metadata: { name: 's' }, status };
    await kube.apply(AOE_SNAPSHOTS, object as never, { fieldManager: 'aoe-csi-agent', force: true, subresource: 'status' });
  };
  /** The copier of the fake agent is done. */
  const finish = async (name: string): Promise<void> => {
    agent.copying.delete(name);
    await agent.up('storage-2');
    await volumeIs(name, ({ status }) => status?.phase === 'Ready');
  };

  serveTests(
    async (started) => {
      ({ server, kube } = started);
      agent = new FakeAgent(kube);
      snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
      running.push(agent.run(stop.signal), snapshots.run(stop.signal));
      for (const name of ['storage-1', 'storage-2']) {
        await kube.create(NODES, { metadata: { name } });
        await kube.patch(
          NODES,
          name,
          { status: { conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }] } },
          { subresource: 'status' },
        );
        await announceNode(kube, name);
      }
      for (const [pool, node] of [
        ['thin', 'storage-1'],
        ['thick', 'storage-2'],
      ] as const) {
        await makePool(kube, pool);
        await reportPool(kube, pool, { name: node, ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
      }
      operator = await start();
      await kube.create(AOE_VOLUMES, volume('origin', { pool: 'thin' }));
      await volumeIs('origin', ({ status }) => status?.phase === 'Ready');
      await kube.create(AOE_SNAPSHOTS, { metadata: { name: 's' }, spec: { volumeName: 'origin' } } as never);
      await until(({ status }) => status?.phase === 'Ready');
    },
    endOf(stop, running, () => operator),
  );

  it('names who copies, and gives the snapshot an address that no volume gets, also after a restart of the operator', async () => {
    for (const [name, mac] of Object.entries(MACS)) {
      agent.copying.set(name, mac);
      await kube.create(AOE_VOLUMES, volume(name, { pool: 'thick', source: { snapshot: 's' } }));
      await volumeIs(name, ({ spec, status }) => spec.nodeName === 'storage-2' && status?.phase === 'Pending' && status.copy !== undefined);
    }
    const { status } = await until(({ status }) => status?.copies?.filter(({ macs }) => macs?.length === 1).length === 2);
    expect(status?.copies).toStrictEqual(Object.entries(MACS).map(([name, mac]) => ({ volume: name, node: 'storage-2', macs: [mac] })));
    const address = status?.copyAddress ?? assert.fail();
    expect(agent.volumes.list().map(({ spec }) => spec.address)).not.toContainEqual(address);

    await operator.kill();
    operator = await start();
    await kube.create(AOE_VOLUMES, volume('greedy', { pool: 'thin', address }));
    const greedy = await volumeIs('greedy', ({ status: now }) => now?.conditions?.some(({ type }) => type === 'Placed'));
    expect(greedy.status?.conditions?.find(({ type }) => type === 'Placed')).toMatchObject({ reason: 'AddressTaken' });
    expect(snapshots.get('s')?.status?.copyAddress).toStrictEqual(address);
    await serve(address);
  });

  it('takes the address back when nobody copies and it is not served any more; then a volume may have it', async () => {
    await finish('first');
    await until(({ status }) => status?.copies?.length === 1);
    await finish('second');
    const { status } = await until(({ status }) => status?.copies === undefined);
    expect(status?.copyAddress, 'it is still served').toStrictEqual(status?.copyServed ?? assert.fail());
    await serve(undefined);
    await until(({ status }) => status?.copyAddress === undefined);
    await volumeIs('greedy', ({ status: now }) => now?.phase === 'Ready');
  });

  it('ends a copy whose volume is deleted', async () => {
    agent.copying.set('given-up', MACS.first);
    await kube.create(AOE_VOLUMES, volume('given-up', { pool: 'thick', source: { snapshot: 's' } }));
    await until(({ status }) => status?.copies?.some(({ macs }) => macs !== undefined) && status.copyAddress !== undefined);
    await kube.delete(AOE_VOLUMES, 'given-up');
    await until(({ status }) => status?.copies === undefined && status?.copyAddress === undefined);
    expect(agent.errors).toStrictEqual([]);
  });
});
