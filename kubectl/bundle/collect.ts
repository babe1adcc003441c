import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Chain } from '../cluster/find.ts';
import {
  AOE_SNAPSHOT_GROUPS,
  type Attachment,
  CLAIMS,
  type Claim,
  CSI_NODES,
  claimsOf,
  DAEMON_SETS,
  DEPLOYMENTS,
  EVENTS,
  type Event,
  PODS,
  type Pod,
  STORAGE_CLASSES,
  type StorageClass,
  VOLUME_ATTACHMENTS,
} from '../cluster/objects.ts';
import type { Reader } from '../cluster/reader.ts';
import { byVolume, type ClaimName, claimNameOf, claimText } from '../cluster/volumes.ts';
import type { Observed } from '../commands/status.ts';

/** All that a bundle is made of, but logs. Absent: it may not be read. */
export interface Collected extends Observed {
  readonly attachments: readonly Attachment[] | undefined;
  readonly classes: readonly StorageClass[] | undefined;
  readonly snapshotGroups: readonly object[] | undefined;
  readonly csiNodes: readonly object[] | undefined;
  readonly deployments: readonly object[] | undefined;
  readonly daemonSets: readonly object[] | undefined;
  /** Of our classes, or bound to a volume of ours. */
  readonly claims: readonly Claim[] | undefined;
  /** Those that use such a claim. Only their names, nodes and phases go into the bundle. */
  readonly users: readonly Pod[] | undefined;
  readonly events: readonly Event[];
}

/** @param namespace of the release */
export async function collect(reader: Reader, observed: Observed, namespace: string): Promise<Collected> {
  const [attachments, classes, snapshotGroups, csiNodes, deployments, daemonSets, claims, pods, events] = await Promise.all([
    reader.list<Attachment>(VOLUME_ATTACHMENTS),
    reader.list<StorageClass>(STORAGE_CLASSES),
    reader.list<object>(AOE_SNAPSHOT_GROUPS),
    reader.list<object>(CSI_NODES),
    reader.list<object>(DEPLOYMENTS, { namespace, labelSelector: 'app.kubernetes.io/name=aoe-csi' }),
    reader.list<object>(DAEMON_SETS, { namespace, labelSelector: 'app.kubernetes.io/name=aoe-csi' }),
    reader.list<Claim>(CLAIMS),
    reader.list<Pod>(PODS),
    reader.list<Event>(EVENTS),
  ]);
  const ourClasses = classes?.filter(({ provisioner }) => provisioner === DRIVER_NAME);
  const ourClaims = claims && oursOf(claims, ourClasses ?? [], observed);
  const users = pods && usersOf(pods, ourClaims ?? []);
  return {
    ...observed,
    persistentVolumes: observed.persistentVolumes?.filter(({ spec }) => spec.csi?.driver === DRIVER_NAME),
    attachments: attachments?.filter(({ spec }) => spec.attacher === DRIVER_NAME),
    classes: ourClasses,
    snapshotGroups,
    csiNodes,
    deployments,
    daemonSets,
    claims: ourClaims,
    users,
    events: aboutUs(events ?? [], { observed, claims: ourClaims ?? [], users: users ?? [], namespace }),
  };
}

/** Claims of a class of ours, and those that are bound to a volume of ours. */
function oursOf(claims: readonly Claim[], classes: readonly StorageClass[], { persistentVolumes, volumes = [] }: Observed): Claim[] {
  const names = new Set(classes.map(({ metadata }) => metadata.name));
  const bound = new Set([...byVolume(persistentVolumes).values()].map(({ metadata }) => metadata.name));
  for (const { metadata } of volumes) bound.add(metadata.name);
  return claims.filter(({ spec }) => names.has(spec.storageClassName ?? '') || bound.has(spec.volumeName ?? ''));
}

function usersOf(pods: readonly Pod[], claims: readonly Claim[]): Pod[] {
  const ours = new Set(claims.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  return pods.filter((pod) => claimsOf(pod).some((name) => ours.has(`${pod.metadata.namespace}/${name}`)));
}

/** Events about our resources, the nodes, the claims and the pods that use them, and all of the release's namespace. */
function aboutUs(
  events: readonly Event[],
  { observed, claims, users, namespace }: { observed: Observed; claims: readonly Claim[]; users: readonly Pod[]; namespace: string },
): Event[] {
  const { machines = [], nodes = [], pools = [], volumes = [], snapshots = [], persistentVolumes = [] } = observed;
  const named = new Set(
    [...machines, ...nodes, ...pools, ...volumes, ...snapshots, ...persistentVolumes].map(({ metadata }) => metadata.name),
  );
  const inNamespaces = new Set([...claims, ...users].map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  return events.filter(({ involvedObject: { kind = '', name = '', namespace: its = '' }, metadata }) => {
    if (metadata.namespace === namespace || its === namespace) return true;
    if (its !== '' && its !== 'default') return inNamespaces.has(`${its}/${name}`);
    return /^(AoE|Node$|PersistentVolume$)/.test(kind) ? named.has(name) : inNamespaces.has(`${its}/${name}`);
  });
}

/** Gives volumes with their claims, PersistentVolumes and pods, from what was collected: each list is read once, for all volumes. */
export function chainsOf({ persistentVolumes, claims, users }: Collected): (volume: AoEVolume) => Chain {
  const named = byVolume(persistentVolumes);
  const claimsByName = new Map(claims?.map((claim) => [claimText(nameOf(claim)), claim]));
  const usersByClaim = users && Map.groupBy(users.flatMap(claimsOfUser), ([claim]) => claim);
  return (volume) => {
    const { name } = volume.metadata;
    const persistentVolume = named.get(name);
    const claimName = claimNameOf(volume, persistentVolume);
    const key = claimText(claimName);
    const pods = usersByClaim && (usersByClaim.get(key) ?? []).map(([, pod]) => pod);
    return { claimName, claim: claimsByName.get(key), persistentVolume, volumeName: name, volume, pods: claimName ? pods : undefined };
  };
}

function nameOf({ metadata: { namespace = '', name } }: Claim): ClaimName {
  return { namespace, name };
}

/** A pod by each claim that it uses. */
function claimsOfUser(pod: Pod): (readonly [claim: string, pod: Pod])[] {
  const { namespace = '' } = pod.metadata;
  return [...new Set(claimsOf(pod))].map((name) => [claimText({ namespace, name }), pod]);
}
