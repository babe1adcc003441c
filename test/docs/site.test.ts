import { globSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { ROOT, textOf } from './pages.ts';

/** Pages that are not in docs/, and are made or copied when the site is staged (scripts/docs/stage.ts). */
const STAGED = ['contributing.md', 'security-policy.md', 'test-bed.md', 'examples.md'];

/** All paths in the tree of the navigation. */
const paths = (node: unknown): string[] =>
  typeof node === 'string' ? [node] : node !== null && typeof node === 'object' ? Object.values(node).flatMap(paths) : [];

describe('the navigation of the site', () => {
  // The tag of a Python function in the settings means nothing here.
  const { nav } = parseDocument(textOf('docs/mkdocs.yml'), { logLevel: 'silent' }).toJS();
  // Each decision is added when the site is staged.
  const pages = globSync('docs/**/*.md', { cwd: ROOT })
    .filter((path) => !/\/\d{4}-/.test(path))
    .map((path) => path.replace('docs/', ''));

  it('has every page once, and none that is not there', () => {
    expect(paths(nav).toSorted()).toStrictEqual([...pages, ...STAGED].toSorted());
  });

  it('has every decision on its page', () => {
    const decisions = globSync('docs/adr/[0-9]*.md', { cwd: ROOT }).map((path) => path.replace('docs/adr/', ''));
    expect(decisions.filter((file) => !textOf('docs/adr/README.md').includes(`](${file})`))).toStrictEqual([]);
  });
});
