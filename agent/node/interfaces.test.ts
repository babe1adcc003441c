import { localMac } from '../../api/local-link.ts';
import { chooseInterfaces, parseSelection } from './interfaces.ts';
import { ensureLocalLink } from './local-link.ts';

const present = (name: string, physical: boolean, up = true) => ({ name, physical, up, mac: '02:00:00:00:00:01', mtu: 1500 });

test('auto takes physical interfaces that are up, and the local link last', () => {
  const all = [
    present('eth1', true),
    present('eth0', true),
    present('eth2', true, false),
    present('br0', false),
    present('aoe-target', false),
  ];
  expect(chooseInterfaces('auto', all, [])).toStrictEqual(['eth0', 'eth1', 'aoe-target']);
});

test('an interface that was chosen stays while it exists', () => {
  expect(chooseInterfaces('auto', [present('eth0', true, false)], ['eth0', 'eth1'])).toStrictEqual(['eth0', 'aoe-target']);
});

test('named interfaces are taken as they are', () => {
  expect(chooseInterfaces(parseSelection('eth9, eth1,eth9'), [], [])).toStrictEqual(['eth1', 'eth9', 'aoe-target']);
  expect(() => parseSelection('eth0,,eth1')).toThrow(RangeError);
});

test("the local link's MAC is unicast, locally administered, and the node's own", () => {
  expect(localMac('storage-1')).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(localMac('storage-1')).toBe(localMac('storage-1'));
  expect(localMac('storage-1')).not.toBe(localMac('storage-2'));
});

test('a foreign interface of our name is left alone', async () => {
  const calls: string[][] = [];
  const run = async (_command: string, args: readonly string[]) => {
    calls.push([...args]);
    return { stdout: JSON.stringify([{ ifname: 'aoe-local', linkinfo: { info_kind: 'bridge' } }]), stderr: '' };
  };
  await expect(ensureLocalLink('n', run, new AbortController().signal)).rejects.toThrow(/not a veth/);
  expect(calls).toHaveLength(1);
});
