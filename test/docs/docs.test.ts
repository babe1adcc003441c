import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { PAGES, ROOT, textOf } from './pages.ts';

/** The part of a link behind "#" that a heading gets on the usual forges. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

/** The anchors of a page, by its path. */
function anchors(page: string): Set<string> {
  const headings = [...readFileSync(page, 'utf8').matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1] ?? '');
  return new Set(headings.map(anchorOf));
}

describe('the documentation', () => {
  for (const page of PAGES) {
    it(`${page} links only to what is there`, () => {
      const path = join(ROOT, page);
      for (const [, link = ''] of readFileSync(path, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        const [file = '', anchor] = link.split('#');
        const target = file ? join(dirname(path), file) : path;
        expect(existsSync(target), `${link} is not there`).toBe(true);
        if (anchor) expect(anchors(target).has(anchor), `${link}: no such heading in ${relative(ROOT, target)}`).toBe(true);
      }
    });
  }
});

/** What a text names of the documentation and is not there: a page, a heading (the page, a comma and the heading in quotes), or an anchor. */
function missingPages(text: string): string[] {
  return [...text.matchAll(/\bdocs\/[\w/-]+\.md(?:, "([^"$]+)"|#([\w-]+))?/g)].flatMap(([named, heading, anchor]) => {
    const [page = ''] = named.split(/[,#]/);
    const path = join(ROOT, page);
    if (!existsSync(path)) return [named];
    // A heading may go on in the next line of a comment.
    const wanted = anchor ?? (heading === undefined ? undefined : anchorOf(heading.replace(/\n\W*/g, ' ')));
    return wanted === undefined || anchors(path).has(wanted) ? [] : [named];
  });
}

/** Tests of what reads the documentation: they name pages that are not there. */
const READERS = /^(?:scripts|test)\/docs\/.*\.test\.ts$/;

describe('a page or heading of the documentation that is named elsewhere', () => {
  const named = globSync(
    [
      '{agent,aoe,api,copier,csi,kube,kubectl,operator,run,scripts,target,test}/**/*.{ts,rs}',
      'charts/*/{values.yaml,{templates,crds}/**/*.{yaml,txt,tpl}}',
      'deploy/**/*.yaml',
    ],
    { cwd: ROOT, exclude: (path) => /node_modules|target\/target/.test(path) },
  ).filter((path) => !READERS.test(path));

  it('is there', () => {
    const missing = named.flatMap((path) => missingPages(textOf(path)).map((name) => `${path}: ${name}`));
    expect(missing).toStrictEqual([]);
  });

  it('is found when it is not there', () => {
    expect(
      missingPages('docs/no.md, docs/use.md, "No such heading", docs/use.md#no, docs/use.md, "Block\n# mode", docs/use.md#growing'),
    ).toStrictEqual(['docs/no.md', 'docs/use.md, "No such heading"', 'docs/use.md#no']);
  });
});

/** Sources of the programs that write conditions, events and metrics, tests and their fakes left out. */
const SOURCES = globSync('{operator,agent,csi}/**/*.ts', { cwd: ROOT, exclude: (path) => /\.test\.ts$|testing$/.test(path) });
const CODE = SOURCES.map((path) => readFileSync(join(ROOT, path), 'utf8')).join('\n');
const ALL_PAGES = PAGES.map((path) => readFileSync(join(ROOT, path), 'utf8')).join('\n');

describe('what the programs say is explained', () => {
  /** Words in the shape of a reason that are none: calls of CSI, names of errors and types. */
  const OTHERS = /^((Controller|Node|Create|Delete|Get|List|Validate)[A-Z]\w+|\w+Error|Normal|Warning|Formatted)$/;

  it('each reason of a condition or an event', () => {
    const words = new Set([...CODE.matchAll(/'([A-Z][a-z]+(?:[A-Z][a-z]+)*)'/g)].map(([, word = '']) => word));
    const reasons = [...words].filter((word) => !OTHERS.test(word));
    expect(reasons.length, 'reasons are not found in the sources any more').toBeGreaterThan(50);
    expect(reasons.filter((reason) => !new RegExp(`\\b${reason}\\b`).test(ALL_PAGES))).toStrictEqual([]);
  });

  it('each metric', () => {
    const prefixed = [...CODE.matchAll(/[`'](aoe_[a-z_]+?)(?:\$\{name\})?[`']/g)].map(([, name = '']) => name);
    const pools = [...CODE.matchAll(/each\('([a-z_]+)', '/g)].map(([, name = '']) => `aoe_agent_pool_${name}`);
    const runtime = [...textOf('run/controller-metrics.ts').matchAll(/'((?:controller_runtime|workqueue)_[a-z_]+)'/g)].map(
      ([, name = '']) => name,
    );
    const metrics = [...runtime, ...prefixed.filter((name) => !name.endsWith('_') && name !== 'aoe_iflist'), ...pools];
    expect(metrics.length, 'metrics are not found in the sources any more').toBeGreaterThan(5);
    expect(metrics.filter((name) => !ALL_PAGES.includes(`\`${name}\``))).toStrictEqual([]);
  });
});
