import { type Address, formatAddress } from '../../api/address.ts';
import { available, footprint, isPlaced } from '../../api/capacity.ts';
import { DEFAULT_SEGMENT } from '../../api/meta.ts';
import { type AoENode, NodeCondition } from '../../api/node.ts';
import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { formatQuantity } from '../../api/quantity.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { type AddressRange, addressKey, addressOf } from './address-range.ts';

/** All that placement looks at. `volumes` has what was placed already, also what the API server has not told of yet. */
export interface Cluster {
  readonly pools: readonly AoEPool[];
  readonly nodes: readonly AoENode[];
  readonly volumes: readonly AoEVolume[];
  /** Why a node is not Ready; undefined when it is. */
  readonly notReady?: (node: string) => string | undefined;
  /** Why nobody looks after a storage node; undefined when its agent does. */
  readonly silent?: (node: AoENode) => string | undefined;
}

export interface Place {
  readonly nodeName: string;
  readonly address: Address;
}

export type Refusal =
  | 'NoSuchPool'
  | 'PoolFull'
  | 'NoEligibleNode'
  | 'NodesNotReady'
  | 'AddressTaken'
  | 'AddressOutOfRange'
  | 'AddressRangeExhausted'
  | 'SerialTaken'
  | 'StorageNodeGone'
  | 'StorageNodeNotReady';

export interface Refused {
  readonly refused: Refusal;
  readonly message: string;
}

interface Candidate {
  readonly node: PoolNode;
  readonly free: number;
}

/**
 * Which of two volumes that claim one address has it: the one that is known to be placed (a spec can be copied from another
 * volume, a status cannot), then the one that looks placed, else the older, else the first by name.
 */
function hasPrecedence(a: AoEVolume, b: AoEVolume): boolean {
  const placed = (volume: AoEVolume) => {
    if (!volume.spec.external && !isPlaced(volume)) return 2;
    return volume.status?.conditions?.some(({ type, status }) => type === VolumeCondition.Placed && status === 'True') ? 0 : 1;
  };
  const rank = (volume: AoEVolume) => `${placed(volume)} ${volume.metadata.creationTimestamp ?? ''} ${volume.metadata.name}`;
  return rank(a) < rank(b);
}

/** The other volume that has a better claim to the address that this one asks for. */
export function addressOwner(volume: AoEVolume, volumes: readonly AoEVolume[]): AoEVolume | undefined {
  const wanted = addressOf(volume.spec);
  if (!wanted) return undefined;
  const key = addressKey(wanted);
  return volumes.find((other) => {
    const address = addressOf(other.spec);
    return other.metadata.name !== volume.metadata.name && address && addressKey(address) === key && hasPrecedence(other, volume);
  });
}

/** The serial number that a disk must report, or has reported. */
function serialOf({ spec, status }: AoEVolume): string | undefined {
  return spec.external?.serial ?? status?.serial;
}

/** The other volume that has a better claim to the serial number of this one: two disks that cannot be told apart. */
export function serialOwner(volume: AoEVolume, volumes: readonly AoEVolume[]): AoEVolume | undefined {
  const serial = serialOf(volume);
  if (!serial) return undefined;
  return volumes.find(
    (other) => other.metadata.name !== volume.metadata.name && serialOf(other) === serial && hasPrecedence(other, volume),
  );
}

function pickAddress(volume: AoEVolume, cluster: Cluster, range: AddressRange, previous: Address | undefined): Address | Refused {
  const wanted = volume.spec.address;
  if (wanted) {
    const owner = addressOwner(volume, cluster.volumes);
    if (owner)
      return {
        refused: 'AddressTaken',
        message: `address ${formatAddress(wanted)} is the one of AoEVolume ${owner.metadata.name}: choose another`,
      };
    if (!range.contains(wanted)) {
      return {
        refused: 'AddressOutOfRange',
        message: `address ${formatAddress(wanted)} is not in the range of this cluster, shelves ${range.toString()}: choose another`,
      };
    }
    return wanted;
  }
  const others = cluster.volumes.filter(({ metadata }) => metadata.name !== volume.metadata.name);
  const taken = new Set(others.flatMap(({ spec }) => addressOf(spec) ?? []).map(addressKey));
  const next = range.next(previous, (address) => taken.has(addressKey(address)));
  return (
    next ?? {
      refused: 'AddressRangeExhausted',
      message: `every address of shelves ${range.toString()} is taken: widen addresses.shelves in the chart`,
    }
  );
}

