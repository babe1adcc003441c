import { type Address, formatAddress, sameAddress } from '../../api/address.ts';
import { available, footprint, isPlaced, tailOf } from '../../api/capacity.ts';
import { type NodeHealth, type Unfit, unfit } from '../../api/eligibility.ts';
import { type AoENode, segmentOf } from '../../api/node.ts';
import type { AoEPool, PoolNode } from '../../api/pool.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoESnapshot, isElsewhere } from '../../api/snapshot.ts';
import { type AoEVolume, awaitedDisk, externalSource, keepsSourceAddress, VolumeCondition } from '../../api/volume.ts';
import { listed } from '../listed.ts';
import { type AddressRange, addressKey, addressOf } from './address-range.ts';
import { addressClaim, addressOwner, claimsOf } from './claims.ts';
import type { Placement, Refused } from './placement.ts';
import type { Reservations } from './reservations.ts';

/** All that placement looks at. */
export interface Cluster extends NodeHealth {
  readonly pools: readonly AoEPool[];
  readonly nodes: readonly AoENode[];
  readonly reserved: Reservations;
  /** The AoESnapshot of this name. */
  readonly snapshot: (name: string) => AoESnapshot | undefined;
}

interface Candidate {
  readonly node: PoolNode;
  readonly free: number;
}

function pickAddress(volume: AoEVolume, cluster: Cluster, range: AddressRange, previous: Address | undefined): Address | Refused {
  const wanted = volume.spec.address;
  if (wanted) {
    const keepsAddress = keepsSourceAddress(volume);
    const owner = addressOwner(volume, cluster.reserved.claimants(wanted));
    if (owner)
      return {
        refused: 'AddressTaken',
        message: `AoEVolume ${owner.metadata.name} has address ${formatAddress(wanted)}: ${keepsAddress && owner.spec.external ? 'delete it, which leaves its disk as it is, or choose another address' : 'choose another'}`,
      };
    const into = keepsAddress ? undefined : cluster.reserved.claimants(wanted).find((each) => sameAddress(awaitedDisk(each), wanted));
    if (into) {
      const message = `the disk of another target at ${formatAddress(wanted)} is to be copied into AoEVolume ${into.metadata.name}: choose another address, or wait until that ends`;
      return { refused: 'AddressTaken', message };
    }
    const copied = cluster.reserved.copiedAt(wanted);
    if (copied !== undefined) {
      const message = `AoESnapshot ${copied} has address ${formatAddress(wanted)} while it is copied: choose another, or wait until that ends`;
      return { refused: 'AddressTaken', message };
    }
    // That of another target, which is to be kept, is mostly one that this cluster gives to nobody.
    if (!keepsAddress && !range.contains(wanted)) {
      return {
        refused: 'AddressOutOfRange',
        message: `address ${formatAddress(wanted)} is outside of this cluster's range, shelves ${range.toString()}: choose another`,
      };
    }
    return wanted;
  }
  return newAddress(volume, cluster.reserved, range, previous);
}

/**
 * An address that no other volume claims, and that is neither the one it has now, nor that of its source or of the earlier place of its move.
 * @param previous the address given last, so that the next one follows it
 */
export function newAddress(
  volume: AoEVolume,
  reserved: Pick<Reservations, 'claimants' | 'copiedAt' | 'resting'>,
  range: AddressRange,
  previous: Address | undefined,
): Address | Refused {
  const { metadata, spec } = volume;
  const excluded = [spec.address, externalSource(volume), spec.move?.address];
  const isExcluded = (address: Address): boolean => excluded.some((each) => sameAddress(each, address));
  return freeAddress({ isExcluded, except: metadata.name }, reserved, range, previous);
}

/**
 * An address that nobody has. One that a lost storage node may serve again is given only when there is no other.
 * @param isExcluded addresses that it must not get; `except`: name of a volume whose claims do not count
 */
export function freeAddress(
  { isExcluded, except }: { isExcluded?: (address: Address) => boolean; except?: string },
  reserved: Pick<Reservations, 'claimants' | 'copiedAt' | 'resting'>,
  range: AddressRange,
  previous: Address | undefined,
): Address | Refused {
  const isTaken = (address: Address): boolean =>
    isExcluded?.(address) === true ||
    reserved.copiedAt(address) !== undefined ||
    reserved.claimants(address).some((volume) => claimsOf(volume).includes(addressClaim(address)) && volume.metadata.name !== except);
  const resting = reserved.resting();
  const rests = (address: Address): boolean => resting.has(addressKey(address));
  const next = range.next(previous, (address) => rests(address) || isTaken(address)) ?? range.next(previous, isTaken);
  return (
    next ?? {
      refused: 'AddressRangeExhausted',
      message: `every address of shelves ${range.toString()} is taken: widen addresses.shelves in the values of the chart`,
    }
  );
}

