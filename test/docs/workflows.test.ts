import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from './pages.ts';

interface Job {
  container?: { image: string };
  permissions?: Readonly<Record<string, string>>;
  'timeout-minutes'?: number;
  steps: readonly { uses?: string; run?: string; shell?: string }[];
}

interface Workflow {
  jobs: Record<string, Job>;
}

const jobs = globSync('.github/workflows/*.yml', { cwd: ROOT }).flatMap((path) => {
  const workflow = parse(readFileSync(join(ROOT, path), 'utf8')) as Workflow;
  return Object.entries(workflow.jobs).map(([name, job]) => ({ name: `${path}, ${name}`, job }));
});
const scriptsOf = ({ steps }: Job): string => steps.map(({ run = '' }) => run).join('\n');

/** GitHub's own runners cannot be had: this is what of their differences can be seen in the files. */
describe('a job of a workflow', () => {
  it.each(jobs)('has the packages of Debian 12 when it builds: $name', ({ job }) => {
    if (/\bmake\b|scripts\/prerequisites/.test(scriptsOf(job))) expect(job.container?.image).toBe('debian:12');
  });

  it.each(jobs)('does not rely on the Node.js of the runner: $name', ({ job }) => {
    if (/^ *(node|npm) /m.test(scriptsOf(job))) expect(job.steps.some(({ uses }) => uses?.startsWith('actions/setup-node@'))).toBe(true);
  });

  it.each(jobs)('runs no script of a dependency where it may sign: $name', ({ job }) => {
    const installs = scriptsOf(job).match(/npm (?:ci|install).*/g) ?? [];
    if (job.permissions?.['id-token'] === 'write') for (const each of installs) expect(each).toMatch(/--ignore-scripts/);
  });

  it.each(jobs)('fails with the first program of a pipe that fails: $name', ({ job }) => {
    for (const { run = '', shell } of job.steps) if (/[^|]\|[^|]/.test(run) && /\btee\b/.test(run)) expect(shell).toBe('bash');
  });

  it.each(jobs)('ends after some time: $name', ({ job }) => expect(job['timeout-minutes'] ?? 0).toBeGreaterThan(0));
});
