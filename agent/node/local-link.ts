import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
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
 * Makes the veth pair of this node, or corrects its settings; changes nothing when all is as it should be.
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
  const listLinks = async (): Promise<Map<string, IpLink>> => {
    const links = JSON.parse(await ip('-details', '-json', 'link', 'show')) as IpLink[];
    return new Map(links.map((link) => [link.ifname, link]));
  };

  let links = await listLinks();
  for (const name of [TARGET_END, INITIATOR_END]) {
    const kind = links.get(name)?.linkinfo?.info_kind;
    if (links.has(name) && kind !== 'veth') {
      throw new Error(
        `network interface ${name} exists and is not a veth: rename it, because the local AoE link of this node needs the name`,
      );
    }
  }
  // The two ends exist together. A single one belongs to a pair whose other end was renamed or moved to another namespace.
  if (links.has(TARGET_END) !== links.has(INITIATOR_END)) {
    await ip('link', 'delete', links.has(TARGET_END) ? TARGET_END : INITIATOR_END);
    links = await listLinks();
  }
  if (!links.has(TARGET_END)) {
    const peer = ['peer', 'name', INITIATOR_END, 'address', mac, 'mtu', String(MTU)];
    await ip('link', 'add', 'name', TARGET_END, 'mtu', String(MTU), 'type', 'veth', ...peer);
    links = await listLinks();
  }
  for (const name of [TARGET_END, INITIATOR_END]) {
    const link = links.get(name);
    const wanted: string[] = [];
    if (name === INITIATOR_END && link?.address !== mac) wanted.push('address', mac);
    if (link?.mtu !== MTU) wanted.push('mtu', String(MTU));
    // No IPv6 neighbour discovery on the pair. This must be set before it is up, and a kernel without IPv6 does not have it.
    const quiet = link?.inet6_addr_gen_mode === undefined || link.inet6_addr_gen_mode === 'none';
    if (!quiet) await ip('link', 'set', 'dev', name, 'addrgenmode', 'none').catch(() => {});
    if (!link?.flags?.includes('UP')) wanted.push('up');
    if (wanted.length > 0) await ip('link', 'set', 'dev', name, ...wanted);
  }
  return { name: INITIATOR_END, mac, mtu: MTU };
}

/** What sysfs has of a network interface, for the pair: an index is given to no other interface until the next boot. */
const ATTRIBUTES = ['ifindex', 'iflink', 'address', 'mtu', 'flags'];

/**
 * What sysfs says about both ends: it is the same as long as nothing about the pair has changed, and reading it starts no program.
 * @returns undefined when an end is missing
 */
export async function localLinkState(sysfs = '/sys'): Promise<string | undefined> {
  const files = [TARGET_END, INITIATOR_END].flatMap((name) => ATTRIBUTES.map((attribute) => join(sysfs, 'class/net', name, attribute)));
  try {
    return (await Promise.all(files.map((file) => readFile(file, 'latin1')))).join('');
  } catch {
    return undefined;
  }
}
