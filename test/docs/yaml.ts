import { globSync } from 'node:fs';
import { parse, parseAllDocuments } from 'yaml';
import { PAGES, ROOT, textOf } from './pages.ts';

/** A block of code on a page. */
export interface Block {
  /** Page and line of its first line, such as `docs/use.md:106`. */
  readonly where: string;
  /** Language of the fence; empty when it names none. */
  readonly language: string;
  /** What the file is that the block shows, when it is not one of Kubernetes or of our chart: `title="..."` behind the language. */
  readonly title?: string;
  readonly text: string;
}

/** An object of Kubernetes, as loosely typed as YAML is. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: { readonly namespace?: string };
  readonly [field: string]: unknown;
}

/** Kubernetes objects or other content of a file of YAML, and where it is. */
export interface Found<Content> {
  readonly where: string;
  readonly content: Content;
}

/** The blocks of code of a Markdown text, without the indentation of the list that they are in. */
export function blocksOf(text: string, page: string): Block[] {
  const blocks: Block[] = [];
  let open: { block: Omit<Block, 'text'>; fence: string; indent: number; lines: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const [, space = '', fence, language = '', rest = ''] = /^( *)(```+|~~~+)([\w-]*)(.*)$/.exec(line) ?? [];
    if (open && fence?.startsWith(open.fence) && language === '') {
      blocks.push({ ...open.block, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    } else if (open) open.lines.push(line.slice(0, open.indent).trim() === '' ? line.slice(open.indent) : line);
    else if (fence) {
      const [, title] = /title="([^"]+)"/.exec(rest) ?? [];
      open = { block: { where: `${page}:${index + 2}`, language, ...(title ? { title } : {}) }, fence, indent: space.length, lines: [] };
    }
  }
  return blocks;
}

/** All blocks of all pages. */
export const BLOCKS = PAGES.flatMap((page) => blocksOf(textOf(page), page));

/** Each document of a YAML file. @throws Error when it is no YAML, or a key is there twice */
function contentsOf(text: string, where: string): Found<unknown>[] {
  return parseAllDocuments(text).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem) throw new Error(`${where}: ${problem.message}`);
    return { where, content: document.toJS() };
  });
}

const isObject = (found: Found<unknown>): found is Found<KubernetesObject> =>
  typeof found.content === 'object' && found.content !== null && 'kind' in found.content;

const contents = BLOCKS.filter(({ language, title }) => language === 'yaml' && !title).flatMap(({ text, where }) =>
  contentsOf(text, where),
);

/** All Kubernetes objects of the pages and examples. */
export const OBJECTS = [
  ...contents,
  ...globSync('deploy/examples/*.yaml', { cwd: ROOT }).flatMap((path) => contentsOf(textOf(path), path)),
].filter(isObject);

/** All values of our chart on the pages: YAML that is no object, and says of no other file that it is from there. */
export const VALUES = contents.filter((found): found is Found<object> => !isObject(found));

/** The values of our chart in commands: what `--set` is followed by on each page, such as `interfaces='{eth1}'`. */
export const SET_VALUES: readonly Found<object>[] = PAGES.flatMap((page) =>
  [...textOf(page).matchAll(/--set (\S+)=(\S+)/g)].map(([argument, path = '', value = '']) => {
    const plain = value.replace(/^'(.*)'$/, '$1');
    const leaf: unknown = /^\{.*\}$/.test(plain) ? plain.slice(1, -1).split(',') : parse(plain);
    return { where: `${page}: ${argument}`, content: path.split('.').reduceRight((inner, key) => ({ [key]: inner }), leaf) as object };
  }),
);

/** Kinds of other projects, whose fields are not checked here. */
const OF_OTHERS = ['kubevirt.io/v1', 'kmm.sigs.x-k8s.io/v1beta1'];

/** The objects that an API server with our CRDs and those of snapshots knows. */
export const KNOWN_OBJECTS = OBJECTS.filter(({ content }) => !OF_OTHERS.includes(content.apiVersion));
