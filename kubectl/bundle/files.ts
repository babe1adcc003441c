import { type Event, eventTime, type Pod } from '../cluster/objects.ts';
import { copiesOf, copiesText } from '../commands/copies.ts';
import { chainText } from '../commands/get.ts';
import { locksOf, locksText } from '../commands/locks.ts';
import { orphansOf, orphansText } from '../commands/orphans.ts';
import { statusOf, statusText } from '../commands/status.ts';
import { toYaml } from '../report/yaml.ts';
import { type Collected, chainsOf } from './collect.ts';
import { leanObject } from './lean.ts';
import type { TarFile } from './tar.ts';

interface Options {
  /** Of the release. */
  readonly namespace: string;
  /** In milliseconds since 1970. */
  readonly now: number;
  readonly isRedacted: boolean;
}

/** The lists of objects in a bundle, by the name of their file. Secrets are not among them, and never are. */
function listsOf(collected: Collected): Record<string, readonly object[] | undefined> {
  const {
    volumes,
    pools,
    nodes,
    snapshots,
    snapshotGroups,
    machines,
    persistentVolumes,
    attachments,
    classes,
    csiNodes,
    claims,
    pods,
    deployments,
    daemonSets,
  } = collected;
  return {
    aoevolumes: volumes,
    aoepools: pools,
    aoenodes: nodes,
    aoesnapshots: snapshots,
    aoesnapshotgroups: snapshotGroups,
    nodes: machines,
    persistentvolumes: persistentVolumes,
    volumeattachments: attachments,
    storageclasses: classes,
    csinodes: csiNodes,
    persistentvolumeclaims: claims,
    pods,
    deployments,
    daemonsets: daemonSets,
  };
}

/** The files of a bundle that are made from objects. */
export function objectFiles(collected: Collected, notSeen: readonly string[], { namespace, now, isRedacted }: Options): TarFile[] {
  const { volumes, pools, machines, persistentVolumes, users, events } = collected;
  const resources = Object.entries(listsOf(collected)).flatMap(([name, objects]) =>
    objects === undefined
      ? []
      : [{ path: `resources/${name}.yaml`, text: toYaml(objects.map((each) => leanObject(each, { isRedacted }))) }],
  );
  const chainOf = chainsOf(collected);
  const eventsByUid = Map.groupBy(events, ({ involvedObject: { uid } }) => uid);
  const texts = (volumes ?? []).map((volume) => {
    const { name, uid } = volume.metadata;
    const about = (eventsByUid.get(uid) ?? []).filter(({ involvedObject }) => involvedObject.name === name);
    return {
      path: `volumes/${name}.txt`,
      text: joined(chainText(chainOf(volume), { events: about, nodes: collected.nodes, now })),
    };
  });
  return [
    { path: 'status.txt', text: joined(statusText(statusOf(collected, namespace, now), notSeen)) },
    ...(volumes ? [{ path: 'locks.txt', text: joined(locksText(locksOf(volumes, persistentVolumes, machines), now)) }] : []),
    ...(pools ? [{ path: 'orphans.txt', text: joined(orphansText(orphansOf(pools))) }] : []),
    ...(volumes ? [{ path: 'copies.txt', text: joined(copiesText(copiesOf(volumes, persistentVolumes))) }] : []),
    { path: 'users.txt', text: joined((users ?? []).map(userText)) },
    { path: 'events.txt', text: joined(events.toSorted((a, b) => eventTime(a).localeCompare(eventTime(b))).map(eventText)) },
    ...resources,
    ...texts,
  ];
}

function joined(lines: readonly string[]): string {
  return `${lines.join('\n').trim()}\n`;
}

/** All that a bundle has of a pod that uses a volume: its environment and its programs are nobody's business. */
function userText({ metadata, spec, status }: Pod): string {
  const claims = (spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);
  return `${metadata.namespace}/${metadata.name} on ${spec.nodeName ?? 'no node'}: ${status?.phase ?? 'Unknown'}, claims ${claims.join(', ')}`;
}

function eventText(event: Event): string {
  const { involvedObject, type, reason, message, count, series } = event;
  const times = series?.count ?? count ?? 1;
  const name = [involvedObject.namespace, involvedObject.name].filter(Boolean).join('/');
  return `${eventTime(event)} ${type} ${reason} ${involvedObject.kind} ${name}${times > 1 ? ` (${times} times)` : ''}: ${message}`;
}
