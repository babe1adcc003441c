import assert from 'node:assert/strict';
import { test } from 'node:test';
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
    const end = performance.now() + 3_000;
    while (this.changes.length < count && performance.now() < end) await delay(2);
    assert.equal(this.changes.length, count, this.changes.join());
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

test('what is listed and what is then watched is in the store and told', { timeout: 10_000 }, async () => {
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
  assert.deepEqual(world.changes, ['applied a uid-a 3', 'applied b uid-b 6', 'applied a uid-a 7 was 3', 'deleted b uid-b 8 was 6']);
  assert.deepEqual(
    world.informer.list().map(({ metadata }) => metadata.name),
    ['a'],
  );
  const query = world.watches[0]?.query;
  assert.equal(query?.get('resourceVersion'), '5');
  assert.equal(query?.get('allowWatchBookmarks'), 'true');
  assert.ok(Number(query?.get('timeoutSeconds')) >= 261 && Number(query?.get('timeoutSeconds')) <= 319);
});

test('a watch that ends is resumed from the last version, that of a bookmark too', { timeout: 10_000 }, async () => {
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
  assert.deepEqual(
    world.watches.map(({ query }) => query.get('resourceVersion')),
    ['5', '6', '40'],
  );
  assert.equal(world.lists.length, 1);
});

test('errors, refusals and broken connections are survived, and nothing is listed again', { timeout: 10_000 }, async () => {
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
  assert.deepEqual(world.changes, ['applied a uid-a 6', 'applied b uid-b 7']);
  assert.equal(world.lists.length, 3);
  assert.deepEqual(
    world.watches.map(({ query }) => query.get('resourceVersion')),
    ['5', '5', '5', '5', '6', '6', '6'],
  );
});

for (const [how, expire] of [
  [
    'in an event',
    (call: Call) => line(call, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' }),
  ],
  ['as its answer', (call: Call) => refuse(call, 410, 'Expired')],
] as const) {
  test(`when the server has forgotten the version (410 ${how}), the new list tells all that was missed`, { timeout: 10_000 }, async () => {
    await using world = await World.start({
      lists: [
        listed(5, object('gone', 1), object('same', 2), object('changed', 3), object('reborn', 4)),
        listed(20, object('same', 2), object('changed', 11), object('reborn', 12, 'uid-other'), object('new', 13)),
      ],
      watches: [expire],
    });
    await world.untilChanges(9);
    assert.deepEqual(world.changes.slice(4).sort(), [
      'applied changed uid-changed 11 was 3',
      'applied new uid-new 13',
      'applied reborn uid-other 12',
      'deleted gone uid-gone 1 was 1',
      'deleted reborn uid-reborn 4 was 4',
    ]);
    assert.ok(world.changes.indexOf('deleted reborn uid-reborn 4 was 4') < world.changes.indexOf('applied reborn uid-other 12'));
    await world.untilWatches(2);
    assert.equal(world.watches[1]?.query.get('resourceVersion'), '20');
  });
}

test('the store is never empty or half filled while it is listed again', { timeout: 10_000 }, async () => {
  const all = Array.from({ length: 20 }, (_, i) => object(`v${i}`, i + 1));
  await using world = await World.start({
    lists: [listed(50, ...all), listed(60, ...all.map(({ metadata }) => object(metadata.name, 55)))],
    watches: [(call) => refuse(call, 410, 'Expired')],
  });
  const sizes = new Set<number>();
  await world.informer.synced;
  world.informer.subscribe(() => {
    sizes.add(world.informer.list().length);
    assert.ok(world.informer.list().every(({ metadata }) => metadata.resourceVersion === '55'));
  });
  await world.untilChanges(40);
  assert.deepEqual([...sizes], [20]);
});

test('a watch from the future, after the server was restored, leads to a new list', { timeout: 10_000 }, async () => {
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
  assert.equal(world.changes[1], 'deleted a uid-a 400 was 400');
});

test('a delete and a new object of that name that come as one change are told as both', { timeout: 10_000 }, async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3))],
    watches: [(call) => line(call, 'MODIFIED', object('a', 9, 'uid-other'))],
  });
  await world.untilChanges(3);
  assert.deepEqual(world.changes.slice(1), ['deleted a uid-a 3 was 3', 'applied a uid-other 9']);
});

