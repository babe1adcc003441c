import { localMac } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { HOLD_MS, type MacMemory } from './mac-memory.ts';

/** The initiators that the target is to admit, worked out from a volume's spec and from what is known of the nodes. */
export interface DesiredAccess {
  /** Every MAC address to admit, sorted. */
  macs: string[];
  /** The nodes of spec.initiators that are admitted: at least one address of each is known. */
  nodes: string[];
  /** Why initiators that the spec names are not admitted, for people; empty when all are. */
  problems: string[];
  /** The spec names more initiators than the volume's access allows: nothing changes, and nobody is added. */
  refused?: string;
}

/** The AoENodes that claim each MAC address. */
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

/** MAC addresses that more than one AoENode claims, with the names of these nodes. */
export function contestedMacs(nodes: Iterable<AoENode>): Map<string, string[]> {
  return new Map([...claimedMacs(nodes)].filter(([, names]) => names.size > 1).map(([mac, names]) => [mac, [...names].sort()]));
}

/** What is known beside the spec. */
export interface AccessContext {
  /** Name of this node: its local link, and no other node's, reaches this target. */
  self: string;
  /** Has noted these nodes. */
  memory: MacMemory;
  /** MAC addresses that spec.initiators.macs has named so far, in lower case. */
  namedMacs: ReadonlySet<string>;
  /** MAC addresses that the target admits now, in lower case. */
  admitted: readonly string[];
}

/**
 * Works out which initiators the target is to admit. A disk in use is not cut off because an AoENode says too little for a moment:
 * a wanted node keeps admitted addresses that its AoENode no longer names, for HOLD_MS, or while it names none at all.
 */
export function desiredAccess(volume: AoEVolume, nodes: readonly AoENode[], context: AccessContext): DesiredAccess {
  const { self, memory, admitted: present } = context;
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
  /** @param source what names the address, for people @param owner the node that it is admitted for */
  const admit = (mac: string, source: string, owner?: string): boolean => {
    const claimants = new Set([...(claims.get(mac) ?? []), ...(owner === undefined ? [] : [owner])]);
    const first = memory.firstOwner(mac) ?? ownerByStatus(mac, claimants);
    const isAdmitted = claimants.size <= 1 || (first !== undefined && (owner ?? first) === first);
    if (isAdmitted) macs.add(mac);
    else {
      const claim = `AoENodes ${[...claimants].sort().join(' and ')} both claim it`;
      problems.push(`MAC ${mac} (${source}) is not admitted: ${claim}${first === undefined ? '' : `, and ${first} did so first`}`);
    }
    return isAdmitted;
  };
  /** After a restart of this program: the one node for which the target can have admitted the address. */
  const ownerByStatus = (mac: string, claimants: ReadonlySet<string>): string | undefined => {
    const [name, ...others] = present.includes(mac) ? before.filter((each) => claimants.has(each)) : [];
    return others.length === 0 ? name : undefined;
  };
  for (const mac of wanted.macs) admit(mac.toLowerCase(), 'spec.initiators.macs');
  for (const name of wanted.nodes) {
    const named = nodes.find((node) => node.metadata.name === name)?.status?.interfaces ?? [];
    const reaching = new Set(named.filter(({ local }) => !local).map(({ mac }) => mac.toLowerCase()));
    // The address of the local link never changes, and the AoENode that names it may be late.
    const own = name === self ? [localMac(self)] : [];
    const admitted = [...reaching, ...own].filter((mac) => admit(mac, `node ${name}`, name));
    const kept = new Set(memory.left(name, { all: reaching.size === 0 }));
    if (reaching.size === 0 && !memory.knows(name) && before.includes(name))
      for (const mac of unexplained(volume, claims, context)) kept.add(mac);
    const held = present.filter((mac) => kept.has(mac) && !macs.has(mac));
    for (const mac of held) macs.add(mac);
    if (admitted.length > 0 || held.length > 0) resolved.push(name);
    if (reaching.size === 0 && held.length > 0)
      problems.push(`AoENode ${name} no longer names an interface: its admitted addresses stay admitted`);
    else if (held.length > 0)
      problems.push(`AoENode ${name} no longer names ${held.join(', ')}: admitted for another ${HOLD_MS / 60_000} minutes at most`);
    else if (reaching.size === 0 && admitted.length === 0)
      problems.push(`node ${name} is not admitted: its AoENode names no interface; is the node plugin running there?`);
  }
  return { macs: [...macs].sort(), nodes: resolved, problems };
}

/**
 * MAC addresses that the target admits, of an owner that this program does not know: their AoENode dropped them before the agent
 * started. None when a node that the spec no longer names could own them: such a node is always cut off.
 */
function unexplained(volume: AoEVolume, claims: Claims, { self, memory, namedMacs, admitted }: AccessContext): string[] {
  const { spec, status } = volume;
  const removed = (status?.initiators?.nodes ?? []).filter((name) => !spec.initiators?.nodes?.includes(name));
  if (!removed.every((name) => memory.knows(name))) return [];
  const isKnown = (mac: string): boolean => claims.has(mac) || mac === localMac(self) || memory.isOwned(mac) || namedMacs.has(mac);
  return admitted.filter((mac) => !isKnown(mac));
}

function refusal(reason: string): DesiredAccess {
  const refused = `an Exclusive volume is for one host at a time, and ${reason}: the admitted initiators stay as they are`;
  return { macs: [], nodes: [], problems: [], refused };
}