function pickNode(volume: AoEVolume, cluster: Cluster): string | Refused {
  const { pool: poolName, segments, capacity = '0' } = volume.spec;
  const source = sourceOf(volume, cluster);
  if (source && 'refused' in source) return source;
  const nodeName = volume.spec.nodeName ?? source?.beside;
  const pool = cluster.pools.find(({ metadata }) => metadata.name === poolName);
  if (!pool) {
    const known = cluster.pools.map(({ metadata }) => metadata.name).sort();
    return {
      refused: 'NoSuchPool',
      message: `AoEPool ${poolName} does not exist: ${known.length > 0 ? `there are ${known.join(', ')}` : 'create one'}`,
    };
  }
  const misfits: Unfit[] = [];
  const candidates: Candidate[] = [];
  for (const node of pool.status?.nodes ?? []) {
    const host = cluster.nodes.find(({ metadata }) => metadata.name === node.name);
    if (nodeName && node.name !== nodeName) continue;
    const misfit = unfit(pool, node, host, cluster, segments) ?? (source?.copiedFrom && cannotRead(node.name, source.copiedFrom, cluster));
    if (misfit) misfits.push(misfit);
    else {
      const taken = (name: string) => cluster.reserved.taken(name, node, volume.metadata.name);
      candidates.push({ node, free: available(pool, node, cluster.pools, taken) });
    }
  }
  const reasons = misfits.map(({ reason }) => reason);
  if (candidates.length === 0) {
    if (nodeName && reasons.length === 0) reasons.push(`node ${nodeName} does not have the pool`);
    const otherwise = misfits.some(({ kind }) => kind === 'passing') ? 'NodesNotReady' : 'NoEligibleNode';
    return {
      refused: misfits.some(({ kind }) => kind === 'full') ? 'PoolFull' : otherwise,
      message: `no node can hold a volume of pool ${poolName}: ${listed(reasons, '; ') || 'no node has reported the pool yet'}`,
    };
  }
  // What is adopted has its room already.
  const needsRoom = volume.spec.adopt === undefined;
  const fitting = candidates.filter(({ node, free }) => !needsRoom || footprint(capacity, node) <= free);
  // The node with the most free space, so that volumes spread; by name where equal, so that the choice is predictable.
  const best = fitting.sort((a, b) => b.free - a.free || (a.node.name < b.node.name ? -1 : 1))[0];
  if (best) return best.node.name;
  const byFree = candidates.toSorted((one, other) => other.free - one.free);
  const free = listed(byFree.map((candidate) => `${formatQuantity(candidate.free)} on ${candidate.node.name}`));
  const tail = Math.max(...candidates.map(({ node }) => tailOf(node)));
  const withTail = tail > 0 ? ` and ${formatQuantity(tail)} for its tail` : '';
  return {
    refused: 'PoolFull',
    message: `no node of pool ${poolName} has ${capacity}${withTail} free: ${free}${reasons.length > 0 ? ` (${listed(reasons, '; ')})` : ''}`,
  };
}

/** Where the data of a volume comes from: blocks are shared with the snapshot `beside`, or the data is `copiedFrom` a node. */
type DataSource =
  | { readonly beside: string; readonly copiedFrom?: undefined }
  | { readonly copiedFrom: string; readonly beside?: undefined };

/** What the source of a volume means for its place; undefined when any node may have it. Refused while the source cannot be used. */
function sourceOf(
  { metadata: { name }, spec: { source, pool, nodeName, capacity = '0' } }: AoEVolume,
  { snapshot: find, reserved }: Cluster,
): DataSource | undefined | Refused {
  if (source?.external) return ourVolumeAt(source.external, name, reserved) ?? userOf(source.external, reserved);
  if (!source?.snapshot) return undefined;
  const what = `AoESnapshot ${source.snapshot}`;
  const snapshot = find(source.snapshot);
  const { metadata, status } = snapshot ?? {};
  if (!snapshot || !metadata) return { refused: 'SourceNotReady', message: `${what} does not exist` };
  if (metadata.deletionTimestamp || status?.phase !== 'Ready' || status.nodeName === undefined || status.capacity === undefined) {
    return { refused: 'SourceNotReady', message: `${what} is not ready: kubectl describe aoesnapshot ${source.snapshot} says why` };
  }
  if (parseQuantity(status.capacity) > parseQuantity(capacity)) {
    return {
      refused: 'SourceTooLarge',
      message: `${what} has ${status.capacity}, more than the ${capacity} of the volume: ask for ${status.capacity}`,
    };
  }
  const beside = nodeName ?? status.nodeName;
  return isElsewhere(snapshot, { pool, nodeName: beside }) ? { copiedFrom: status.nodeName } : { beside };
}

