import { INITIATOR_END, localMac, TARGET_END } from '../../api/local-link.ts';
import { type Exec, stderrOf } from '../../run/exec.ts';

const MTU = 9000;
const LIMIT_MS = 10_000;

export interface LocalLink {
  name: string;
  mac: string;
  mtu: number;
}

interface IpLink {
  ifname: string;
  address?: string;
  mtu?: number;
  flags?: string[];
  linkinfo?: { info_kind?: string };
  inet6_addr_gen_mode?: string;
}

/**
 * Makes the veth pair, or mends what is not as it should be; does nothing when all is.
 * @throws Error when a network interface that is not a veth has one of the names, or ip(8) fails
 */
export async function ensureLocalLink(node: string, run: Exec, signal: AbortSignal): Promise<LocalLink> {
  const mac = localMac(node);
  const ip = async (...args: string[]): Promise<string> => {
    try {
      return (await run('ip', args, { timeoutMs: LIMIT_MS, signal })).stdout;
    } catch (error) {
      throw new Error(`ip ${args.join(' ')}: ${stderrOf(error).trim() || String(error)}`, { cause: error });
    }
  };
  const look = async (): Promise<Map<string, IpLink>> => {
    const links = JSON.parse(await ip('-details', '-json', 'link', 'show')) as IpLink[];
    return new Map(links.map((link) => [link.ifname, link]));
  };

  let links = await look();
  for (const name of [TARGET_END, INITIATOR_END]) {
    const kind = links.get(name)?.linkinfo?.info_kind;
    if (links.has(name) && kind !== 'veth') {
      throw new Error(`network interface ${name} exists and is not a veth: rename it, this node's local AoE link needs the name`);
    }
  }
  // The ends come and go together; a single one belongs to a pair whose other end was renamed or moved.
  if (links.has(TARGET_END) !== links.has(INITIATOR_END)) {
    await ip('link', 'delete', links.has(TARGET_END) ? TARGET_END : INITIATOR_END);
    links = await look();
  }
  if (!links.has(TARGET_END)) {
    const peer = ['peer', 'name', INITIATOR_END, 'address', mac, 'mtu', String(MTU)];
    await ip('link', 'add', 'name', TARGET_END, 'mtu', String(MTU), 'type', 'veth', ...peer);
    links = await look();
  }
  for (const name of [TARGET_END, INITIATOR_END]) {
    const link = links.get(name);
    const wanted: string[] = [];
    if (name === INITIATOR_END && link?.address !== mac) wanted.push('address', mac);
    if (link?.mtu !== MTU) wanted.push('mtu', String(MTU));
    // Keeps the pair quiet: no IPv6 neighbour discovery on it. Before it is up, and not at all on a kernel without IPv6.
    const quiet = link?.inet6_addr_gen_mode === undefined || link.inet6_addr_gen_mode === 'none';
    if (!quiet) await ip('link', 'set', 'dev', name, 'addrgenmode', 'none').catch(() => {});
    if (!link?.flags?.includes('UP')) wanted.push('up');
    if (wanted.length > 0) await ip('link', 'set', 'dev', name, ...wanted);
  }
  return { name: INITIATOR_END, mac, mtu: MTU };
}
