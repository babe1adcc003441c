import { pino } from 'pino';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES } from '../../api/resources.ts';
import { Controller, Informer } from '../../kube/mod.ts';
import { HOLD_MS, MacMemory } from './mac-memory.ts';

const [A, B, C] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'];
const node = (name: string, macs: string[], { uid = name, local = [] as string[], resourceVersion = '1' } = {}): AoENode =>
  ({
    metadata: { name, uid, resourceVersion },
    spec: {},
    status: {
      interfaces: [
        ...macs.map((mac) => ({ name: 'eth0', mac, mtu: 1500 })),
        ...local.map((mac) => ({ name: 'aoe-local', mac, mtu: 9000, local: true })),
      ],
    },
  }) as never;

function memory() {
  const clock = { now: 0 };
  const it = new MacMemory({ now: () => clock.now });
  return { clock, it };
}

test('an address that its node no longer names is remembered for a while', () => {
  const { clock, it } = memory();
  it.note([node('a', [A, B])]);
  expect(it.left('a', { all: false })).toStrictEqual([]);
  it.note([node('a', [A])]);
  expect(it.left('a', { all: false })).toStrictEqual([B]);
  clock.now = HOLD_MS - 1;
  expect(it.left('a', { all: false })).toStrictEqual([B]);
  clock.now = HOLD_MS;
  expect(it.left('a', { all: false })).toStrictEqual([]);
  expect(it.isOwned(B)).toBe(false);
});

test('a node that names no address at all keeps its addresses for as long as that lasts', () => {
  const { clock, it } = memory();
  it.note([node('a', [A, B])]);
  it.note([node('a', [])]);
  clock.now = 10 * HOLD_MS;
  expect(it.left('a', { all: true })).toStrictEqual([A, B]);
  expect(it.isOwned(A)).toBe(true);
  it.note([node('a', [A])]);
  expect(it.left('a', { all: true })).toStrictEqual([]);
});

test('an address that was dropped long before its node named none is not remembered again', () => {
  const { clock, it } = memory();
  it.note([node('a', [A, B])]);
  it.note([node('a', [A])]);
  clock.now = HOLD_MS;
  it.note([node('a', [])]);
  expect(it.left('a', { all: true })).toStrictEqual([A]);
});

test('an address that another node names is not remembered for the first, also when it is only a local link there', () => {
  for (const other of [node('b', [A]), node('b', [], { local: [A] })]) {
    const { it } = memory();
    it.note([node('a', [A])]);
    it.note([node('a', []), other]);
    expect(it.left('a', { all: true })).toStrictEqual([]);
  }
});

test('a new machine under the name of another inherits nothing, and a node that is gone is remembered', () => {
  const { it } = memory();
  it.note([node('a', [A], { uid: 'one' })]);
  it.note([]);
  expect(it.knows('a')).toBe(true);
  expect(it.left('a', { all: true })).toStrictEqual([A]);
  it.note([node('a', [], { uid: 'two' })]);
  expect(it.knows('a')).toBe(false);
  expect(it.isOwned(A)).toBe(false);
});

test("local links, and addresses that nobody named, are nobody's", () => {
  const { it } = memory();
  it.note([node('a', [A], { local: [C] })]);
  expect([it.isOwned(A), it.isOwned(B), it.isOwned(C)]).toStrictEqual([true, false, false]);
});

test('a reconcile that sees a change finds it noted, even when the controller subscribed first, and after each list', async () => {
  const stop = new AbortController();
  const lists = [[node('a', [A, B]), node('other', [C])], [node('a', [B], { resourceVersion: '3' })]];
  const kube = {
    list: async () => ({ items: lists.shift() ?? [], resourceVersion: '1' }),
    watch: async function* (_type: unknown, { signal }: { signal: AbortSignal }) {
      const ended = new Promise((resolve) => signal.addEventListener('abort', resolve));
      await Promise.race([first.promise, ended]);
      if (lists.length > 0) yield { type: 'MODIFIED', object: node('a', [A], { resourceVersion: '2' }) };
      await ended;
    },
  };
  const nodes = new Informer<AoENode>(kube as never, AOE_NODES);
  const [first, second, third] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const seen: string[] = [];
  const it = new MacMemory();
  const controller = new Controller({
    name: 'test',
    log: pino({ level: 'silent' }),
    reconcile: async (key) => {
      const named = nodes.get(key)?.status?.interfaces?.map(({ mac }) => mac) ?? [];
      if (key === 'a') seen.push(`names ${named.join()}, left ${it.left('a', { all: false }).join()}`);
      [first, second, third][seen.length - 1]?.resolve();
    },
  }).watch(nodes, { keys: ({ object }) => [object.metadata.name] });
  it.follow(nodes);
  const running = Promise.all([nodes.run(stop.signal), controller.run(stop.signal)]);
  await second.promise;
  await nodes.refresh(stop.signal);
  await third.promise;
  stop.abort();
  await running;
  expect(seen).toStrictEqual([`names ${A},${B}, left `, `names ${A}, left ${B}`, `names ${B}, left ${A}`]);
});

test('a heartbeat of a node costs nothing', () => {
  const { it } = memory();
  let reads = 0;
  let change: (of: never) => void = () => {};
  it.follow({
    list: () => {
      reads++;
      return [node('a', [A])];
    },
    subscribe: (listener) => {
      change = listener;
      return () => {};
    },
  });
  change({ type: 'applied', object: node('a', [A]), previous: node('a', [A]) } as never);
  expect(reads).toBe(1);
  change({ type: 'applied', object: node('a', [A]), previous: node('a', [B]) } as never);
  expect(reads).toBe(2);
});
