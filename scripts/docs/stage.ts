// Puts the pages of the site into a folder, as the site's builder wants them.
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { withSiteLinks } from './links.ts';
import { withDeepLists } from './lists.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Pages that are not in docs/, by their path on the site. */
const OTHERS: Readonly<Record<string, string>> = {
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security-policy.md',
  'test/testbed/README.md': 'test-bed.md',
};

/** Files that a page of the site stands for. */
const STANDS_FOR: Readonly<Record<string, string>> = {
  'README.md': 'index.md',
  'charts/aoe-csi/README.md': 'reference/values.md',
  'deploy/examples': 'examples.md',
};

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const anchorOf = (name: string) => name.replace('.', '');

/** A page with what draws its diagrams, if it has any: that is 3 MB. Otherwise the theme would load it from another server. */
function withDiagrams(text: string, page: string): string {
  if (!/^```mermaid$/m.test(text)) return text;
  // The address of a page has its name as a folder, but for index.md.
  const up = '../'.repeat(page.split('/').length - (basename(page) === 'index.md' ? 1 : 0));
  return `${text}\n<script src="${up}assets/mermaid.js"></script>\n`;
}

/** All examples on one page, where the search finds them. */
function examplesPage(paths: readonly string[]): string {
  const sections = paths.map((path) => `## ${basename(path)}\n\n\`\`\`yaml\n${read(path).trimEnd()}\n\`\`\``);
  return `# Examples\n\nManifests for \`kubectl apply -f\`. [Use](use.md) explains them.\n\n${sections.join('\n\n')}\n`;
}

/**
 * Writes the sources of the site into a folder, which is emptied first.
 * @param repository address of the files of this version on the forge; undefined when there is none
 */
export function stage(folder: string, repository: string | undefined): void {
  const docs = globSync('docs/**/*.md', { cwd: ROOT }).toSorted();
  const examples = globSync('deploy/examples/*.yaml', { cwd: ROOT }).toSorted();
  const pictures = globSync('docs/pictures/*.svg', { cwd: ROOT }).toSorted();
  const onSite = (path: string) => [path, path.replace(/^docs\//, '')] as const;
  const own = new Map([...docs.map(onSite), ...Object.entries(OTHERS)]);
  const pages = new Map([
    ...own,
    ...Object.entries(STANDS_FOR),
    ...pictures.map(onSite),
    ...examples.map((path) => [path, `examples.md#${anchorOf(basename(path))}`] as const),
  ]);
  rmSync(folder, { recursive: true, force: true });
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const [path, page] of own)
    write(`pages/${page}`, withDiagrams(withDeepLists(withSiteLinks(read(path), path, { pages, repository })), page));
  write('pages/examples.md', examplesPage(examples));
  cpSync(join(ROOT, 'docs/pictures'), join(folder, 'pages/pictures'), { recursive: true });
  const decisions = docs.filter((path) => /\/adr\/\d/.test(path)).map((path) => `          - ${own.get(path)}\n`);
  const forge = repository ? `repo_url: ${repository.replace(/\/blob\/.*$/, '')}\n` : '';
  write('mkdocs.yml', `${forge}${read('docs/mkdocs.yml')}${decisions.join('')}`);
  mkdirSync(join(folder, 'pages/assets'), { recursive: true });
  cpSync(join(ROOT, 'docs/site.css'), join(folder, 'pages/assets/site.css'));
  cpSync(join(ROOT, 'node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js'), join(folder, 'pages/assets/mermaid.js'));
}
