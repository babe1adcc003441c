import { pino } from 'pino';
import { localMac } from '../../api/local-link.ts';
import { Subscribers } from '../subscribers.ts';
import type { TargetChange } from '../target/connection.ts';
import { NodeNetwork } from './network.ts';

const { signal } = new AbortController();
const eth = (name: string, up = true, physical = true) => ({ name, physical, up, mac: `02:00:00:00:00:0${name.at(-1)}`, mtu: 1500 });
const VETH = { mtu: 9000, flags: ['UP'], linkinfo: { info_kind: 'veth' } };
const GOOD = [
  { ifname: 'aoe-target', ...VETH },
  { ifname: 'aoe-local', ...VETH, address: localMac('n') },
];

/** A node with these interfaces and a target that is connected. */
function node(present = [eth('eth1'), eth('eth2')]) {
  const sent: string[][] = [];
  const changes = new Subscribers<TargetChange>();
  const world = {
    present,
    links: GOOD as object[],
    linkState: undefined as string | undefined,
    programs: 0,
    failure: undefined as Error | undefined,
  };
  const target = {
    connected: true,
    interfaces: () => [{ name: 'eth9', mac: '02:00:00:00:00:99', mtu: 1500, serving: true, error: '' }],
    setInterfaces: async (names: string[]) => {
      if (world.failure) throw world.failure;
      sent.push(names);
    },
    subscribe: (listener: (change: TargetChange) => void) => changes.add(listener),
  };
  const it = new NodeNetwork({
    node: 'n',
    selection: 'auto',
    target,
    run: async () => {
      world.programs++;
      return { stdout: JSON.stringify(world.links), stderr: '' };
    },
    linkState: async () => world.linkState,
    log: pino({ level: 'silent' }),
    list: async () => world.present,
  });
  return { it, world, target, sent, changes };
}

test('the target is given the chosen interfaces, and again only when they change', async () => {
  const { it, world, sent } = node();
  await it.check(signal);
  await it.check(signal);
  expect(sent).toStrictEqual([['eth1', 'eth2', 'aoe-target']]);
  world.present = [eth('eth1')];
  await it.check(signal);
  expect(sent.at(-1)).toStrictEqual(['eth1', 'aoe-target']);
});

test('a target that is away gets nothing, and a call that failed is repeated', async () => {
  const { it, world, target, sent } = node();
  target.connected = false;
  await it.check(signal);
  expect(sent).toStrictEqual([]);
  target.connected = true;
  world.failure = new Error('no');
  await expect(it.check(signal)).rejects.toThrow('no');
  world.failure = undefined;
  await it.check(signal);
  expect(sent).toHaveLength(1);
});

test('a target that connects again is given its interfaces again, at once', async () => {
  const { it, sent, target, changes } = node();
  const stop = new AbortController();
  const given = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  target.setInterfaces = async (names) => {
    sent.push(names);
    given[sent.length - 1]?.resolve();
  };
  const running = it.run(stop.signal);
  await given[0]?.promise;
  changes.emit({ type: 'connection' });
  await given[1]?.promise;
  expect(sent).toHaveLength(2);
  stop.abort();
  await running;
});

test('addresses are probed on interfaces that are served on and up, and never on the local link', async () => {
  const { it, world } = node([eth('eth1'), eth('eth2'), eth('br0', true, false)]);
  await it.check(signal);
  expect(it.segment()).toStrictEqual(['eth1', 'eth2']);
  world.present = [eth('eth1'), eth('eth2', false)];
  await it.check(signal);
  expect(it.segment()).toStrictEqual(['eth1']);
});

test('the own MAC addresses are those of the chosen interfaces, and those that the target reports', async () => {
  const { it } = node([eth('eth1'), eth('br0', true, false)]);
  await it.check(signal);
  expect([...it.ownMacs()].sort()).toStrictEqual(['02:00:00:00:00:01', '02:00:00:00:00:99']);
});

test('the local link is reported when it is made, when it is lost, and not in between', async () => {
  const { it, world } = node();
  const seen: object[] = [];
  it.subscribe(() => seen.push(it.link));
  await it.check(signal);
  await it.check(signal);
  world.links = [{ ifname: 'aoe-local', linkinfo: { info_kind: 'bridge' } }];
  await it.check(signal);
  expect(seen).toStrictEqual([{ name: 'aoe-local', mac: localMac('n'), mtu: 9000 }, { problem: expect.stringContaining('is not a veth') }]);
});

test('a local link that has not changed is looked at without a program', async () => {
  const { it, world } = node();
  world.linkState = 'good';
  for (let checks = 0; checks < 3; checks++) await it.check(signal);
  expect(world.programs).toBe(1);
  world.linkState = 'another';
  world.links = [{ ifname: 'aoe-local', linkinfo: { info_kind: 'bridge' } }];
  for (let checks = 0; checks < 3; checks++) await it.check(signal);
  expect(world.programs).toBe(4);
  expect(it.link).toHaveProperty('problem');
});
