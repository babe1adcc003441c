import { setTimeout as delay } from 'node:timers/promises';
import { TimeoutError } from '../client/error.ts';
import { Kube } from '../client/kube.ts';
import type { KubeObject } from '../client/types.ts';
import { Backoff } from '../controller/backoff.ts';
import { type Call, FakeServer, json, line, refuse, silence } from '../testing/fake-server.ts';
import { WIDGETS } from '../testing/types.ts';
import { type Change, Informer } from './informer.ts';

const object = (name: string, resourceVersion: number, uid = `uid-${name}`): KubeObject => ({
  metadata: { name, uid, resourceVersion: String(resourceVersion) },
});
const bookmark = (resourceVersion: number) => ({ metadata: { resourceVersion: String(resourceVersion) } });

/** An informer on a server whose lists and watches are taken from a script; a watch beyond it stays silent. */
class World implements AsyncDisposable {
  readonly changes: string[] = [];
  readonly stop = new AbortController();
  readonly lists: Call[] = [];
  readonly watches: Call[] = [];
  readonly #more: (() => void)[] = [];
  #run: Promise<void> | undefined;

  readonly server: FakeServer;
  readonly kube: Kube;
  readonly informer: Informer<KubeObject>;

  private constructor(server: FakeServer, lists: ((call: Call) => void)[], watches: ((call: Call) => void)[], silenceMs: number) {
    this.server = server;
    this.kube = Kube.fromUrl(server.url);
    this.informer = new Informer(this.kube, WIDGETS, { silenceMs, backoff: new Backoff(1, 20) });
    this.informer.subscribe((change) => this.changes.push(spell(change)));
    server.handler = (call) => {
      const watching = call.query.has('watch');
      const done = watching ? this.watches : this.lists;
      done.push(call);
      const script = watching ? watches : lists;
      (script[done.length - 1] ?? (watching ? silence : (last: Call) => lists.at(-1)?.(last)))(call);
      for (const wake of this.#more.splice(0)) wake();
    };
  }

  static async start({
    lists,
    watches = [],
    silenceMs = 5_000,
  }: {
    lists: ((call: Call) => void)[];
    watches?: ((call: Call) => void)[];
    silenceMs?: number;
  }): Promise<World> {
    const world = new World(await FakeServer.start(() => {}), lists, watches, silenceMs);
    world.#run = world.informer.run(world.stop.signal);
    return world;
  }

  /** Until the server has seen so many watches. */
  async untilWatches(count: number): Promise<void> {
    while (this.watches.length < count) await new Promise<void>((resolve) => this.#more.push(resolve));
  }

  /** Until so many changes were told. */
  async untilChanges(count: number): Promise<void> {
    const end = performance.now() + 25_000;
    while (this.changes.length < count && performance.now() < end) await delay(2);
    expect(this.changes, this.changes.join()).toHaveLength(count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.#run;
    this.kube.close();
    await this.server[Symbol.asyncDispose]();
  }
}

function spell({ type, object: { metadata }, previous }: Change<KubeObject>): string {
  return `${type} ${metadata.name} ${metadata.uid} ${metadata.resourceVersion}${previous ? ` was ${previous.metadata.resourceVersion}` : ''}`;
}

const listed =
  (resourceVersion: number, ...items: KubeObject[]) =>
  (call: Call): void =>
    json(call, { metadata: { resourceVersion: String(resourceVersion) }, items });

test('what is listed and what is then watched is in the store and told', async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3))],
    watches: [
      (call) => {
        line(call, 'ADDED', object('b', 6));
        line(call, 'MODIFIED', object('a', 7));
        line(call, 'DELETED', object('b', 8));
      },
    ],
  });
  await world.untilChanges(4);
  expect(world.changes).toStrictEqual(['applied a uid-a 3', 'applied b uid-b 6', 'applied a uid-a 7 was 3', 'deleted b uid-b 8 was 6']);
  expect(world.informer.list().map(({ metadata }) => metadata.name)).toStrictEqual(['a']);
  const query = world.watches[0]?.query;
  expect(query?.get('resourceVersion')).toBe('5');
  expect(query?.get('allowWatchBookmarks')).toBe('true');
  expect(Number(query?.get('timeoutSeconds'))).toBeGreaterThanOrEqual(261);
  expect(Number(query?.get('timeoutSeconds'))).toBeLessThanOrEqual(319);
}, 30_000);

