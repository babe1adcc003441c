import { setTimeout as delay } from 'node:timers/promises';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Backoff } from '../../kube/controller/backoff.ts';
import { Informer, type InformerOptions, Kube } from '../../kube/mod.ts';
import { TcpProxy } from '../../kube/testing/tcp-proxy.ts';
import { volume } from './objects.ts';
import { type ApiServer, serveTests, unavailable } from './server.ts';

const LIMIT = { timeoutMs: 90_000 };
/** In life pauses between attempts grow to 10 s. */
const IMPATIENT = { backoff: new Backoff(50, 500) };

describe.skipIf(unavailable)('an informer on a real API server', () => {
  let server: ApiServer;
  let kube: Kube;

  /** An informer of its own behind a wire of its own. */
  async function watching(options: InformerOptions = {}) {
    const { proxy, kubeconfig } = await TcpProxy.before(server.kubeconfig);
    const own = Kube.fromKubeconfig(kubeconfig);
    const informer = new Informer<AoEVolume>(own, AOE_VOLUMES, options);
    const stop = new AbortController();
    const run = informer.run(stop.signal);
    await informer.synced;
    return {
      proxy,
      informer,
      async [Symbol.asyncDispose]() {
        stop.abort();
        await run;
        own.close();
        await proxy[Symbol.asyncDispose]();
      },
    };
  }

  const touch = (name: string, value: string) => kube.patch<AoEVolume>(AOE_VOLUMES, name, { metadata: { labels: { touched: value } } });
  const make = (name: string) => kube.create<AoEVolume>(AOE_VOLUMES, volume(name));
  const isThere = (now: AoEVolume | undefined) => now;
  const isGone = (now: AoEVolume | undefined) => now === undefined;
  /** Until the store is what a list says. */
  async function assertSame(informer: Informer<AoEVolume>): Promise<void> {
    // Changes come in their order: when the last one is here, all are.
    await touch('lean', `${performance.now()}`);
    const { items } = await kube.list<AoEVolume>(AOE_VOLUMES);
    const want = items.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).sort();
    const last = items.find(({ metadata }) => metadata.name === 'lean')?.metadata.resourceVersion;
    await informer.waitFor('lean', (now) => now?.metadata.resourceVersion === last, LIMIT);
    const have = informer.list().map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`);
    expect(have.sort()).toStrictEqual(want);
  }

  serveTests((started) => {
    ({ server, kube } = started);
  });

  it('sees a change some milliseconds after it is made', async () => {
    await using world = await watching();
    const times: number[] = [];
    for (let i = 0; i < 30; i++) {
      const started = performance.now();
      const seen = world.informer.waitFor(`fast-${i}`, isThere, LIMIT);
      await make(`fast-${i}`);
      await seen;
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    console.log(`create and see: median ${times[15]?.toFixed(1)} ms, slowest ${times[29]?.toFixed(1)} ms`);
  });

  it('keeps no managedFields', async () => {
    await using world = await watching();
    await make('lean');
    const seen = await world.informer.waitFor('lean', isThere, LIMIT);
    expect('managedFields' in seen.metadata).toBe(false);
  });

  it('lists more than a page', async () => {
    const names = Array.from({ length: 520 }, (_, i) => `many-${i}`);
    for (let i = 0; i < names.length; i += 40) await Promise.all(names.slice(i, i + 40).map(make));
    await using world = await watching(IMPATIENT);
    expect(names.every((name) => world.informer.get(name))).toBe(true);
    for (let i = 0; i < names.length; i += 40) await Promise.all(names.slice(i, i + 40).map((name) => kube.delete(AOE_VOLUMES, name)));
    await world.informer.waitFor('many-519', isGone, LIMIT);
  });

  it('loses nothing while its connections are cut again and again', async () => {
    await using world = await watching();
    const seen = new Map<string, string>();
    world.informer.subscribe(({ type, object }) =>
      seen.set(object.metadata.name, type === 'deleted' ? 'deleted' : (object.metadata.labels?.touched ?? '')),
    );
    let done = false;
    const cutting = (async () => {
      while (!done) {
        world.proxy.cut();
        await delay(60);
      }
    })();
    let made = 0;
    // On a fast machine for longer: what is tested are connections that were cut.
    for (; made < 60 || (world.proxy.connections <= 5 && made < 2000); made++) {
      await make(`cut-${made}`);
      await touch(`cut-${made}`, 'yes');
      if (made % 2) await kube.delete(AOE_VOLUMES, `cut-${made}`);
    }
    done = true;
    await cutting;
    await assertSame(world.informer);
    expect(world.proxy.connections).toBeGreaterThan(5);
    for (let i = 0; i < made; i++) expect(seen.get(`cut-${i}`)).toBe(i % 2 ? 'deleted' : 'yes');
  });

  it('gives a silent connection up and goes on with another', async () => {
    await using world = await watching({ silenceMs: 1_000 });
    await make('loud');
    await world.informer.waitFor('loud', isThere, LIMIT);
    const { connections } = world.proxy;
    world.proxy.freeze();
    const started = performance.now();
    await make('silent');
    await world.informer.waitFor('silent', isThere, LIMIT);
    const ms = performance.now() - started;
    expect(world.proxy.connections, 'it came by another connection').toBeGreaterThan(connections);
    expect(ms, `${ms}`).toBeLessThan(25_000);
  });

  it('goes on when the API server was killed and comes back', async () => {
    await using world = await watching(IMPATIENT);
    await make('before-crash');
    await server.killApi();
    expect(world.informer.get('fast-0'), 'the store is kept while the server is away').toBeTruthy();
    await server.startApi();
    const started = performance.now();
    await touch('before-crash', 'after');
    await world.informer.waitFor('before-crash', (now) => now?.metadata.labels?.touched === 'after', LIMIT);
    console.log(`a change was seen ${((performance.now() - started) / 1000).toFixed(1)} s after the server was back`);
    await assertSame(world.informer);
  });

  it('learns of objects that were deleted and created again when the API server has forgotten the changes (410)', async () => {
    await using world = await watching(IMPATIENT);
    const first = await make('reborn');
    await make('forgotten');
    await world.informer.waitFor('forgotten', isThere, LIMIT);
    const seen: string[] = [];
    world.informer.subscribe(({ type, object }) => {
      if (['reborn', 'forgotten'].includes(object.metadata.name)) seen.push(`${type} ${object.metadata.name} ${object.metadata.uid}`);
    });
    world.proxy.refusing = true;
    await kube.delete(AOE_VOLUMES, 'reborn');
    await kube.delete(AOE_VOLUMES, 'forgotten');
    const second = await make('reborn');
    // A server that starts has no history: it cannot resume a watch from before.
    await server.killApi();
    await server.startApi();
    world.proxy.refusing = false;
    await world.informer.waitFor('forgotten', isGone, LIMIT);
    await world.informer.waitFor('reborn', (now) => now?.metadata.uid === second.metadata.uid, LIMIT);
    expect(seen.filter((each) => each.includes('reborn'))).toStrictEqual([
      `deleted reborn ${first.metadata.uid}`,
      `applied reborn ${second.metadata.uid}`,
    ]);
    expect(seen.some((each) => each.startsWith('deleted forgotten'))).toBe(true);
    await assertSame(world.informer);
  });

  it('with a selector, sees objects come into the selection and leave it', async () => {
    await using world = await watching({ fieldSelector: 'spec.nodeName=n1', labelSelector: 'watched=yes' });
    await make('selected');
    await kube.patch(AOE_VOLUMES, 'selected', { metadata: { labels: { watched: 'yes' } }, spec: { nodeName: 'n1' } });
    await world.informer.waitFor('selected', isThere, LIMIT);
    expect(world.informer.list()).toHaveLength(1);
    await kube.patch(AOE_VOLUMES, 'selected', { metadata: { labels: { watched: null } } });
    await world.informer.waitFor('selected', isGone, LIMIT);
  });
});
