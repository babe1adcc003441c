// Writes the pages of reference from the sources. With --check it writes nothing and fails when they differ.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { customResourceDefinitions } from '../../api/schema/crds.ts';
import { commandLinePage } from './command-line.ts';
import { chartImages, imagesTable } from './images.ts';
import { MADE, withPart } from './markdown.ts';
import { metricsPage } from './metrics.ts';
import { type Definition, resourcesPage } from './resources.ts';
import { chartValues, valuesTables } from './values.ts';

const ROOT = join(import.meta.dirname, '../..');
const check = process.argv.includes('--check');

/** A page that is made as a whole. */
const page = (title: string, about: string, body: string) => `# ${title}\n\n${MADE}\n\n${about}\n\n${body}\n`;
/** A page that people write, with a part that is made. */
const part = (path: string, body: string) => withPart(readFileSync(join(ROOT, path), 'utf8'), body);

const values = chartValues();
const pages: Readonly<Record<string, string>> = {
  'docs/reference/resources.md': page(
    'Fields of the resources',
    'What every field of our resources means. [Use](../use.md) has examples, [Conditions and reasons](../conditions.md) says what their conditions mean.',
    resourcesPage(customResourceDefinitions() as unknown as Definition[]),
  ),
  'docs/reference/values.md': page(
    'Values of the chart',
    'Helm refuses a value that is unknown or does not make sense, and says why. [Install](../install.md) explains the important ones.',
    valuesTables(values, { docs: '../', heading: '##' }),
  ),
  'docs/reference/metrics.md': page(
    'Metrics',
    'All metrics of our programs. [Monitoring](../monitoring.md#metrics) explains them, [Alerts](../alerts.md) uses them. Each program also serves the usual `process_` and `nodejs_` metrics; the sidecars serve those of their projects.',
    metricsPage(),
  ),
  'docs/reference/command-line.md': page(
    'Command lines',
    'Flags of our programs. The chart sets those that its [values](values.md) name; `extraArgs` adds others.',
    await commandLinePage(),
  ),
  'docs/guides/air-gap.md': part('docs/guides/air-gap.md', imagesTable(chartImages())),
  'charts/aoe-csi/README.md': part('charts/aoe-csi/README.md', valuesTables(values, { docs: '../../docs/', heading: '###' })),
};

let stale = 0;
for (const [name, text] of Object.entries(pages)) {
  const path = join(ROOT, name);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  stale++;
  if (check) console.error(`${name} is not what the sources say: run "make generate"`);
  else {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
}
if (check && stale > 0) process.exit(1);
