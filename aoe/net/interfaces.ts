import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

const ARPHRD_ETHER = '1';
const IFF_UP = 0x1;

/** A network interface, as sysfs describes it. */
export interface NetworkInterface {
  readonly name: string;
  /** Lower-case colon notation. */
  readonly mac: string;
  /** Bytes of payload in a frame. */
  readonly mtu: number;
  /** Administratively up, with or without a carrier. */
  readonly up: boolean;
  /**
   * A wired Ethernet port: not wireless, not made by software (bridge, veth, bond, VLAN, tap), and not a port of such an
   * interface, because that interface receives its frames (`rx_handler`, net/core/dev.c).
   */
  readonly physical: boolean;
}

/** Every interface with Ethernet framing, in the order of their names. */
export async function listInterfaces(sysfs = '/sys'): Promise<NetworkInterface[]> {
  const directory = join(sysfs, 'class/net');
  const found = await Promise.all((await readdir(directory)).sort().map((name) => readInterface(directory, name)));
  return found.filter((each) => each !== undefined);
}

/** Interfaces for AoE. */
export interface SelectedInterfaces {
  readonly found: readonly NetworkInterface[];
  /** Requested names that are not Ethernet interfaces of this node. */
  readonly missing: readonly string[];
}

/**
 * The interfaces, of all those of a node, that AoE uses. With `auto`: each physical interface that is up. Otherwise: those in the comma-separated list,
 * of any kind.
 */
export function selectInterfaces(all: readonly NetworkInterface[], wanted: string): SelectedInterfaces {
  if (wanted === 'auto') return { found: all.filter((each) => each.physical && each.up), missing: [] };
  const names = wanted
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const found = names.map((name) => all.find((each) => each.name === name));
  return { found: found.filter((each) => each !== undefined), missing: names.filter((_, at) => !found[at]) };
}

async function readInterface(directory: string, name: string): Promise<NetworkInterface | undefined> {
  const path = join(directory, name);
  const read = async (file: string): Promise<string> => (await readFile(join(path, file), 'utf8')).trim();
  const exists = (file: string): Promise<boolean> =>
    stat(join(path, file)).then(
      () => true,
      () => false,
    );
  const anyOf = async (...files: string[]): Promise<boolean> => (await Promise.all(files.map(exists))).includes(true);
  try {
    if ((await read('type')) !== ARPHRD_ETHER) return undefined;
    const [mac, mtu, flags, uevent] = await Promise.all([read('address'), read('mtu'), read('flags'), read('uevent')]);
    return {
      name,
      mac: mac.toLowerCase(),
      mtu: Number(mtu),
      up: (Number(flags) & IFF_UP) !== 0,
      // A hardware port, paravirtual ports included, has a device. An interface made by software (bridge, veth, bond, VLAN) has none.
      physical: (await exists('device')) && !/^DEVTYPE=/m.test(uevent) && !(await anyOf('wireless', 'phy80211', 'master')),
    };
  } catch {
    // The interface went away while it was read, or the entry is not an interface (bonding_masters).
    return undefined;
  }
}
