// The chart's values as tables: names, defaults and meanings are those of values.yaml.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isScalar, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';
import { cell, code, table } from './markdown.ts';

const CHART = join(import.meta.dirname, '../../charts/aoe-csi');

/** Maps that the user fills are one value. */
const FILLED_BY_USERS = /(^|\.)(resources|nodeSelector|parameters|affinity|podAnnotations|podLabels|annotations|labels|alerts)$/;

/** Meanings of values that many programs have. A comment in values.yaml goes before. */
const USUAL: Readonly<Record<string, string>> = {
  extraArgs: 'More flags for this program, beside those that the chart gives',
  extraEnv: "More environment variables, as in a container's `env`",
  resources: 'Requests and limits of this container',
  priorityClassName: 'PriorityClass of the pods',
  nodeSelector: 'Labels of the nodes that get such a pod',
  tolerations: 'Taints that the pods tolerate',
  affinity: 'Affinity of the pods',
  topologySpreadConstraints: 'How the pods are spread; a `labelSelector` that is absent is that of these pods',
  podAnnotations: 'More annotations of the pods',
  podLabels: 'More labels of the pods',
  repository: 'Image of this sidecar',
  tag: 'Tag of that image',
  digest: '`sha256:…`; wins over the tag',
  qps: 'Requests a second to the API server',
  burst: 'Requests at once to the API server',
  labels: 'More labels',
};

export interface Value {
  readonly path: string;
  readonly fallback: unknown;
  readonly meaning: string;
}

/** The comment right above a line, at the same indentation, as one text. */
function commentAbove(lines: readonly string[], line: number): string {
  const indent = /^ */.exec(lines[line] ?? '')?.[0] ?? '';
  const comment: string[] = [];
  for (let above = line - 1; lines[above]?.startsWith(`${indent}# `); above--)
    comment.unshift(lines[above]?.slice(indent.length + 2) ?? '');
  return comment.join(' ');
}

/**
 * All values of a values.yaml, in its order.
 * @throws Error when one has no meaning
 */
export function valuesOf(text: string): Value[] {
  const lines = text.split('\n');
  const found: Value[] = [];
  const visit = (map: YAMLMap, prefix: string): void => {
    for (const { key, value } of map.items as Pair<Node, Node | null>[]) {
      if (!isScalar(key)) throw new Error(`${prefix}: a key is not a word`);
      const name = String(key.value);
      const path = `${prefix}${name}`;
      if (isMap(value) && value.items.length > 0 && !FILLED_BY_USERS.test(path)) visit(value, `${path}.`);
      else {
        const above = commentAbove(lines, text.slice(0, key.range?.[0] ?? 0).split('\n').length - 1);
        const meaning = above || USUAL[name];
        if (!meaning) throw new Error(`values.yaml: ${path} has no comment that says what it means`);
        found.push({ path, fallback: value?.toJS(parsed) ?? null, meaning });
      }
    }
  };
  const parsed = parseDocument(text);
  if (!isMap(parsed.contents)) throw new Error('values.yaml is not a map');
  visit(parsed.contents, '');
  return found;
}

/** Longest default that a table shows, in characters. */
const LONGEST = 60;

function defaultOf(value: unknown): string {
  if (value === '') return 'empty';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST ? 'see `values.yaml`' : code(text);
}

/** Tables of values, those of a part of the chart under a heading of its own. Paths of documents become links. */
export function valuesTables(values: readonly Value[], { docs, heading }: { docs: string; heading: string }): string {
  const sections = Map.groupBy(values, ({ path }) => path.split('.')[0] ?? '');
  /** A part of the chart has more values than a setting such as image. */
  const isPart = (name: string) => (sections.get(name)?.length ?? 0) > 5;
  const common = values.filter(({ path }) => !isPart(path.split('.')[0] ?? ''));
  const parts = [...sections.keys()].filter(isPart).map((name) => [name, sections.get(name) ?? []] as const);
  const linked = (text: string) =>
    cell(text).replace(/\bdocs\/((?:[\w-]+\/)*[\w-]+\.md)(#[\w-]+)?/g, (_, file, anchor = '') => `[${file}](${docs}${file}${anchor})`);
  return [['General', common] as const, ...parts]
    .map(([name, rows]) => {
      const body = rows.map(({ path, fallback, meaning }) => [code(path), defaultOf(fallback), linked(meaning)]);
      return `${heading} ${name}\n\n${table(['Value', 'Default', 'Meaning'], body)}`;
    })
    .join('\n\n');
}

export function chartValues(): Value[] {
  return valuesOf(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
}
