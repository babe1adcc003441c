import { globSync } from 'node:fs';
import { PAGES, ROOT, textOf } from './pages.ts';

/** Expressions that a reader must decode, and what to write instead. docs/architecture.md has the glossary. */
const FORBIDDEN: readonly [RegExp, string][] = [
  [/\bof before\b(?![.[()])/i, 'stale, old, earlier'],
  [/\banew\b/i, 'again'],
  [/\bno more(?=[.,;:)]|$)/im, 'no longer'],
  [/\b(?:is|are|was|be|has|have|put|stays?|came|what was) in force\b/i, 'admitted'],
  [/\bwho comes\b/i, 'a host that …'],
  [/\blets? in\b/i, 'admitted, admits'],
  [/\bshut out\b/i, 'cut off'],
  [/\bmend(?:s|ed|ing)?\b/i, 'fix'],
];

const DOCUMENTS = [
  ...PAGES,
  ...['charts/*/values.yaml', 'charts/*/templates/NOTES.txt', 'deploy/**/*.yaml', 'Makefile', 'scripts/prerequisites'].flatMap((pattern) =>
    globSync(pattern, { cwd: ROOT }),
  ),
];

/** Sources, with their comments, messages and names of tests. */
const SOURCES = globSync('{agent,aoe,api,copier,crds,csi,kube,kubectl,operator,rpc,run,scripts,target,test}/**/*.{ts,rs}', {
  cwd: ROOT,
  exclude: (path) => /node_modules|rpc\/gen|target\/target|words\.test\.ts$/.test(path),
});

/** Forbidden expressions in a text, each with its line and what to write instead. */
function riddles(text: string): string[] {
  return text.split('\n').flatMap((line, index) =>
    FORBIDDEN.flatMap(([pattern, instead]) => {
      const found = pattern.exec(line);
      return found ? [`line ${index + 1}: "${found[0]}", write: ${instead}`] : [];
    }),
  );
}

describe('plain English', () => {
  it('is in all sources', () => {
    expect(SOURCES.flatMap((path) => riddles(textOf(path)).map((riddle) => `${path}, ${riddle}`))).toStrictEqual([]);
  });

  for (const path of DOCUMENTS) {
    it(path, () => expect(riddles(textOf(path))).toStrictEqual([]));
  }

  it('the check finds what it looks for', () => {
    expect(riddles('It is made anew.\nfine\n`not_in_force` is a name; it is there no more')).toStrictEqual([
      'line 1: "anew", write: again',
      'line 3: "no more", write: no longer',
    ]);
  });
});
