import { globSync } from 'node:fs';
import { PAGES, ROOT, textOf } from './pages.ts';

/** A path that begins with a folder of the repository, in running text; `*` and `{a,b}` are patterns. */
const PATH =
  /(?<![\w/.$~-])(?:agent|aoe|api|charts|crds|csi|deploy|docs|kube|kubectl|operator|rpc|run|scripts|target|test)\/[\w./*{},-]*[\w/*}]/g;
/** What is generated, and not in the repository. */
const GENERATED = new Set(['rpc/gen/', 'target/release/']);

/** Paths named in a text that do not exist. */
function missingPaths(text: string): string[] {
  const named = new Set([...text.matchAll(PATH)].map(([path]) => path));
  return [...named].filter((path) => !GENERATED.has(path) && globSync(path.replace(/\/$/, ''), { cwd: ROOT }).length === 0);
}

describe('a path named in a document', () => {
  for (const page of PAGES) {
    it(`exists: ${page}`, () => expect(missingPaths(textOf(page))).toStrictEqual([]));
  }

  it('is found when it does not exist', () => {
    expect(missingPaths('see `agent/no-such-file.ts`, csi/node/ and registry.example/aoe-csi; test/docs/*.test.ts')).toStrictEqual([
      'agent/no-such-file.ts',
    ]);
  });
});