test('a watch that ends is resumed from the last version, that of a bookmark too', async () => {
  await using world = await World.start({
    lists: [listed(5)],
    watches: [
      (call) => {
        line(call, 'ADDED', object('a', 6));
        call.response.end();
      },
      (call) => {
        line(call, 'BOOKMARK', bookmark(40));
        call.response.end();
      },
    ],
  });
  await world.untilWatches(3);
  expect(world.watches.map(({ query }) => query.get('resourceVersion'))).toStrictEqual(['5', '6', '40']);
  expect(world.lists).toHaveLength(1);
}, 30_000);

test('errors, refusals and broken connections are survived, and nothing is listed again', async () => {
  await using world = await World.start({
    lists: [(call) => refuse(call, 500, 'InternalError'), (call) => void call.socket.destroy(), listed(5)],
    watches: [
      (call) => refuse(call, 500, 'InternalError'),
      (call) => void call.socket.destroy(),
      (call) => {
        silence(call);
        setImmediate(() => call.socket.destroy());
      },
      (call) => {
        // Half a line, then the end: it must not count.
        line(call, 'ADDED', object('a', 6));
        call.response.write('{"type":"ADDED","object":{"metadata":{"na');
        call.response.end();
      },
      (call) => {
        silence(call);
        call.response.write('this is not JSON\n');
      },
      (call) => line(call, 'ERROR', { kind: 'Status', code: 500, message: 'etcd is away' }),
      (call) => line(call, 'ADDED', object('b', 7)),
    ],
  });
  await world.untilChanges(2);
  expect(world.changes).toStrictEqual(['applied a uid-a 6', 'applied b uid-b 7']);
  expect(world.lists).toHaveLength(3);
  expect(world.watches.map(({ query }) => query.get('resourceVersion'))).toStrictEqual(['5', '5', '5', '5', '6', '6', '6']);
}, 30_000);

for (const [how, expire] of [
  [
    'in an event',
    (call: Call) => line(call, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' }),
  ],
  ['as its answer', (call: Call) => refuse(call, 410, 'Expired')],
] as const) {
  test(`when the server has forgotten the version (410 ${how}), the new list tells all that was missed`, async () => {
    await using world = await World.start({
      lists: [
        listed(5, object('gone', 1), object('same', 2), object('changed', 3), object('reborn', 4)),
        listed(20, object('same', 2), object('changed', 11), object('reborn', 12, 'uid-other'), object('new', 13)),
      ],
      watches: [expire],
    });
    await world.untilChanges(9);
    expect(world.changes.slice(4).sort()).toStrictEqual([
      'applied changed uid-changed 11 was 3',
      'applied new uid-new 13',
      'applied reborn uid-other 12',
      'deleted gone uid-gone 1 was 1',
      'deleted reborn uid-reborn 4 was 4',
    ]);
    expect(world.changes.indexOf('deleted reborn uid-reborn 4 was 4')).toBeLessThan(world.changes.indexOf('applied reborn uid-other 12'));
    await world.untilWatches(2);
    expect(world.watches[1]?.query.get('resourceVersion')).toBe('20');
  }, 30_000);
}

test('the store is never empty or half filled while it is listed again', async () => {
  const all = Array.from({ length: 20 }, (_, i) => object(`v${i}`, i + 1));
  await using world = await World.start({
    lists: [listed(50, ...all), listed(60, ...all.map(({ metadata }) => object(metadata.name, 55)))],
    watches: [(call) => refuse(call, 410, 'Expired')],
  });
  const sizes = new Set<number>();
  await world.informer.synced;
  world.informer.subscribe(() => {
    sizes.add(world.informer.list().length);
    expect(world.informer.list().every(({ metadata }) => metadata.resourceVersion === '55')).toBe(true);
  });
  await world.untilChanges(40);
  expect([...sizes]).toStrictEqual([20]);
}, 30_000);

test('a watch from the future, after the server was restored, leads to a new list', async () => {
  await using world = await World.start({
    lists: [listed(500, object('a', 400)), listed(7)],
    watches: [
      (call) =>
        json(
          call,
          {
            kind: 'Status',
            code: 504,
            reason: 'Timeout',
            message: 'Too large',
            details: { causes: [{ reason: 'ResourceVersionTooLarge' }] },
          },
          504,
        ),
    ],
  });
  await world.untilChanges(2);
  expect(world.changes[1]).toBe('deleted a uid-a 400 was 400');
}, 30_000);

test('a delete and a new object of that name that come as one change are told as both', async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3))],
    watches: [(call) => line(call, 'MODIFIED', object('a', 9, 'uid-other'))],
  });
  await world.untilChanges(3);
  expect(world.changes.slice(1)).toStrictEqual(['deleted a uid-a 3 was 3', 'applied a uid-other 9']);
}, 30_000);

