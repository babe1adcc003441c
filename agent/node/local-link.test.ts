import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localMac } from '../../api/local-link.ts';
import { ensureLocalLink, localLinkState } from './local-link.ts';

const { signal } = new AbortController();

/** A node whose `ip link show` gives these links; `ip link add` makes both ends. */
function machine(links: Record<string, object>) {
  const calls: string[] = [];
  const run = async (_program: string, args: readonly string[]) => {
    const command = args.join(' ');
    if (!command.includes('show')) calls.push(command);
    if (args[1] === 'delete') delete links[args[2] ?? ''];
    if (args[1] === 'add') {
      const veth = { mtu: 9000, flags: [], linkinfo: { info_kind: 'veth' }, inet6_addr_gen_mode: 'eui64' };
      Object.assign(links, { 'aoe-target': veth, 'aoe-local': { ...veth, address: localMac('n') } });
    }
    return { stdout: JSON.stringify(Object.entries(links).map(([ifname, link]) => ({ ifname, ...link }))), stderr: '' };
  };
  return { calls, run };
}
const good = { mtu: 9000, flags: ['UP'], linkinfo: { info_kind: 'veth' }, inet6_addr_gen_mode: 'none' };

test('the pair is made with the MAC of the node, quiet and up', async () => {
  const { calls, run } = machine({});
  expect(await ensureLocalLink('n', run, signal)).toStrictEqual({ name: 'aoe-local', mac: localMac('n'), mtu: 9000 });
  expect(calls).toStrictEqual([
    `link add name aoe-target mtu 9000 type veth peer name aoe-local address ${localMac('n')} mtu 9000`,
    'link set dev aoe-target addrgenmode none',
    'link set dev aoe-target up',
    'link set dev aoe-local addrgenmode none',
    'link set dev aoe-local up',
  ]);
});

test('a pair that is as it should be is left alone', async () => {
  const { calls, run } = machine({ 'aoe-target': good, 'aoe-local': { ...good, address: localMac('n') } });
  await ensureLocalLink('n', run, signal);
  expect(calls).toStrictEqual([]);
});

test('a wrong MAC, MTU or state is corrected', async () => {
  const { calls, run } = machine({
    'aoe-target': { ...good, mtu: 1500, flags: [] },
    'aoe-local': { ...good, address: '02:00:00:00:00:01' },
  });
  await ensureLocalLink('n', run, signal);
  expect(calls).toStrictEqual(['link set dev aoe-target mtu 9000 up', `link set dev aoe-local address ${localMac('n')}`]);
});

test('a single end is replaced by a new pair', async () => {
  const { calls, run } = machine({ 'aoe-local': good });
  await ensureLocalLink('n', run, signal);
  expect(calls.slice(0, 2).map((call) => call.split(' ', 2).join(' '))).toStrictEqual(['link delete', 'link add']);
});

test('an interface of our name that is not ours is left alone', async () => {
  const calls: string[][] = [];
  const run = async (_command: string, args: readonly string[]) => {
    calls.push([...args]);
    return { stdout: JSON.stringify([{ ifname: 'aoe-local', linkinfo: { info_kind: 'bridge' } }]), stderr: '' };
  };
  await expect(ensureLocalLink('n', run, new AbortController().signal)).rejects.toThrow(/not a veth/);
  expect(calls).toHaveLength(1);
});

test('the state of the pair changes with every setting, and there is none without both ends', async () => {
  const sysfs = await mkdtemp(join(tmpdir(), 'aoe-link-'));
  onTestFinished(() => rm(sysfs, { recursive: true }));
  const write = (name: string, attribute: string, value: string) => writeFile(join(sysfs, 'class/net', name, attribute), `${value}\n`);
  const seen: (string | undefined)[] = [];
  for (const name of ['aoe-target', 'aoe-local']) {
    await mkdir(join(sysfs, 'class/net', name), { recursive: true });
    for (const attribute of ['ifindex', 'iflink', 'address', 'mtu', 'flags']) {
      expect(await localLinkState(sysfs)).toBeUndefined();
      await write(name, attribute, '1');
    }
  }
  seen.push(await localLinkState(sysfs));
  expect(await localLinkState(sysfs)).toBe(seen[0]);
  for (const attribute of ['ifindex', 'iflink', 'address', 'mtu', 'flags']) {
    await write('aoe-local', attribute, '2');
    seen.push(await localLinkState(sysfs));
  }
  expect(new Set(seen).size).toBe(6);
});
