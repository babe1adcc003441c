import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** How a spec ended, and how long it took. */
export interface Outcome {
  /** As ginkgo has it: what neither passed nor was skipped has failed. */
  state: 'passed' | 'skipped' | 'failed';
  seconds: number;
  /** Why it was skipped, or what failed. */
  message: string;
}

interface SpecReport {
  LeafNodeType: string;
  ContainerHierarchyTexts: string[] | null;
  LeafNodeText: string;
  State: string;
  /** Nanoseconds. */
  RunTime: number;
  Failure?: { Message: string };
}

/** Outcomes by the specs' names, from ginkgo's report (types.Report of github.com/onsi/ginkgo/v2). Those that were not selected are left out. */
export function outcomesOf(report: string): Map<string, Outcome> {
  const suites: { SpecReports: SpecReport[] | null }[] = JSON.parse(report);
  const outcomes = new Map<string, Outcome>();
  for (const spec of suites.flatMap(({ SpecReports }) => SpecReports ?? [])) {
    if (spec.LeafNodeType !== 'It') continue;
    const message = spec.Failure?.Message ?? '';
    // What the focus leaves out is "skipped", too, but nothing says why.
    if (spec.State === 'pending' || (spec.State === 'skipped' && message === '')) continue;
    const state = spec.State === 'passed' || spec.State === 'skipped' ? spec.State : 'failed';
    outcomes.set([...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' '), { state, seconds: spec.RunTime / 1e9, message });
  }
  return outcomes;
}

/**
 * For csi-sanity's --ginkgo.skip. The spec compares two messages with the inner state of protobuf in them, of which one has been sent and
 * the other has not: it fails for every driver that answers where a snapshot can be used (csi-test 5.6.0, pkg/sanity/controller.go).
 */
export const BROKEN_SANITY_SPEC = 'creating a snapshot with accessibility requirements';

/** What a spec is about, such as `subPath`, from its name. */
export function suiteOf(name: string): string {
  return /\[Testpattern: [^\]]*\] ([^ ]+)/.exec(name)?.[1] ?? basename(name);
}

const PAGE = join(import.meta.dirname, '../../docs/kubernetes.md');

/** The reasons why specs were skipped that docs/kubernetes.md does not explain. */
export function unexplainedSkips(outcomes: Iterable<Outcome>): string[] {
  const rows = readFileSync(PAGE, 'utf8').matchAll(/^\| ([^|]+) \|/gm);
  const reasons = new Set([...rows].flatMap(([, reason = '']) => reason.split(', ')));
  return [...outcomes].filter(({ state, message }) => state === 'skipped' && !reasons.has(message)).map(({ message }) => message);
}

/** One line for a log: how many specs passed, failed and were skipped. */
export function describeOutcomes(outcomes: Iterable<Outcome>): string {
  const states = [...Map.groupBy(outcomes, ({ state }) => state)].map(([state, all]) => `${all.length} ${state}`);
  return `specs: ${states.join(', ') || 'none'}`;
}