test('a silent connection is given up and the watch resumed; bookmarks keep one alive', async () => {
  await using world = await World.start({
    lists: [listed(5)],
    // Long beside the bookmarks: on a busy machine they may come late.
    silenceMs: 2_500,
    watches: [
      silence,
      (call) => {
        let version = 10;
        const timer = setInterval(() => line(call, 'BOOKMARK', bookmark(++version)), 60);
        call.response.on('close', () => clearInterval(timer));
        setTimeout(() => line(call, 'ADDED', object('late', 100)), 4_000);
      },
    ],
  });
  await world.untilChanges(1);
  expect(world.watches).toHaveLength(2);
}, 30_000);

test('a server that accepts the watch and never answers is given up, too', async () => {
  await using world = await World.start({
    lists: [listed(5)],
    silenceMs: 50,
    // On a busy machine an answer may come too late, too: the next watch gets it again.
    watches: [() => {}, ...Array.from({ length: 50 }, () => (call: Call) => line(call, 'ADDED', object('a', 6)))],
  });
  await world.untilChanges(1);
}, 30_000);

test('events that arrive in pieces, and many in one, are all told', async () => {
  const many = Array.from({ length: 300 }, (_, i) => `${JSON.stringify({ type: 'ADDED', object: object(`ä${i}`, 10 + i) })}\n`).join('');
  await using world = await World.start({
    lists: [listed(5)],
    watches: [
      async (call) => {
        silence(call);
        const bytes = Buffer.from(many);
        // Cut in the middle of characters and lines.
        for (let at = 0; at < bytes.length; at += 1009) {
          call.response.write(bytes.subarray(at, at + 1009));
          if (at % 3 === 0) await delay(1);
        }
      },
    ],
  });
  await world.untilChanges(300);
  expect(world.changes.at(-1)).toBe('applied ä299 uid-ä299 309');
}, 30_000);

test('a listener that throws harms neither the others nor the watch', async () => {
  await using world = await World.start({
    lists: [listed(5)],
    watches: [
      (call) => {
        line(call, 'ADDED', object('a', 6));
        line(call, 'ADDED', object('b', 7));
      },
    ],
  });
  let calls = 0;
  world.informer.subscribe(() => {
    calls++;
    throw new Error('broken');
  });
  await world.untilChanges(2);
  expect(calls).toBe(2);
}, 30_000);

