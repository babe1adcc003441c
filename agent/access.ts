import type { AoENode } from '../api/node.ts';
import type { AoEVolume } from '../api/volume.ts';

/** Who shall be let in, worked out from a volume's spec and what is known of the nodes. */
export interface DesiredAccess {
  /** Every MAC address to let in, sorted. */
  macs: string[];
  /** Nodes of spec.initiators whose addresses are known. */
  nodes: string[];
  /** What keeps somebody out whom the spec lets in, for people; empty when nothing does. */
  problems: string[];
  /** The spec lets in more than it may: then nothing changes, and nobody is added. */
  refused?: string;
}

/** MAC addresses that more than one AoENode claims, with the claimants. */
export function contestedMacs(nodes: Iterable<AoENode>): Map<string, string[]> {
  const claims = new Map<string, Set<string>>();
  for (const node of nodes) {
    for (const { mac } of node.status?.interfaces ?? []) {
      const claimants = claims.get(mac.toLowerCase()) ?? new Set();
      claims.set(mac.toLowerCase(), claimants.add(node.metadata.name));
    }
  }
  return new Map([...claims].filter(([, names]) => names.size > 1).map(([mac, names]) => [mac, [...names].sort()]));
}

/**
 * Works out who is let in. A node that is in force and whose AoENode names no interface just now keeps the addresses it
 * has: a status that is empty for a moment must not cut off a disk in use.
 * @param self name of this node: only its own local link reaches this target
 */
export function desiredAccess(volume: AoEVolume, nodes: readonly AoENode[], self: string): DesiredAccess {
  const { access, initiators } = volume.spec;
  const wanted = { nodes: [...(initiators?.nodes ?? [])].sort(), macs: initiators?.macs ?? [] };
  if (access === 'Exclusive' && (wanted.nodes.length > 1 || (wanted.nodes.length > 0 && wanted.macs.length > 0))) {
    return refusal(`spec.initiators names ${[...wanted.nodes, ...wanted.macs].join(', ')}`);
  }
  const hosts = nodes.filter(({ status }) => status?.interfaces?.some(({ mac }) => wanted.macs.includes(mac.toLowerCase())));
  if (access === 'Exclusive' && hosts.length > 1) {
    const names = hosts.map(({ metadata }) => metadata.name).sort();
    return refusal(`spec.initiators.macs has MACs of nodes ${names.join(', ')}`);
  }
  const before = volume.status?.initiators;
  const known = new Set(nodes.flatMap((node) => (node.status?.interfaces ?? []).map(({ mac }) => mac.toLowerCase())));
  const contested = contestedMacs(nodes);
  const macs = new Set<string>();
  const resolved: string[] = [];
  const problems: string[] = [];
  const admit = (mac: string, whose: string): boolean => {
    const claimants = contested.get(mac);
    if (claimants) problems.push(`MAC ${mac} (${whose}) is not let in: AoENodes ${claimants.join(' and ')} both claim it`);
    else macs.add(mac);
    return !claimants;
  };
  for (const mac of wanted.macs) admit(mac.toLowerCase(), 'spec.initiators.macs');
  for (const name of wanted.nodes) {
    const interfaces = nodes.find((node) => node.metadata.name === name)?.status?.interfaces ?? [];
    const reaching = interfaces.filter((entry) => !entry.local || name === self);
    const admitted = reaching.filter(({ mac }) => admit(mac.toLowerCase(), `node ${name}`));
    if (admitted.length > 0) resolved.push(name);
    else if (reaching.length === 0 && before?.nodes?.includes(name)) {
      resolved.push(name);
      for (const mac of before.macs ?? []) if (!known.has(mac)) macs.add(mac);
      problems.push(`AoENode ${name} names no interface any more: the addresses in force stay`);
    } else if (reaching.length === 0)
      problems.push(`node ${name} is not let in: its AoENode names no interface; is the node plugin running there?`);
  }
  return { macs: [...macs].sort(), nodes: resolved, problems };
}

function refusal(why: string): DesiredAccess {
  const refused = `an Exclusive volume is for one host at a time, and ${why}: what was in force stays in force`;
  return { macs: [], nodes: [], problems: [], refused };
}
