import { createHash } from 'node:crypto';
import { formatAddress } from '../../api/address.ts';
import { DEFAULT_SEGMENT, SEGMENT_KEY } from '../../api/meta.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import type { Call, Deps } from './deps.ts';

const LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const RESOURCE_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const MAX_NAME = 253;

/** Whether a resource can have the name (RFC 1123 subdomain). */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME && RESOURCE_NAME.test(name);
}

/** A resource name for the name that the caller chose: the same where it can be, else one that no other name gets. */
export function resourceName(name: string): string {
  if (isResourceName(name)) return name;
  const readable = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40);
  return `${readable === '' ? 'volume' : readable}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}

/**
 * The volume as the API server has it now.
 * @throws RpcError NOT_FOUND
 */
export async function mustFind(deps: Deps, name: string, { signal }: Call): Promise<AoEVolume> {
  const volume = isResourceName(name) ? await deps.kube.get<AoEVolume>(AOE_VOLUMES, name, { signal }) : undefined;
  if (!volume) throw new RpcError(Code.NOT_FOUND, `there is no AoEVolume ${name}`);
  return volume;
}

/** L2 segment of a node. */
export function segmentOfNode(deps: Pick<Deps, 'nodes'>, node: string): string {
  return deps.nodes.get(node)?.status?.segment ?? DEFAULT_SEGMENT;
}

/** Where the volume can be used from: the segment of the node that has it; from anywhere when that is not known. */
export function topologyOf(deps: Deps, { spec }: AoEVolume): { segments: Record<string, string> }[] {
  return spec.nodeName ? [{ segments: { [SEGMENT_KEY]: segmentOfNode(deps, spec.nodeName) } }] : [];
}

/** Bytes: what the target reports, else what was asked for. */
export function capacityOf(volume: AoEVolume): number {
  return parseQuantity(volume.status?.capacity ?? volume.spec.capacity ?? '0');
}

/** The address at which the volume is reached, when it has one. */
export function addressOf({ spec }: AoEVolume): string | undefined {
  const address = spec.address ?? spec.external;
  return address && formatAddress(address);
}

/** Who has the volume, for the message of a refusal; undefined when nobody has. */
export function holderOf({ spec, status }: AoEVolume): string | undefined {
  const { holder } = status ?? {};
  const { nodes = [], macs = [] } = spec.initiators;
  if (nodes.length > 0) {
    const since = holder?.since && holder.node && nodes.includes(holder.node) ? ` since ${holder.since}` : '';
    return `node ${nodes.join(', ')}${since}`;
  }
  if (macs.length > 0) return `${macs.join(', ')} (spec.initiators.macs)`;
  // The agent is not asked about others' targets: their lock may be long gone.
  if (!holder || spec.external) return undefined;
  return holder.node ? `node ${holder.node}${holder.since ? ` since ${holder.since}` : ''}` : `somebody who wrote "${holder.raw}"`;
}

/** What is said of a volume: whether it is ready, and who of those who may use it cannot. */
export function readiness({ status }: AoEVolume): string {
  const condition = (type: string) => status?.conditions?.find((each) => each.type === type);
  const ready = condition(VolumeCondition.Ready)?.message ?? 'nothing was said of it yet: is the operator running?';
  const exported = condition(VolumeCondition.Exported);
  return exported?.status === 'True' && KEPT_OUT.has(exported.reason) ? `${ready}, but ${exported.message}` : ready;
}

/** Reasons of the agent's condition Exported when it is, though not to all that spec.initiators names. */
const KEPT_OUT = new Set(['InitiatorsMissing', 'TooManyInitiators']);