/** Why a node takes no new volumes, whatever their size, and whether that ends by itself; undefined when it takes them. */
function unfit(node: PoolNode, host: AoENode | undefined, cluster: Cluster, segments: readonly string[]): Unfit | undefined {
  const segment = host?.status?.segment ?? DEFAULT_SEGMENT;
  if (!host) return { reason: `${node.name} has no AoENode`, passing: false };
  if (host.spec?.maintenance) return { reason: `${node.name} is in maintenance`, passing: false };
  if (segments.length > 0 && !segments.includes(segment)) return { reason: `${node.name} is on segment ${segment}`, passing: false };
  if (!node.ready) return { reason: `${node.name}: ${node.message ?? 'pool not ready'}`, passing: true };
  // What it said last, of pool and target, it may say for ever.
  const silent = cluster.silent?.(host);
  if (silent !== undefined) return { reason: silent, passing: true };
  const target = host.status?.conditions?.find(({ type }) => type === NodeCondition.TargetReady);
  if (target?.status === 'False' && NOT_SERVING.has(target.reason)) return { reason: `${node.name}: ${target.message}`, passing: true };
  const notReady = cluster.notReady?.(node.name);
  return notReady === undefined ? undefined : { reason: notReady, passing: true };
}

interface Unfit {
  readonly reason: string;
  /** A restart, say: the volume had better wait. */
  readonly passing: boolean;
}

/** Reasons of TargetReady with which a new volume would not be served to anybody. */
const NOT_SERVING = new Set(['NotAnswering', 'NoInterface']);

function pickNode(volume: AoEVolume, cluster: Cluster): string | Refused {
  const { pool: poolName, segments, nodeName, capacity = '0' } = volume.spec;
  const pool = cluster.pools.find(({ metadata }) => metadata.name === poolName);
  if (!pool) {
    const known = cluster.pools.map(({ metadata }) => metadata.name).sort();
    return {
      refused: 'NoSuchPool',
      message: `there is no AoEPool ${poolName}: ${known.length > 0 ? `there are ${known.join(', ')}` : 'create one'}`,
    };
  }
  // A node or an address of its own may be in its spec already: it must not stand in its own way.
  const others = cluster.volumes.filter(({ metadata }) => metadata.name !== volume.metadata.name);
  const misfits: Unfit[] = [];
  const candidates: Candidate[] = [];
  for (const node of pool.status?.nodes ?? []) {
    const host = cluster.nodes.find(({ metadata }) => metadata.name === node.name);
    if (nodeName && node.name !== nodeName) continue;
    const misfit = unfit(node, host, cluster, segments ?? []);
    if (misfit) misfits.push(misfit);
    else candidates.push({ node, free: available(pool, node, others) });
  }
  const reasons = misfits.map(({ reason }) => reason);
  if (candidates.length === 0) {
    if (nodeName && reasons.length === 0) reasons.push(`node ${nodeName} does not have the pool`);
    return {
      refused: misfits.some(({ passing }) => passing) ? 'NodesNotReady' : 'NoEligibleNode',
      message: `no node can hold a volume of pool ${poolName}: ${reasons.join('; ') || 'no node has reported the pool yet'}`,
    };
  }
  const fitting = candidates.filter(({ node, free }) => footprint(capacity, node) <= free);
  // The emptiest node, so that volumes spread; by name where equal, so that the choice can be foretold.
  const best = fitting.sort((a, b) => b.free - a.free || (a.node.name < b.node.name ? -1 : 1))[0];
  if (best) return best.node.name;
  const free = candidates.map((candidate) => `${formatQuantity(candidate.free)} on ${candidate.node.name}`).join(', ');
  return {
    refused: 'PoolFull',
    message: `${capacity} do not fit into pool ${poolName}: free are ${free}${reasons.length > 0 ? ` (${reasons.join('; ')})` : ''}`,
  };
}

/**
 * Chooses node and address for a volume that has not both yet.
 * @param previous the address given last, so that the next one follows it
 */
export function place(volume: AoEVolume, cluster: Cluster, range: AddressRange, previous: Address | undefined): Place | Refused {
  const address = pickAddress(volume, cluster, range, previous);
  if ('refused' in address) return address;
  const nodeName = pickNode(volume, cluster);
  if (typeof nodeName !== 'string') return nodeName;
  return { nodeName, address };
}
