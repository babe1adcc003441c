import type { Pod } from '../cluster/objects.ts';
import type { Collected } from './collect.ts';
import type { Names } from './redact.ts';

type Kind = keyof Names;
/** What an object or a log names; without a kind only the namespace counts. */
type Found = { readonly kind?: Kind | undefined; readonly namespace?: string | undefined; readonly name?: string | undefined };

/**
 * The names that {@link Redactor} is to replace. Pods of the release keep theirs, and its namespace, too.
 * @param logs a claim, a snapshot or a pod that is gone has its name only there
 */
export function namesOf(collected: Collected, namespace: string, logs: readonly string[]): Names {
  const ofRelease = new Set((collected.pods ?? []).map(({ metadata }: Pod) => metadata.name));
  const found = [...inObjects(collected, namespace), ...logs.flatMap(inLog)];
  const given = (names: readonly (string | undefined)[]) => names.filter((name): name is string => name !== undefined && name !== '');
  const isOurs = (each: Found) => each.kind === 'pods' && each.namespace === namespace;
  const of = (kind: Kind) => given(found.map((each) => (each.kind === kind && !isOurs(each) ? each.name : undefined)));
  return {
    namespaces: given(found.map((each) => each.namespace)).filter((name) => name !== namespace),
    claims: of('claims'),
    pods: of('pods').filter((name) => !ofRelease.has(name)),
    snapshots: of('snapshots'),
    secrets: of('secrets'),
  };
}

function inObjects(collected: Collected, namespace: string): Found[] {
  const {
    claims = [],
    persistentVolumes = [],
    users = [],
    volumes = [],
    snapshots = [],
    snapshotGroups = [],
    classes = [],
    events,
  } = collected;
  const elsewhere = events.map(({ involvedObject }) => involvedObject).filter((object) => object.namespace !== namespace);
  const kinds: Record<string, Kind> = { PersistentVolumeClaim: 'claims', Pod: 'pods' };
  const annotated = [...volumes, ...snapshots, ...(snapshotGroups as readonly Annotated[])];
  return [
    ...claims.map(({ metadata }): Found => ({ kind: 'claims', ...metadata })),
    ...users.map(({ metadata }): Found => ({ kind: 'pods', ...metadata })),
    ...persistentVolumes.flatMap(({ spec }): Found[] => (spec.claimRef ? [{ kind: 'claims', ...spec.claimRef }] : [])),
    ...annotated.flatMap(inAnnotations),
    ...[...classes, ...persistentVolumes].flatMap(secretsIn),
    ...elsewhere.map(({ kind = '', namespace: its, name }): Found => ({ kind: kinds[kind], namespace: its, name })),
  ];
}

interface Annotated {
  readonly metadata: { readonly annotations?: Record<string, string> };
}

const ANNOTATIONS: Record<string, Kind> = {
  'aoe.dev/claim': 'claims',
  'aoe.dev/volume-snapshot': 'snapshots',
  'aoe.dev/volume-group-snapshot': 'snapshots',
};

function inAnnotations({ metadata }: Annotated): Found[] {
  return Object.entries(ANNOTATIONS).flatMap(([key, kind]) => pair(kind, metadata.annotations?.[key] ?? ''));
}

/** @param text NAMESPACE/NAME */
function pair(kind: Kind, text: string): Found[] {
  const [namespace, name] = text.split('/');
  return namespace && name ? [{ kind, namespace, name }] : [];
}

/** Secrets that parameters of a StorageClass, annotations and `…SecretRef` of a PersistentVolume name. */
function secretsIn(value: unknown): Found[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]): Found[] => {
    if (typeof each !== 'string') return key.endsWith('SecretRef') ? [{ kind: 'secrets', ...(each as object) }] : secretsIn(each);
    // It may be a template: ${pvc.namespace}.
    if (each.includes('$')) return [];
    if (key.endsWith('secret-namespace')) return [{ namespace: each }];
    return key.endsWith('secret-name') ? [{ kind: 'secrets', name: each }] : [];
  });
}

const NAME = '([a-z0-9][a-z0-9.-]*)';
/** In JSON that is quoted in a log, quotes may have backslashes. */
const QUOTE = '\\\\*"';
const KINDS: Record<string, Kind> = {
  pod: 'pods',
  pvc: 'claims',
  claim: 'claims',
  persistentvolumeclaim: 'claims',
  secret: 'secrets',
  volumesnapshot: 'snapshots',
  volumegroupsnapshot: 'snapshots',
};
const kindOf = (word = ''): Kind | undefined => KINDS[word.toLowerCase()];
const WORDS = Object.keys(KINDS).join('|');

/** How fields of logs name something. Ours are JSON; the sidecars write `PVC="NAMESPACE/NAME"`, references to objects, and parameters. */
const FIELDS: readonly (readonly [RegExp, (groups: readonly string[]) => Found])[] = [
  [new RegExp(`"namespace":"${NAME}"`, 'g'), ([namespace]) => ({ namespace })],
  [new RegExp(`"(${WORDS})":"(?:${NAME}/)?${NAME}"`, 'g'), ([word, namespace, name]) => ({ kind: kindOf(word), namespace, name })],
  [new RegExp(`\\b(${WORDS})="${NAME}/${NAME}"`, 'gi'), ([word, namespace, name]) => ({ kind: kindOf(word), namespace, name })],
  [
    new RegExp(`object="${NAME}/${NAME}".*\\bkind="(${WORDS})"`, 'gi'),
    ([namespace, name, word]) => ({ kind: kindOf(word), namespace, name }),
  ],
  [
    new RegExp(`Kind:"(${WORDS})", Namespace:"${NAME}", Name:"${NAME}"`, 'gi'),
    ([word, namespace, name]) => ({ kind: kindOf(word), namespace, name }),
  ],
  [new RegExp(`csi\\.storage\\.k8s\\.io/[a-z]+[/.]namespace${QUOTE}:${QUOTE}${NAME}`, 'g'), ([namespace]) => ({ namespace })],
  [
    new RegExp(`csi\\.storage\\.k8s\\.io/(${WORDS})[/.]name${QUOTE}:${QUOTE}${NAME}`, 'g'),
    ([word, name]) => ({ kind: kindOf(word), name }),
  ],
];

function inLog(text: string): Found[] {
  return FIELDS.flatMap(([pattern, found]) => [...text.matchAll(pattern)].map(([, ...groups]) => found(groups)));
}
