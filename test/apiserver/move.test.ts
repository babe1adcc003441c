import { formatAddress } from '../../api/address.ts';
import type { Displaced } from '../../api/pool.ts';
import { AOE_NODES, AOE_VOLUMES, API_VERSION, NODES } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, MOVE_TO, serialNumber } from '../../api/volume.ts';
import { Informer, type Kube } from '../../kube/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { endOf, type Program, startOperator } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const MAC = '02:00:5e:10:00:01';
const EXTERNAL = { external: { shelf: 1, slot: 2 } };
const HTTP = `127.0.0.1:${(await freePorts(1))[0]}`;
const LIMIT = { timeoutMs: 90_000 };
const MANY = Array.from({ length: 20 }, (_, index) => `many-${index}`);

describe.skipIf(unavailable)('moving a volume with a real API server', () => {
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let rules = 0;
  let volumes: Informer<AoEVolume>;
  /** As the agent on storage-1 watches its volumes. */
  let seenByOldAgent: Informer<AoEVolume>;
  /** As the agent on storage-2 watches what is moved there. */
  let seenByOtherAgent: Informer<AoEVolume>;
  let agent: FakeAgent;
  const stop = new AbortController();
  const running: Promise<void>[] = [];

  const start = async () => {
    const program = startOperator(server, HTTP, '--shelves=1', '--identity=operator');
    await program.ready(HTTP);
    return program;
  };
  const ready = ({ status }: AoEVolume) => status?.conditions?.find(({ type }) => type === 'Ready');
  const until = (name: string, is: (now: AoEVolume) => boolean) =>
    volumes.waitFor(name, (now) => (now && is(now) ? now : undefined), LIMIT);
  const annotate = (name: string, annotations: Record<string, string>) =>
    kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata: { annotations } });
  const displaced = (...names: string[]): Displaced[] =>
    names.map((name) => ({ uid: volumes.get(name)?.metadata.uid ?? '', volume: name, bytes: 2 ** 30 }));
  const report = (...names: string[]) =>
    reportPool(kube, 'default', {
      name: 'storage-2',
      ready: true,
      size: '100Gi',
      free: '50Gi',
      granularity: '4Mi',
      displacedVolumes: displaced(...names),
    });

  serveTests(
    async (started) => {
      ({ server, kube } = started);
      volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
      seenByOldAgent = new Informer<AoEVolume>(kube, AOE_VOLUMES, { fieldSelector: 'spec.nodeName=storage-1' });
      seenByOtherAgent = new Informer<AoEVolume>(kube, AOE_VOLUMES, { fieldSelector: 'spec.move.nodeName=storage-2' });
      agent = new FakeAgent(kube);
      running.push(volumes.run(stop.signal), seenByOldAgent.run(stop.signal), seenByOtherAgent.run(stop.signal), agent.run(stop.signal));
      await makePool(kube, 'default');
      for (const name of ['storage-1', 'storage-2']) {
        await kube.create(NODES, { metadata: { name } });
        await announceNode(kube, name);
      }
      await announceNode(kube, 'worker');
      await reportPool(kube, 'default', { name: 'storage-1', ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
      operator = await start();
      for (const name of ['v', 'used', 'copied', ...MANY]) await kube.create(AOE_VOLUMES, volume(name, { nodeName: 'storage-1' }));
      for (const name of ['v', 'used', 'copied', ...MANY]) await until(name, (now) => now.status?.phase === 'Ready');
      await kube.patch(AOE_VOLUMES, 'used', { spec: { initiators: { nodes: ['worker'] } } });
      await until('used', ({ status }) => status?.initiators?.nodes?.[0] === 'worker');
    },
    endOf(stop, running, () => operator),
  );

  const VOLUME = { capacity: '1Gi', pool: 'default' };
  const PLACED = { ...VOLUME, nodeName: 'n1', address: { shelf: 7, slot: 3 } };
  const MOVE = { moves: 1, nodeName: 'n2', address: { shelf: 7, slot: 4 } };
  const COPY = { id: '0123abcd', stage: 'Copying', nodeName: 'n2', pool: 'default' };
  const SHAPE = /moves grows only together with a change of nodeName or pool and of address/;
  const changes: [string, object, object, RegExp | undefined][] = [
    ['the place of a volume, by a move to another node,', PLACED, MOVE, undefined],
    ['the place of a volume, by a move to another node and pool,', PLACED, { ...MOVE, pool: 'other' }, undefined],
    [
      'the place of a volume, by a move to another pool of its node,',

      PLACED,
      { ...MOVE, nodeName: 'n1', pool: 'other' },
      undefined,
    ],
    [
      'the place of a volume that was moved before, by another move,',

      { ...PLACED, moves: 4 },
      { ...MOVE, moves: 5 },
      undefined,
    ],
    [
      'the place of a moved volume, without another move,',

      { ...PLACED, moves: 1 },
      MOVE,
      /nodeName cannot be changed once set/,
    ],
    [
      'the pool of a moved volume, without another move,',

      { ...PLACED, moves: 1 },
      { pool: 'other' },
      /pool cannot be changed/,
    ],
    ['the number of moves, to less,', { ...PLACED, moves: 2 }, { moves: 1 }, /moves cannot become smaller/],
    ['that a volume was moved,', { ...PLACED, moves: 2 }, { moves: null }, /moves cannot become smaller/],
    ['the number of moves alone,', PLACED, { moves: 1 }, SHAPE],
    ['the node of a volume, by a move to the same address,', PLACED, { moves: 1, nodeName: 'n2' }, SHAPE],
    ['the address of a volume, by a move to the same node,', PLACED, { moves: 1, address: { slot: 4 } }, SHAPE],
    [
      'that a moved volume has a node,',

      PLACED,
      { ...MOVE, nodeName: null, pool: 'other' },
      /nodeName cannot be changed once set/,
    ],
    // The operator runs: it would place a volume of a pool that is there.
    ['the place of a volume that is not placed, by a move,', { ...VOLUME, pool: 'nowhere' }, MOVE, SHAPE],
    ['the place of a volume that a node uses, by a move,', { ...PLACED, initiators: { nodes: ['w'] } }, MOVE, SHAPE],
    ['the place of a volume that a MAC uses, by a move,', { ...PLACED, initiators: { macs: [MAC] } }, MOVE, SHAPE],
    ['a volume that a node uses, so that it is moved,', { ...PLACED, initiators: { nodes: ['w'] } }, { move: COPY }, /is being moved/],
    ['a volume, so that it is moved to where it is,', PLACED, { move: { ...COPY, nodeName: 'n1' } }, /move names another place/],
    [
      'a volume, so that a move begins in the middle,',
      PLACED,
      { move: { ...COPY, stage: 'Removing' } },
      /a move begins with stage Copying/,
    ],
    ["the moves of somebody else's target,", EXTERNAL, { moves: 1 }, /moves does not apply to an external target/],
  ];
  for (const [what, spec, next, message] of changes) {
    it(`${message ? 'cannot' : 'can'} change ${what} by the rules of the CRD`, async () => {
      const { metadata } = await kube.create<AoEVolume>(AOE_VOLUMES, { metadata: { name: `rule-${++rules}` }, spec } as never);
      const attempt = kube.patch(AOE_VOLUMES, metadata.name, { spec: next });
      await (message ? expect(attempt).rejects.toThrow(message) : attempt);
      await kube.delete(AOE_VOLUMES, metadata.name);
    });
  }

  it('is refused while the pool is not at the other node, and by a person who changes the place alone', async () => {
    const before = volumes.get('v')?.spec;
    const annotated = await annotate('v', { [MOVE_TO]: 'storage-2' });
    // Not the volume as it was before, which the watch may show for a moment.
    const isLater = ({ metadata }: AoEVolume) => Number(metadata.resourceVersion) > Number(annotated.metadata.resourceVersion);
    const now = await until('v', (each) => isLater(each) && each.metadata.annotations?.[MOVE_TO] === undefined);
    expect(now.spec).toStrictEqual(before);
    await expect(kube.patch(AOE_VOLUMES, 'v', { spec: { nodeName: 'storage-2' } })).rejects.toThrow(/nodeName cannot be changed once set/);
  });

  it('copies the data while the storage node is there, and nobody gets the volume meanwhile; the operator may be killed', async () => {
    await report();
    const { metadata, spec } = volumes.get('copied') as AoEVolume;
    const say = async (phase: 'Verified' | 'Removed', nodeName: string): Promise<void> => {
      const id = volumes.get('copied')?.spec.move?.id ?? '';
      const object = {
        apiVersion: API_VERSION,
        kind: 'AoEVolume',
        metadata: { name: 'copied' },
        status: { move: { id, nodeName, phase, bytesTotal: 2 ** 30 } },
      };
      await kube.apply(AOE_VOLUMES, object as never, { fieldManager: 'aoe-csi-agent-move', force: true, subresource: 'status' });
    };
    const isOver = (now: AoEVolume) => !now.spec.move && !now.status?.move && now.status?.phase === 'Ready';
    await annotate('copied', { [MOVE_TO]: 'storage-2/default' });
    await until('copied', (now) => now.spec.move?.stage === 'Copying' && ready(now)?.reason === 'Moving');
    await seenByOtherAgent.waitFor('copied', (now) => now, LIMIT);
    const attach = kube.patch(AOE_VOLUMES, 'copied', { spec: { initiators: { nodes: ['worker'] } } });
    await expect(attach).rejects.toThrow(/the volume is being moved, and nobody can have it meanwhile/);
    await operator.kill();
    await say('Verified', 'storage-2');
    operator = await start();
    const moved = await until('copied', (now) => now.spec.move?.stage === 'Removing');
    expect(moved.spec).toMatchObject({ nodeName: 'storage-2', moves: 1, move: { nodeName: 'storage-1', pool: 'default' } });
    expect(moved.spec.address).not.toStrictEqual(spec.address);
    expect(moved.metadata.annotations?.[MOVE_TO]).toBeUndefined();
    await say('Removed', 'storage-1');
    const ended = await until('copied', isOver);
    expect(ended.metadata.finalizers).toStrictEqual(metadata.finalizers);
    expect(ended.status?.serial).toBe(serialNumber(metadata.uid ?? '', 1));

    // And back, which is ended by taking the annotation away.
    await annotate('copied', { [MOVE_TO]: 'storage-1' });
    await until('copied', (now) => now.spec.move?.stage === 'Copying');
    await kube.patch(AOE_VOLUMES, 'copied', { metadata: { annotations: { [MOVE_TO]: null } } });
    await until('copied', (now) => now.spec.move?.stage === 'Removing');
    await say('Removed', 'storage-1');
    expect((await until('copied', isOver)).spec).toStrictEqual(ended.spec);
  }, 300_000);

  it('waits for the data, and then gives the volume another place, address and serial number', async () => {
    agent.down.add('storage-1');
    await kube.delete(NODES, 'storage-1');
    await kube.delete(AOE_NODES, 'storage-1');
    const { spec, status } = await until('v', (now) => ready(now)?.reason === 'StorageNodeGone');
    await report();
    await annotate('v', { [MOVE_TO]: 'storage-2' });
    const waiting = await until('v', (now) => ready(now)?.reason === 'MoveWaits');
    expect(ready(waiting)?.message).toContain(
      `storage-2 has not found the data in the pool, that is backing volume ${waiting.metadata.uid}`,
    );
    expect(waiting.spec).toStrictEqual(spec);
    expect(seenByOldAgent.get('v')).toBeDefined();
    const left = Promise.withResolvers<void>();
    seenByOldAgent.subscribe(({ type, object }) => {
      if (type === 'deleted' && object.metadata.name === 'v') left.resolve();
    });
    await report('v');
    const moved = await until('v', (now) => now.spec.nodeName === 'storage-2' && now.status?.phase === 'Ready');
    expect(moved.spec).toMatchObject({ moves: 1, pool: 'default' });
    expect(moved.metadata.annotations?.[MOVE_TO]).toBeUndefined();
    expect(formatAddress(moved.spec.address ?? { shelf: 0, slot: 0 })).not.toBe(status?.address);
    expect(moved.status?.address).toBe(formatAddress(moved.spec.address ?? { shelf: 0, slot: 0 }));
    expect(moved.status?.serial).toBe(serialNumber(moved.metadata.uid ?? '', 1));
    // The watch of the agent on the earlier node shows that it has lost the volume.
    await left.promise;
  });

  it('waits while a node has the volume, until the earlier node is given up and the volume is detached', async () => {
    await report('v', 'used');
    await annotate('used', { [MOVE_TO]: 'storage-2/default' });
    const attached = await until('used', (now) => ready(now)?.reason === 'MoveWaits');
    expect(ready(attached)?.message).toContain(`attached to node worker: delete the pods that use it, and confirm`);
    await kube.patch(AOE_VOLUMES, 'used', { spec: { initiators: { nodes: null } } });
    await until('used', (now) => ready(now)?.message.includes('storage-1 admitted worker when it was last heard of') === true);
    await annotate('used', { [GIVE_UP]: 'storage-1' });
    const moved = await until('used', (now) => now.spec.nodeName === 'storage-2' && now.status?.phase === 'Ready');
    expect(moved.metadata.annotations ?? {}).toStrictEqual({});
  });

  it('happens once for each volume, however often the operator is killed', async () => {
    await report('v', 'used', ...MANY);
    const before = new Set(volumes.list().map(({ spec }) => spec.address && formatAddress(spec.address)));
    const isMoved = ({ spec }: AoEVolume) => spec.nodeName === 'storage-2';
    const moves = () => MANY.filter((name) => volumes.list().some((each) => each.metadata.name === name && isMoved(each))).length;
    await operator.kill();
    for (const name of MANY) await annotate(name, { [MOVE_TO]: 'storage-2' });
    for (let kills = 0; kills < 3; kills++) {
      const had = moves();
      const more = Promise.withResolvers<void>();
      const end = volumes.subscribe(() => moves() > had && more.resolve());
      operator = await start();
      if (had < MANY.length) await more.promise;
      end();
      await operator.kill();
    }
    operator = await start();
    const moved = await Promise.all(MANY.map((name) => until(name, isMoved)));
    const settled = await Promise.all(moved.map(({ metadata: { name } }) => until(name, (now) => now.status?.phase === 'Ready')));
    expect(settled.map(({ spec }) => spec.moves)).toStrictEqual(MANY.map(() => 1));
    const addresses = settled.map(({ spec }) => spec.address && formatAddress(spec.address));
    expect(new Set(addresses).size).toBe(MANY.length);
    for (const address of addresses) expect(before.has(address)).toBe(false);
  }, 300_000);

  it('has seen no error in the fake agent', () => expect(agent.errors).toStrictEqual([]));
});
