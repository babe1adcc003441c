import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listInterfaces, selectInterfaces } from './interfaces.ts';

const sysfs = mkdtempSync(join(tmpdir(), 'aoe-sysfs-'));
afterAll(() => rmSync(sysfs, { recursive: true }));

function add(name: string, { type = '1', flags = '0x1003', uevent = '', device = true, wireless = false, master = false } = {}): void {
  const path = join(sysfs, 'class/net', name);
  mkdirSync(path, { recursive: true });
  const files = { type, flags, address: '02:00:00:00:00:AA', mtu: '9000', uevent: `INTERFACE=${name}\n${uevent}` };
  for (const [file, value] of Object.entries(files)) writeFileSync(join(path, file), `${value}\n`);
  if (device) symlinkSync('..', join(path, 'device'));
  if (master) symlinkSync('../br0', join(path, 'master'));
  if (wireless) mkdirSync(join(path, 'wireless'));
}
add('eth0');
add('eth1', { flags: '0x1002' });
add('eth2', { master: true });
add('vec0');
add('wlan0', { wireless: true, uevent: 'DEVTYPE=wlan\n' });
add('br0', { device: false, uevent: 'DEVTYPE=bridge\n' });
add('veth1', { device: false });
add('lo', { type: '772', device: false });
writeFileSync(join(sysfs, 'class/net/bonding_masters'), '\n');

test('listInterfaces() lists everything with Ethernet framing', async () => {
  const all = await listInterfaces(sysfs);
  expect(all.map((each) => each.name)).toStrictEqual(['br0', 'eth0', 'eth1', 'eth2', 'vec0', 'veth1', 'wlan0']);
  expect(all[1]).toStrictEqual({ name: 'eth0', mac: '02:00:00:00:00:aa', mtu: 9000, up: true, physical: true });
});

async function select(wanted: string): Promise<[string[], readonly string[]]> {
  const { found, missing } = selectInterfaces(await listInterfaces(sysfs), wanted);
  return [found.map((each) => each.name), missing];
}

test('"auto" means wired hardware that is up, and no port of a bridge or bond', async () => {
  expect(await select('auto')).toStrictEqual([['eth0', 'vec0'], []]);
});

test('a list is taken as it is, and names that are not there are told', async () => {
  expect(await select('br0, eth1')).toStrictEqual([['br0', 'eth1'], []]);
  expect(await select('eth7,eth2,lo')).toStrictEqual([['eth2'], ['eth7', 'lo']]);
});
