import { describeOutcomes, outcomesOf, suiteOf, unexplainedSkips } from './report.ts';

const spec = (LeafNodeText: string, State: string, Message?: string) => ({
  LeafNodeType: 'It',
  ContainerHierarchyTexts: ['External Storage [Driver: aoe.dev] [Testpattern: Dynamic PV (default fs)]', 'volumes'],
  LeafNodeText,
  State,
  RunTime: 1_500_000_000,
  ...(Message ? { Failure: { Message } } : {}),
});
const name = (text: string) => `External Storage [Driver: aoe.dev] [Testpattern: Dynamic PV (default fs)] volumes ${text}`;

describe('outcomesOf()', () => {
  const report = (...specs: object[]) => JSON.stringify([{ SpecReports: specs }]);

  it('gives each spec that ran its outcome', () => {
    const all = outcomesOf(report(spec('a', 'passed'), spec('b', 'skipped', 'no snapshots'), spec('c', 'timedout', 'too slow')));
    expect([...all]).toStrictEqual([
      [name('a'), { state: 'passed', seconds: 1.5, message: '' }],
      [name('b'), { state: 'skipped', seconds: 1.5, message: 'no snapshots' }],
      [name('c'), { state: 'failed', seconds: 1.5, message: 'too slow' }],
    ]);
  });

  it('leaves out what was not selected, and what is no spec', () => {
    const setup = { ...spec('', 'passed'), LeafNodeType: 'SynchronizedBeforeSuite', ContainerHierarchyTexts: null };
    expect(outcomesOf(report(setup, spec('a', 'skipped'), spec('b', 'pending'))).size).toBe(0);
  });
});

describe('suiteOf()', () => {
  it('is the word behind the test pattern', () => {
    expect(suiteOf(name('should store data'))).toBe('volumes');
  });
});

describe('unexplainedSkips()', () => {
  it('is empty for a reason that the page has', () => {
    const skipped = (message: string) => ({ state: 'skipped' as const, seconds: 0, message });
    const passed = { state: 'passed' as const, seconds: 1, message: '' };
    const outcomes = [passed, skipped('testnodevolumeattachlimit not enabled'), skipped('it was not in the mood')];
    expect(unexplainedSkips(outcomes)).toStrictEqual(['it was not in the mood']);
    expect(describeOutcomes(outcomes)).toBe('specs: 1 passed, 2 skipped');
  });
});
