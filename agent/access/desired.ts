import { localMac } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { HOLD_MS, type MacMemory } from './mac-memory.ts';

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

/** Who claims each MAC address. */
type Claims = Map<string, Set<string>>;

function claimedMacs(nodes: Iterable<AoENode>): Claims {
  const claims: Claims = new Map();
  for (const node of nodes) {
    for (const { mac } of node.status?.interfaces ?? []) {
      const claimants = claims.get(mac.toLowerCase()) ?? new Set();
      claims.set(mac.toLowerCase(), claimants.add(node.metadata.name));
    }
  }
  return claims;
}

/** MAC addresses that more than one AoENode claims, with the claimants. */
export function contestedMacs(nodes: Iterable<AoENode>): Map<string, string[]> {
  return new Map([...claimedMacs(nodes)].filter(([, names]) => names.size > 1).map(([mac, names]) => [mac, [...names].sort()]));
}

/** What is known beside the spec. */
export interface AccessContext {
  /** Name of this node: only its own local link reaches this target. */
  self: string;
  /** Has taken in the nodes already. */
  memory: MacMemory;
  /** MAC addresses that the target lets in now, in lower case. */
  inForce: readonly string[];
}

/**
 * Works out who is let in. A disk in use is not cut off by a status that says too little for a moment: a wanted node keeps
 * addresses in force that its AoENode names no more, for a while, or for as long as it names none at all.
 */
export function desiredAccess(volume: AoEVolume, nodes: readonly AoENode[], context: AccessContext): DesiredAccess {
  const { self, memory, inForce } = context;
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
  const before = volume.status?.initiators?.nodes ?? [];
  const claims = claimedMacs(nodes);
  const macs = new Set<string>();
  const resolved: string[] = [];
  const problems: string[] = [];
  /** @param owner the node on whose account it is let in */
  const admit = (mac: string, whose: string, owner?: string): boolean => {
    const claimants = new Set([...(claims.get(mac) ?? []), ...(owner === undefined ? [] : [owner])]);
    if (claimants.size > 1)
      problems.push(`MAC ${mac} (${whose}) is not let in: AoENodes ${[...claimants].sort().join(' and ')} both claim it`);
    else macs.add(mac);
    return claimants.size <= 1;
  };
  for (const mac of wanted.macs) admit(mac.toLowerCase(), 'spec.initiators.macs');
  for (const name of wanted.nodes) {
    const named = nodes.find((node) => node.metadata.name === name)?.status?.interfaces ?? [];
    const reaching = new Set(named.filter(({ local }) => !local).map(({ mac }) => mac.toLowerCase()));
    // Its address is the node's for ever, and the status that names it may be late.
    const own = name === self ? [localMac(self)] : [];
    const admitted = [...reaching, ...own].filter((mac) => admit(mac, `node ${name}`, name));
    const kept = new Set(memory.left(name, { all: reaching.size === 0 }));
    if (reaching.size === 0 && !memory.knows(name) && before.includes(name))
      for (const mac of unexplained(volume, claims, context)) kept.add(mac);
    const held = inForce.filter((mac) => kept.has(mac) && !macs.has(mac));
    for (const mac of held) macs.add(mac);
    if (admitted.length > 0 || held.length > 0) resolved.push(name);
    if (reaching.size === 0 && held.length > 0) problems.push(`AoENode ${name} names no interface any more: the addresses in force stay`);
    else if (held.length > 0)
      problems.push(`AoENode ${name} names ${held.join(', ')} no more: let in for another ${HOLD_MS / 60_000} minutes at most`);
    else if (reaching.size === 0 && admitted.length === 0)
      problems.push(`node ${name} is not let in: its AoENode names no interface; is the node plugin running there?`);
  }
  return { macs: [...macs].sort(), nodes: resolved, problems };
}

/**
 * Addresses in force of which this program has never known whose they are: it was started when their AoENode named them no
 * more. None when they may be those of a node that is let in no more, which is cut off whatever comes of it.
 */
function unexplained(volume: AoEVolume, claims: Claims, { self, memory, inForce }: AccessContext): string[] {
  const { metadata, spec, status } = volume;
  const out = (status?.initiators?.nodes ?? []).filter((name) => !spec.initiators?.nodes?.includes(name));
  if (!out.every((name) => memory.knows(name))) return [];
  const isKnown = (mac: string): boolean =>
    claims.has(mac) || mac === localMac(self) || memory.isOwned(mac) || memory.isSpelled(metadata.uid ?? '', mac);
  return inForce.filter((mac) => !isKnown(mac));
}

function refusal(why: string): DesiredAccess {
  const refused = `an Exclusive volume is for one host at a time, and ${why}: what was in force stays in force`;
  return { macs: [], nodes: [], problems: [], refused };
}
