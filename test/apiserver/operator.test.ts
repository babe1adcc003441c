import { setTimeout as delay } from 'node:timers/promises';
import { formatAddress } from '../../api/address.ts';
import type { AoEPool } from '../../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Informer, type Kube, type KubeObject } from '../../kube/mod.ts';
import { FakeAgent } from './fake-agent.ts';
import { announceNode, makePool, reportPool, volume } from './objects.ts';
import { endOf, type Program, startOperator } from './programs.ts';
import { type ApiServer, freePorts, serveTests, unavailable } from './server.ts';

const HTTP = `127.0.0.1:${(await freePorts(1))[0]}`;
const LIMIT = { timeoutMs: 90_000 };
const EVENTS = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };

describe.skipIf(unavailable)('the operator with a real API server', () => {
  let server: ApiServer;
  let kube: Kube;
  let operator: Program;
  let volumes: Informer<AoEVolume>;
  let pools: Informer<AoEPool>;
  let agent: FakeAgent;
  const stop = new AbortController();
  const running: Promise<void>[] = [];

  const start = () => startOperator(server, HTTP, '--shelves=1-2', '--agent-silence=2');
  const condition = (object: AoEVolume | undefined, type: string) => object?.status?.conditions?.find((each) => each.type === type);
  /** Waits until something is said of the placing of a volume at this generation. */
  const judged = (name: string) =>
    volumes.waitFor(
      name,
      (now) => {
        const placed = condition(now, 'Placed');
        return placed?.observedGeneration === now?.metadata.generation && placed && now ? { placed, now } : undefined;
      },
      LIMIT,
    );
  const makeAndJudge = async (name: string, spec: Parameters<typeof volume>[1]) => {
    await kube.create(AOE_VOLUMES, volume(name, spec));
    return judged(name);
  };
  const reason = async (name: string, type: string, wanted: string) =>
    volumes.waitFor(name, (now) => (condition(now, type)?.reason === wanted ? now : undefined), LIMIT);

  serveTests(
    async (started) => {
      ({ server, kube } = started);
      volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
      pools = new Informer<AoEPool>(kube, AOE_POOLS);
      agent = new FakeAgent(kube);
      agent.down.add('storage-1').add('storage-2').add('storage-3');
      running.push(volumes.run(stop.signal), pools.run(stop.signal), agent.run(stop.signal));
      await makePool(kube, 'default');
      await Promise.all(['storage-1', 'storage-2'].map((name) => announceNode(kube, name)));
      await reportPool(kube, 'default', { name: 'storage-1', ready: true, size: '40Gi', free: '40Gi', granularity: '4Mi' });
      await reportPool(kube, 'default', { name: 'storage-2', ready: true, size: '25Gi', free: '25Gi', granularity: '4Mi' });
      operator = start();
      await operator.ready(HTTP);
    },
    endOf(stop, running, () => operator),
  );

  it('places a hundred volumes made at once onto 65 GiB: never too many, each at an address of its own', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `many-${String(i).padStart(3, '0')}`);
    const started = performance.now();
    await Promise.all(names.map((name) => kube.create(AOE_VOLUMES, volume(name))));
    const created = performance.now() - started;
    const outcomes = await Promise.all(names.map(judged));
    console.log(`100 volumes: created in ${Math.round(created)} ms, all judged after ${Math.round(performance.now() - started)} ms`);
    const placed = outcomes.filter((each) => each.placed.status === 'True');
    const on = (node: string) => placed.filter(({ now }) => now.spec.nodeName === node).length;
    expect([on('storage-1'), on('storage-2')]).toStrictEqual([40, 25]);
    expect(new Set(placed.map(({ now }) => now.spec.address && formatAddress(now.spec.address))).size).toBe(65);
    for (const { placed: refused, now } of outcomes.filter((each) => each.placed.status !== 'True')) {
      expect(refused.reason).toBe('PoolFull');
      expect(refused.message).toMatch(/^no node of pool default has 1Gi free: 0 on storage-1, 0 on storage-2$/);
      expect(now.metadata.finalizers).toBeUndefined();
      expect(now.spec.nodeName).toBeUndefined();
    }
  });

  it('places a waiting volume when another one is gone, at an address that rested', async () => {
    const gone = volumes
      .list()
      .filter(({ spec, metadata }) => spec.nodeName === 'storage-1' && metadata.name.startsWith('many-'))
      .slice(0, 10);
    const before = new Set(volumes.list().map(({ spec }) => spec.address && formatAddress(spec.address)));
    const waiting = volumes
      .list()
      .filter(({ spec }) => !spec.nodeName)
      .map(({ metadata }) => metadata.name);
    await agent.up('storage-1');
    await Promise.all(gone.map(({ metadata }) => kube.delete(AOE_VOLUMES, metadata.name)));
    const found = Promise.withResolvers<AoEVolume[]>();
    const look = () => {
      const now = waiting.flatMap((name) => volumes.get(name) ?? []).filter((each) => condition(each, 'Placed')?.status === 'True');
      if (now.length >= 10) found.resolve(now);
    };
    volumes.subscribe(look);
    look();
    const now = await Promise.race([
      found.promise,
      new Promise<never>((_, reject) => setTimeout(reject, LIMIT.timeoutMs, new Error('nothing was placed')).unref()),
    ]);
    expect(now).toHaveLength(10);
    for (const { spec } of now) expect(spec.address && !before.has(formatAddress(spec.address))).toBeTruthy();
  });

  it('is Ready when the agent has exported it, with the address that the Linux driver shows', async () => {
    const [any] = volumes.list().filter(({ spec }) => spec.nodeName === 'storage-1');
    const now = await volumes.waitFor(any?.metadata.name ?? '', (each) => (each?.status?.phase === 'Ready' ? each : undefined), LIMIT);
    expect(now.status?.address).toBe(now.spec.address && formatAddress(now.spec.address));
    expect(condition(now, 'Ready')?.reason).toBe('Exported');
  });

  it('says why it cannot place: the pool, the address, the node', async () => {
    await makePool(kube, 'other');
    await reportPool(kube, 'other', { name: 'storage-2', ready: true, size: '100Gi', free: '100Gi', granularity: '4Mi' });
    const other = { pool: 'other' };
    const taken = volumes.list().find(({ spec }) => spec.address);
    const cases = {
      'no-pool': [{ pool: 'fast' }, 'NoSuchPool', /^AoEPool fast does not exist: there are default, other$/],
      'too-big': [{ ...other, capacity: '101Gi' }, 'PoolFull', /^no node of pool other has 101Gi free: 100Gi on storage-2$/],
      'address-taken': [
        { ...other, address: taken?.spec.address },
        'AddressTaken',
        new RegExp(`AoEVolume ${taken?.metadata.name} has address`),
      ],
      'out-of-range': [
        { ...other, address: { shelf: 9, slot: 1 } },
        'AddressOutOfRange',
        /address e9\.1 is outside of this cluster's range, shelves 1-2/,
      ],
      'no-such-node': [{ ...other, nodeName: 'storage-9' }, 'NoEligibleNode', /node storage-9 does not have the pool/],
      'other-segment': [{ ...other, segments: ['blue'] }, 'NoEligibleNode', /storage-2 is on segment default/],
    } as const;
    for (const [name, [spec, wanted, message]] of Object.entries(cases)) {
      await makeAndJudge(name, spec as Parameters<typeof volume>[1]);
      // The pool that was made a moment ago may come into the message a moment later.
      const now = await volumes.waitFor(name, (each) => (message.test(condition(each, 'Placed')?.message ?? '') ? each : undefined), LIMIT);
      expect(`${condition(now, 'Placed')?.status} ${condition(now, 'Placed')?.reason}`).toBe(`False ${wanted}`);
      expect(condition(now, 'Ready')?.message).toBe(condition(now, 'Placed')?.message);
      expect(now.status?.phase).toBe(wanted === 'NoEligibleNode' ? 'Pending' : 'Failed');
      await kube.delete(AOE_VOLUMES, name);
    }
  });

  it('takes node and address from the user, and counts the volume itself once only', async () => {
    const { placed, now } = await makeAndJudge('by-hand', {
      pool: 'other',
      capacity: '90Gi',
      nodeName: 'storage-2',
      address: { shelf: 2, slot: 254 },
    });
    expect(placed.status, placed.message).toBe('True');
    expect(now.metadata.finalizers).toStrictEqual(['aoe.dev/backing-volume']);
    expect(now.status?.address).toBe('e2.254');
  });

  it('lets a volume that finds no room on the node it names stand in nobody’s way', async () => {
    const big = await makeAndJudge('too-big-by-hand', { pool: 'other', capacity: '50Gi', nodeName: 'storage-2' });
    expect(big.placed.reason).toBe('PoolFull');
    const small = await makeAndJudge('small', { pool: 'other', capacity: '5Gi' });
    expect(small.placed.status, small.placed.message).toBe('True');
  });

  it('gives an address that two volumes claim to the older one', async () => {
    const address = { shelf: 2, slot: 200 };
    const first = await makeAndJudge('claim-b', { pool: 'nowhere', address });
    expect(first.placed.reason).toBe('NoSuchPool');
    // The API server's clock shows seconds only.
    const age = Date.parse(first.now.metadata.creationTimestamp ?? '');
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, age + 1_000 - Date.now())));
    const second = await makeAndJudge('claim-a', { pool: 'other', address, capacity: '1Mi' });
    expect(second.placed.reason).toBe('NoSuchPool' === first.placed.reason ? 'AddressTaken' : '');
    expect(second.placed.message).toMatch(/claim-b/);
    await kube.delete(AOE_VOLUMES, 'claim-b');
    await volumes.waitFor('claim-a', (now) => condition(now, 'Placed')?.status === 'True', LIMIT);
  });

  it('does not believe a volume that was applied with the place of another', async () => {
    const original = volumes.get('by-hand');
    const { nodeName = '', address } = original?.spec ?? {};
    const copy = volume('copied', { pool: 'other', nodeName, ...(address ? { address } : {}) });
    await kube.create(AOE_VOLUMES, { ...copy, metadata: { name: 'copied', finalizers: original?.metadata.finalizers ?? [] } });
    const { placed } = await judged('copied');
    expect([placed.reason, placed.message]).toStrictEqual(['AddressTaken', 'AoEVolume by-hand has that address']);
    await kube.patch(AOE_VOLUMES, 'copied', { metadata: { finalizers: null } });
    await kube.delete(AOE_VOLUMES, 'copied');
  });

  it('makes an external target ready at once, and says that it enforces nothing', async () => {
    const spec: AoEVolume['spec'] = { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', external: { shelf: 70, slot: 1 } };
    await kube.create(AOE_VOLUMES, { ...volume('vblade'), spec });
    const { now } = await judged('vblade');
    expect(now.status?.phase).toBe('Ready');
    expect(now.status?.address).toBe('e70.1');
    expect(condition(now, 'EnforcedByTarget')?.status).toBe('False');
  });

  it('places nothing on a node in maintenance, and what waited for its end', async () => {
    await announceNode(kube, 'storage-3');
    await makePool(kube, 'third');
    await kube.patch(AOE_NODES, 'storage-3', { spec: { maintenance: true } });
    await reportPool(kube, 'third', { name: 'storage-3', ready: true, size: '10Gi', free: '10Gi', granularity: '4Mi' });
    await kube.create(AOE_VOLUMES, volume('patient', { pool: 'third' }));
    await volumes.waitFor('patient', (now) => condition(now, 'Placed')?.message.includes('storage-3 is in maintenance'), LIMIT);
    await kube.patch(AOE_NODES, 'storage-3', { spec: { maintenance: false } });
    await volumes.waitFor('patient', (now) => now?.spec.nodeName === 'storage-3', LIMIT);
  });

  it('places nothing on a node whose agent is silent, and places what waited once its agent reports again', async () => {
    const say = (agentSeen: Date) => kube.patch(AOE_NODES, 'storage-3', { status: { agentSeen } }, { subresource: 'status' });
    await say(new Date());
    await pools.waitFor('third', (pool) => pool?.status?.readyNodes === 0, LIMIT);
    await kube.create(AOE_VOLUMES, volume('unheard', { pool: 'third' }));
    await volumes.waitFor('unheard', (now) => condition(now, 'Placed')?.reason === 'NodesNotReady', LIMIT);
    expect(condition(volumes.get('unheard'), 'Placed')?.message ?? '').toMatch(/the agent on storage-3 has not reported since/);
    // It reports again and again, as long as somebody waits for what follows. Whatever its clock says.
    const over = new AbortController();
    const reporting = (async () => {
      for (let clock = 0; !over.signal.aborted; clock += 1_000) {
        await say(new Date(clock));
        await delay(400, undefined, { signal: over.signal }).catch(() => {});
      }
    })();
    await Promise.all([
      volumes.waitFor('unheard', (now) => now?.spec.nodeName === 'storage-3', LIMIT),
      pools.waitFor('third', (pool) => pool?.status?.readyNodes === 1, LIMIT),
    ]).finally(() => over.abort());
    await reporting;
  });

  it('says that a storage node is gone, takes it out of its pools, and is content when it is back', async () => {
    await kube.delete(AOE_NODES, 'storage-3');
    const now = await reason('patient', 'Ready', 'StorageNodeGone');
    expect(condition(now, 'Placed')?.status).toBe('True');
    // It never had a disk there.
    expect(condition(now, 'Ready')?.message ?? '').toMatch(
      /^node storage-3 does not exist any more: no disk was made for the volume there yet: bring the node back/,
    );
    await pools.waitFor('third', (pool) => pool?.status?.nodes?.length === 0, LIMIT);
    await announceNode(kube, 'storage-3');
    await reason('patient', 'Ready', 'Waiting');
  });

  it('reports it in events', async () => {
    // Events are written behind the operator's back: they come when they come.
    const events = new Informer<KubeObject & { reason: string; regarding: { name: string } }>(kube, EVENTS);
    const watching = new AbortController();
    running.push(events.run(AbortSignal.any([watching.signal, stop.signal])));
    const event = (name: string, why: string) =>
      new Promise<void>((resolve, reject) => {
        const limit = setTimeout(() => reject(new Error(`no event ${why} about ${name}`)), LIMIT.timeoutMs);
        const look = () => {
          if (!events.list().some((event) => event.regarding.name === name && event.reason === why)) return;
          clearTimeout(limit);
          resolve();
        };
        events.subscribe(look);
        look();
      });
    await event('by-hand', 'Placed');
    await event('address-taken', 'AddressTaken');
    watching.abort();
  });

  it('changes nothing when it is started again, and counts volumes and bytes', async () => {
    const versions = async () =>
      (await kube.list(AOE_VOLUMES)).items.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).sort();
    // What is still to be written, as changes gather for a second, would be written after the restart.
    const limit = Date.now() + LIMIT.timeoutMs;
    for (let before = '', now = (await versions()).join(); now !== before; now = (await versions()).join()) {
      expect(Date.now(), 'the volumes change all the time').toBeLessThan(limit);
      before = now;
      await delay(3_000);
    }
    expect(await operator.stop()).toBe(0);
    const before = await versions();
    operator = start();
    await operator.ready(HTTP);
    const last = await makeAndJudge('after-restart', { pool: 'other', capacity: '1Mi' });
    expect(last.placed.status).toBe('True');
    expect((await versions()).filter((each) => !each.startsWith('after-restart '))).toStrictEqual(before);
    const metrics = await (await fetch(`http://${HTTP}/metrics`)).text();
    expect(metrics).toMatch(/^aoe_csi_volumes\{phase="Failed",reason="PoolFull"\} 26$/m);
    expect(metrics).toMatch(new RegExp(`^aoe_csi_reserved_bytes\\{pool="default",node="storage-1"\\} ${40 * 1024 ** 3}$`, 'm'));
  });

  it('has seen no error in the fake agent', () => expect(agent.errors).toStrictEqual([]));
});