/** Why a disk is not that of another target: a volume of this cluster other than `except` has the address. */
function ourVolumeAt(address: Address, except: string, reserved: Pick<Reservations, 'claimants'>): Refused | undefined {
  const ours = reserved
    .claimants(address)
    .find((each) => each.metadata.name !== except && isPlaced(each) && sameAddress(each.spec.address, address));
  if (!ours) return undefined;
  const message = `${formatAddress(address)} is the address of AoEVolume ${ours.metadata.name} of this cluster: use a snapshot or a clone of that`;
  return { refused: 'AddressTaken', message };
}

/**
 * Why the disk that is copied into a volume must not be read any further: somebody got it after the volume was placed. That stays so until
 * the agent, which may have been away, has seen it and throws away what was copied before.
 */
export function userOfSource(volume: AoEVolume, reserved: Pick<Reservations, 'claimants'>): Refused | undefined {
  const source = awaitedDisk(volume);
  return source && (userOf(source, reserved) ?? unheardUser(volume, source));
}

/** Somebody had the disk, and has gone before the agent has said so. */
function unheardUser({ spec, status }: AoEVolume, source: Address): Refused | undefined {
  const reasonOf = (wanted: string) => status?.conditions?.find(({ type }) => type === wanted)?.reason;
  const heard = reasonOf(VolumeCondition.Provisioned);
  if (reasonOf(VolumeCondition.Placed) !== 'SourceInUse' || heard === 'SourceInUse' || heard === 'SourceChanged') return undefined;
  const message = `the disk at ${formatAddress(source)} was in use: the copy begins again once the agent on ${spec.nodeName} has seen that`;
  return { refused: 'SourceInUse', message };
}

/** Why the disk of an external target cannot be copied now: an AoEVolume stands for it, and is in use. */
function userOf(address: Address, reserved: Pick<Reservations, 'claimants'>): Refused | undefined {
  for (const { metadata, spec, status } of reserved.claimants(address)) {
    if (!sameAddress(spec.external, address)) continue;
    const { nodes = [], macs = [] } = spec.initiators;
    const users = [...nodes, ...macs, ...(status?.holder ? [status.holder.node ?? `"${status.holder.raw}"`] : [])];
    if (users.length === 0) continue;
    const who = [...new Set(users)].join(', ');
    const message = `the disk at ${formatAddress(address)} is used by ${who}, as AoEVolume ${metadata.name}: it is copied once it is detached there`;
    return { refused: 'SourceInUse', message };
  }
  return undefined;
}

/** Why a node cannot copy what another one has; undefined when it can. */
function cannotRead(node: string, from: string, { nodes, labels }: Cluster): Unfit | undefined {
  if (node === from) return undefined;
  const nodeOf = (name: string) => nodes.find(({ metadata }) => metadata.name === name);
  const [here, there] = [node, from].map((name) => segmentOf(nodeOf(name), labels?.(name)));
  if (here === there) return undefined;
  return { reason: `${node} is on segment ${here}, and node ${from}, which has the source, on segment ${there}`, kind: 'lasting' };
}

/** The address of the volume that was created last: after a restart, new addresses follow it. */
export function newestAddress(volumes: readonly AoEVolume[]): Address | undefined {
  const age = ({ metadata, spec }: AoEVolume): string =>
    `${metadata.creationTimestamp ?? ''} ${String(spec.address?.shelf).padStart(5)}.${String(spec.address?.slot).padStart(3)}`;
  let newest: AoEVolume | undefined;
  for (const volume of volumes) if (volume.spec.address && (!newest || age(volume) > age(newest))) newest = volume;
  return newest && addressOf(newest.spec);
}

/**
 * Chooses node and address for a volume that is not placed yet.
 * @param previous the address given last, so that the next one follows it
 */
export function place(volume: AoEVolume, cluster: Cluster, range: AddressRange, previous: Address | undefined): Placement {
  const address = pickAddress(volume, cluster, range, previous);
  if ('refused' in address) return address;
  const nodeName = pickNode(volume, cluster);
  if (typeof nodeName !== 'string') return nodeName;
  return { nodeName, address };
}