test('waitFor answers at once, on a change, and on a deletion', async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3))],
    watches: [
      (call) => {
        setTimeout(() => line(call, 'MODIFIED', object('a', 6)), 20);
        setTimeout(() => line(call, 'DELETED', object('a', 7)), 60);
      },
    ],
  });
  const { informer } = world;
  const version = (wanted: string) => (now: KubeObject | undefined) => now?.metadata.resourceVersion === wanted && now.metadata.uid;
  expect(await informer.waitFor('a', version('3'), { timeoutMs: 20_000 })).toBe('uid-a');
  expect(await informer.waitFor('a', version('6'), { timeoutMs: 20_000 })).toBe('uid-a');
  expect(await informer.waitFor('a', (now) => now === undefined, { timeoutMs: 20_000 })).toBe(true);
}, 30_000);

test('waitFor for something that never comes is a TimeoutError that names it; errors and aborts come through', async () => {
  await using world = await World.start({ lists: [listed(5)] });
  const { informer } = world;
  await informer.synced;
  await expect(informer.waitFor('a', (now) => now, { timeoutMs: 20 })).rejects.toSatisfy(
    (error) => error instanceof TimeoutError && /Widget a: .*0.02 s/.test(error.message),
  );
  const broken = (): never => {
    throw new Error('broken');
  };
  await expect(informer.waitFor('a', broken, { timeoutMs: 20 })).rejects.toThrow(/broken/);
  const stop = new AbortController();
  const waiting = informer.waitFor('a', (now) => now, { timeoutMs: 20_000, signal: stop.signal });
  stop.abort(new Error('told to stop'));
  await expect(waiting).rejects.toThrow(/told to stop/);
}, 30_000);

test('waitFor does not take an empty store for an answer before the first list', async () => {
  let answer: (() => void) | undefined;
  await using world = await World.start({
    lists: [
      (call) => {
        answer = () => listed(5, object('a', 3))(call);
      },
    ],
  });
  let gone = false;
  const waiting = world.informer
    .waitFor('a', (now) => now === undefined, { timeoutMs: 100 })
    .then(() => {
      gone = true;
    });
  const refused = expect(waiting).rejects.toThrow(TimeoutError);
  while (!answer) await delay(1);
  answer();
  await refused;
  expect(gone).toBe(false);
}, 30_000);

test('run ends at once when told to, in the middle of a watch or of a list', async () => {
  const silenceMs = 60_000;
  const watching = await World.start({ lists: [listed(5)], silenceMs });
  await watching.untilWatches(1);
  await watching[Symbol.asyncDispose]();
  const listing = await World.start({ lists: [() => {}], silenceMs });
  while (listing.lists.length === 0) await delay(1);
  await listing[Symbol.asyncDispose]();
}, 20_000);

test('neither a silent watch nor an earlier list hides new objects from a caller of refresh', async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3)), () => {}, listed(9, object('a', 3), object('b', 8))],
    watches: [silence, silence],
  });
  await world.untilWatches(1);
  const signal = new AbortController().signal;
  const first = world.informer.refresh(signal);
  for (let tries = 0; world.lists.length < 2 && tries < 3_000; tries++) await delay(1);
  expect(world.informer.get('b')).toBeUndefined();
  await Promise.all([first, world.informer.refresh(signal)]);
  expect(world.informer.get('b')?.metadata.resourceVersion).toBe('8');
  expect(world.changes).toStrictEqual(['applied a uid-a 3', 'applied b uid-b 8']);
  // And then it goes on as before.
  await world.untilWatches(2);
  expect(world.watches[1]?.query.get('resourceVersion')).toBe('9');
}, 30_000);

test('a refresh ends with the signal', async () => {
  await using world = await World.start({ lists: [listed(5), () => {}], silenceMs: 60_000 });
  await world.untilWatches(1);
  const stop = new AbortController();
  const waiting = world.informer.refresh(stop.signal);
  stop.abort(new Error('told to stop'));
  await expect(waiting).rejects.toThrow(/told to stop/);
}, 20_000);
