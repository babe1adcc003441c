import { localMac } from '../../api/local-link.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { eventsAbout } from '../cluster/events.ts';
import { type Chain, danglingOf, findChains, parseSubject } from '../cluster/find.ts';
import { AOE_NODES, type Event, eventTime, type Pod } from '../cluster/objects.ts';
import { claimText, holderName } from '../cluster/volumes.ts';
import { type Context, type ExitStatus, write } from '../context.ts';
import { age } from '../report/age.ts';
import { table } from '../report/table.ts';

/** How many of the newest events are shown. */
const EVENTS_SHOWN = 8;

function podText({ metadata, spec, status }: Pod): string {
  return `${metadata.namespace}/${metadata.name} (${status?.phase ?? 'Unknown'}${spec.nodeName === undefined ? '' : ` on ${spec.nodeName}`})`;
}

function fields(rows: readonly (readonly [string, string | undefined])[]): string[] {
  const given = rows.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[`${name}:`, value] as const]));
  const width = Math.max(...given.map(([name]) => name.length));
  return given.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}

function holderText(volume: AoEVolume, now: number): string | undefined {
  const { status, spec } = volume;
  const { holder } = status ?? {};
  if (!holder) return spec.access === 'Exclusive' ? 'nobody' : undefined;
  if (holder.node === undefined) return `${holderName(volume)} (not a lock of this project)`;
  return `${holder.node}${holder.since === undefined ? '' : `, for ${age(holder.since, now)}`}`;
}

/**
 * Whom the target admits: nodes, and hosts outside the cluster by MAC address. What is only wanted, or no longer wanted, is not told from the spec.
 * @param nodes all AoENodes; undefined when they may not be listed: addresses of nodes are then shown, too
 */
function admittedHosts({ status }: AoEVolume, nodes: readonly AoENode[] | undefined): string[] {
  const { nodes: names = [], macs = [] } = status?.initiators ?? {};
  const interfaces = (nodes ?? []).flatMap(({ metadata, status }) => (names.includes(metadata.name) ? (status?.interfaces ?? []) : []));
  const known = new Set([...names.map(localMac), ...interfaces.map(({ mac }) => mac.toLowerCase())]);
  return [...names, ...macs.filter((mac) => !known.has(mac.toLowerCase()))];
}

function volumeFields(volume: AoEVolume, nodes: readonly AoENode[] | undefined, now: number): [string, string | undefined][] {
  const { spec, status, metadata } = volume;
  const capacity = status?.capacity ?? spec.capacity;
  const grows = spec.capacity !== undefined && status?.capacity !== undefined && spec.capacity !== status.capacity;
  return [
    ['Phase', `${status?.phase ?? 'Unknown'}${metadata.deletionTimestamp ? `, deleted ${age(metadata.deletionTimestamp, now)} ago` : ''}`],
    ['Size', grows ? `${capacity}, wanted: ${spec.capacity}` : capacity],
    ['Access', spec.access],
    ['Stored', spec.external ? 'by a target outside this project' : `pool ${spec.pool}, on ${spec.nodeName ?? 'no node yet'}`],
    ['Address', status?.address],
    [
      'Interfaces',
      (status?.paths ?? [])
        .map(({ interface: name, mac, mtu, local }) => `${name} ${mac} MTU ${mtu}${local ? ' (on its node only)' : ''}`)
        .join(', '),
    ],
    ['Serial', spec.external?.serial ?? status?.serial],
    ['File system', status?.filesystem && `${status.filesystem.type}, ${status.filesystem.state}`],
    ['Attached to', (spec.initiators.nodes ?? []).join(', ') || 'no node'],
    ['Hosts wanted', (spec.initiators.macs ?? []).join(', ')],
    ['Admitted', admittedHosts(volume, nodes).join(', ') || 'no host'],
    ['Holder', holderText(volume, now)],
  ];
}

/** What is shown beside a volume and what leads to it. */
interface Around {
  /** About the volume and its claim. */
  readonly events: readonly Event[];
  /** All AoENodes; undefined when they may not be listed. */
  readonly nodes: readonly AoENode[] | undefined;
  /** In milliseconds. */
  readonly now: number;
}

/** A volume with all that leads to it, for people. */
export function chainText(chain: Chain, { events, nodes, now }: Around): string[] {
  const { claimName, claim, persistentVolume, volumeName, volume, pods } = chain;
  const users = pods === undefined ? undefined : pods.map(podText).join(', ') || 'none';
  const phase = claim?.status?.phase;
  const lines = fields([
    ['Volume', danglingOf(chain) ? `${volumeName} (there is no such AoEVolume)` : (volumeName ?? 'none yet')],
    ['Claim', `${claimText(claimName)}${phase === undefined ? '' : ` (${phase})`}`],
    ['PersistentVolume', persistentVolume && `${persistentVolume.metadata.name} (${persistentVolume.status?.phase ?? 'Unknown'})`],
    ['Pods', claimName === undefined ? undefined : users],
    ...(volume ? volumeFields(volume, nodes, now) : []),
  ]);
  const conditions = (volume?.status?.conditions ?? []).map(({ type, status, reason, lastTransitionTime, message }) => [
    type,
    status,
    reason,
    age(lastTransitionTime, now),
    message,
  ]);
  const newest = events.toSorted((a, b) => eventTime(a).localeCompare(eventTime(b))).slice(-EVENTS_SHOWN);
  const happened = newest.map((event) => [age(eventTime(event), now), event.type ?? '', event.reason ?? '', event.message ?? '']);
  return [
    ...lines,
    ...titled(table(['CONDITION', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'], conditions)),
    ...titled(table(['EVENT', 'TYPE', 'REASON', 'MESSAGE'], happened)),
  ];
}

function titled(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

/** Of a pod's claim without which its volume is not known. */
function noClaimText({ claimName, isClaimGone }: Chain): string {
  return `Claim:  ${claimText(claimName)} (${isClaimGone ? 'it does not exist' : 'it may not be read, so its volume is not known'})`;
}

export async function get(context: Context): Promise<ExitStatus> {
  const { reader, line } = context;
  const chains = await findChains(reader, parseSubject(line.words[0] ?? ''));
  const nodes = chains.some(({ volume }) => volume?.status?.initiators?.macs?.length) ? await reader.list<AoENode>(AOE_NODES) : undefined;
  const shown = await Promise.all(
    chains.map(async (chain) => {
      const { claim, volume, claimName } = chain;
      const about = [
        ...(volume ? [{ name: volume.metadata.name, namespace: 'default', uid: volume.metadata.uid }] : []),
        ...(claimName ? [{ ...claimName, uid: claim?.metadata.uid }] : []),
      ];
      const events = (await Promise.all(about.map((object) => eventsAbout(reader, object)))).flat();
      return { chain, events };
    }),
  );
  const data = {
    volumes: shown.map(({ chain: { claimName, claim, persistentVolume, volumeName, volume, pods } }) => ({
      name: volumeName,
      claimName: claimText(claimName) || undefined,
      volume,
      claim,
      persistentVolume,
      pods: pods?.map(({ metadata, spec, status }) => ({
        namespace: metadata.namespace,
        name: metadata.name,
        node: spec.nodeName,
        phase: status?.phase,
      })),
    })),
    notSeen: reader.notSeen,
  };
  const now = context.now();
  const textOf = ({ chain, events }: (typeof shown)[number]) =>
    chain.claim || chain.volume ? chainText(chain, { events, nodes, now }) : [noClaimText(chain)];
  const text = () => shown.flatMap((each, index) => [...(index === 0 ? [] : ['', '']), ...textOf(each)]);
  write(context, { data, text });
  return 0;
}