test('a silent connection is given up and the watch resumed; bookmarks keep one alive', { timeout: 10_000 }, async () => {
  await using world = await World.start({
    lists: [listed(5)],
    silenceMs: 400,
    watches: [
      silence,
      (call) => {
        let version = 10;
        const timer = setInterval(() => line(call, 'BOOKMARK', bookmark(++version)), 60);
        call.response.on('close', () => clearInterval(timer));
        setTimeout(() => line(call, 'ADDED', object('late', 100)), 1_000);
      },
    ],
  });
  await world.untilChanges(1);
  assert.equal(world.watches.length, 2);
});

test('a server that accepts the watch and never answers is given up, too', { timeout: 10_000 }, async () => {
  await using world = await World.start({
    lists: [listed(5)],
    silenceMs: 50,
    watches: [() => {}, (call) => line(call, 'ADDED', object('a', 6))],
  });
  await world.untilChanges(1);
});

test('events that arrive in pieces, and many in one, are all told', { timeout: 10_000 }, async () => {
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
  assert.equal(world.changes.at(-1), 'applied ä299 uid-ä299 309');
});

test('a listener that throws harms neither the others nor the watch', { timeout: 10_000 }, async () => {
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
  assert.equal(calls, 2);
});

test('waitFor answers at once, on a change, and on a deletion', { timeout: 10_000 }, async () => {
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
  assert.equal(await informer.waitFor('a', version('3'), { timeoutMs: 1000 }), 'uid-a');
  assert.equal(await informer.waitFor('a', version('6'), { timeoutMs: 1000 }), 'uid-a');
  assert.equal(await informer.waitFor('a', (now) => now === undefined, { timeoutMs: 1000 }), true);
});

test('waitFor for something that never comes is a TimeoutError that names it; errors and aborts come through', {
  timeout: 10_000,
}, async () => {
  await using world = await World.start({ lists: [listed(5)] });
  const { informer } = world;
  await informer.synced;
  await assert.rejects(
    informer.waitFor('a', (now) => now, { timeoutMs: 20 }),
    (error) => error instanceof TimeoutError && /Widget a: .*0.02 s/.test(error.message),
  );
  const broken = (): never => {
    throw new Error('broken');
  };
  await assert.rejects(informer.waitFor('a', broken, { timeoutMs: 20 }), /broken/);
  const stop = new AbortController();
  const waiting = informer.waitFor('a', (now) => now, { timeoutMs: 5_000, signal: stop.signal });
  stop.abort(new Error('told to stop'));
  await assert.rejects(waiting, /told to stop/);
});

test('waitFor does not take an empty store for an answer before the first list', { timeout: 10_000 }, async () => {
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
  const refused = assert.rejects(waiting, TimeoutError);
  while (!answer) await delay(1);
  answer();
  await refused;
  assert.ok(!gone);
});

test('run ends at once when told to, in the middle of a watch or of a list', { timeout: 5_000 }, async () => {
  const watching = await World.start({ lists: [listed(5)] });
  await watching.untilWatches(1);
  await watching[Symbol.asyncDispose]();
  const listing = await World.start({ lists: [() => {}] });
  while (listing.lists.length === 0) await delay(1);
  await listing[Symbol.asyncDispose]();
});

test('a silent watch does not keep what is new from one who lists anew, nor does a list that was begun before', {
  timeout: 10_000,
}, async () => {
  await using world = await World.start({
    lists: [listed(5, object('a', 3)), () => {}, listed(9, object('a', 3), object('b', 8))],
    watches: [silence, silence],
  });
  await world.untilWatches(1);
  const signal = new AbortController().signal;
  const first = world.informer.refresh(signal);
  for (let tries = 0; world.lists.length < 2 && tries < 3_000; tries++) await delay(1);
  assert.equal(world.informer.get('b'), undefined);
  await Promise.all([first, world.informer.refresh(signal)]);
  assert.equal(world.informer.get('b')?.metadata.resourceVersion, '8');
  assert.deepEqual(world.changes, ['applied a uid-a 3', 'applied b uid-b 8']);
  // And then it goes on as before.
  await world.untilWatches(2);
  assert.equal(world.watches[1]?.query.get('resourceVersion'), '9');
});

test('listing anew ends with the signal', { timeout: 5_000 }, async () => {
  await using world = await World.start({ lists: [listed(5), () => {}] });
  await world.untilWatches(1);
  const stop = new AbortController();
  const waiting = world.informer.refresh(stop.signal);
  stop.abort(new Error('told to stop'));
  await assert.rejects(waiting, /told to stop/);
});
