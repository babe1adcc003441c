import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import jestConfig from '../../jest.config.ts';
import { ROOT } from './pages.ts';

/** Most source files in a folder, tests not counted. */
const FOLDER_LIMIT = 15;
/** Most lines in a file. */
const FILE_LIMIT = 400;

/** Unit tests that no source file of the same name stands beside, and what they test. */
const TESTS_OF_SEVERAL_FILES: Readonly<Record<string, string>> = {
  'agent/volume/fence.property.test.ts': 'reconciler, access list and lock together, in orders drawn from a seed',
  'agent/volume/slow-removal.test.ts': 'controller, reconciler and removal together, with a pool that hangs',
  'aoe/wire/codec.test.ts': 'what all codecs of the folder have in common',
  'aoe/wire/fuzz.test.ts': 'all codecs of the folder and the initiator, with random bytes',
  'aoe/wire/vectors.test.ts': 'all codecs of the folder, with the vectors of the conformance tests',
  'rpc/rpc.test.ts': 'client and server together',
  'test/copies/copy.property.test.ts': 'operator and both agents together, killed at steps that are drawn',
  'test/copies/external.property.test.ts': 'operator, agent and copier in a copy of the disk of another target',
  'test/copies/move.property.test.ts': 'operator and both agents in a move',
  'test/faults/model/takeover.property.test.ts': 'operator and hosts together, while nodes are silent',
  'test/groups/group.property.test.ts': 'operator and agents together, in orders drawn from a seed',
};

const exclude = (path: string) => /(^|\/)(node_modules|dist|gen)$/.test(path) || path === 'target/target';
const filesOf = (patterns: string | string[]) => globSync(patterns, { cwd: ROOT, exclude }).toSorted();
const isTest = (path: string) => /\.test\.ts$|_tests\.rs$/.test(path);
const sources = filesOf(['**/*.ts', '{target,copier}/src/**/*.rs', 'test/bench/load/src/**/*.rs']);

/** Names of the folders with too many source files. */
function largeFolders(paths: readonly string[]): string[] {
  const byFolder = Map.groupBy(
    paths.filter((path) => !isTest(path)),
    (path) => dirname(path),
  );
  return [...byFolder].filter(([, files]) => files.length > FOLDER_LIMIT).map(([folder]) => folder);
}

/** Tests that have no source file of their name: x.test.ts and x.property.test.ts stand beside x.ts. */
function testsWithoutSource(tests: readonly string[], paths: ReadonlySet<string>): string[] {
  return tests.filter((test) => {
    const name = basename(test).replace(/(\.property)?\.test\.ts$/, '.ts');
    return !paths.has(join(dirname(test), name));
  });
}

describe('the layout of the repository', () => {
  it(`has at most ${FOLDER_LIMIT} source files in a folder`, () => {
    expect(largeFolders(sources)).toStrictEqual([]);
  });

  it(`has at most ${FILE_LIMIT} lines in a source file`, () => {
    const lines = (path: string) => readFileSync(join(ROOT, path), 'utf8').split('\n').length - 1;
    expect(sources.filter((path) => lines(path) > FILE_LIMIT)).toStrictEqual([]);
  });

  it('has one lock file for all of its Rust, since one of a part that is seldom built grows stale', () => {
    expect(filesOf('**/Cargo.lock')).toStrictEqual(['Cargo.lock']);
  });

  it('has each unit test beside the source file that it tests, under the same name', () => {
    const [unit] = jestConfig.projects.filter(({ displayName }) => displayName === 'unit');
    // The tests in test/docs are of documents and of this layout.
    const tests = filesOf(unit?.testMatch.map((pattern) => pattern.replace('<rootDir>/', '')) ?? []).filter(
      (path) => dirname(path) !== 'test/docs',
    );
    expect(tests.length).toBeGreaterThan(100);
    expect(testsWithoutSource(tests, new Set(sources))).toStrictEqual(Object.keys(TESTS_OF_SEVERAL_FILES));
  });

  it('is checked: what breaks a rule is found', () => {
    const many = Array.from({ length: FOLDER_LIMIT + 1 }, (_, index) => `a/${index}.ts`);
    expect(largeFolders([...many, 'b/one.ts'])).toStrictEqual(['a']);
    expect(largeFolders([...many.slice(1), 'a/1.test.ts'])).toStrictEqual([]);
    expect(testsWithoutSource(['a/x.test.ts', 'a/x.property.test.ts', 'a/y.test.ts'], new Set(['a/x.ts']))).toStrictEqual(['a/y.test.ts']);
  });
});
