import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

const ARPHRD_ETHER = '1';
const IFF_UP = 0x1;

/** A network interface, as sysfs tells. */
export interface NetworkInterface {
  readonly name: string;
  /** Lower-case colon notation. */
  readonly mac: string;
  /** Bytes of payload in a frame. */
  readonly mtu: number;
  /** Administratively up, with or without a carrier. */
  readonly up: boolean;
  /** A wired Ethernet port: neither wireless nor made by software (bridge, veth, bond, VLAN, tap). */
  readonly physical: boolean;
}

/** Every interface with Ethernet framing, in the order of their names. */
export async function listInterfaces(sysfs = '/sys'): Promise<NetworkInterface[]> {
  const directory = join(sysfs, 'class/net');
  const found = await Promise.all((await readdir(directory)).sort().map((name) => readInterface(directory, name)));
  return found.filter((each) => each !== undefined);
}

/**
 * The interfaces that AoE shall use: with `auto` each physical one that is up, else exactly those named in the
 * comma-separated list, whatever kind they are.
 * @throws RangeError when a named interface does not exist
 */
export async function selectInterfaces(wanted: string, sysfs = '/sys'): Promise<NetworkInterface[]> {
  const all = await listInterfaces(sysfs);
  if (wanted === 'auto') return all.filter((each) => each.physical && each.up);
  return wanted
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => {
      const found = all.find((each) => each.name === name);
      if (!found) throw new RangeError(`no Ethernet interface "${name}": there are ${all.map((each) => each.name).join(', ') || 'none'}`);
      return found;
    });
}

async function readInterface(directory: string, name: string): Promise<NetworkInterface | undefined> {
  const path = join(directory, name);
  const read = async (file: string): Promise<string> => (await readFile(join(path, file), 'utf8')).trim();
  const exists = (file: string): Promise<boolean> =>
    stat(join(path, file)).then(
      () => true,
      () => false,
    );
  try {
    if ((await read('type')) !== ARPHRD_ETHER) return undefined;
    const [mac, mtu, flags, uevent] = await Promise.all([read('address'), read('mtu'), read('flags'), read('uevent')]);
    return {
      name,
      mac: mac.toLowerCase(),
      mtu: Number(mtu),
      up: (Number(flags) & IFF_UP) !== 0,
      // A port of hardware, paravirtual ports included, has a device; what software makes (bridge, veth, bond, VLAN) has none.
      physical: (await exists('device')) && !/^DEVTYPE=/m.test(uevent) && !(await exists('wireless')) && !(await exists('phy80211')),
    };
  } catch {
    // It went away while being read, or is no interface (bonding_masters).
    return undefined;
  }
}
