import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** Paths of all documents, relative to the root of the repository. */
export const PAGES = ['*.md', 'docs/**/*.md', 'charts/*/README.md', 'test/testbed/README.md'].flatMap((pattern) =>
  globSync(pattern, { cwd: ROOT }),
);

/** Text of a file, by its path relative to the root of the repository. */
export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
