// Writes the chart's CRDs from the zod types. With --check it writes nothing and fails when they differ.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinitions } from './crds.ts';

const directory = join(import.meta.dirname, '../../charts/aoe-csi/crds');
const check = process.argv.includes('--check');
let stale = 0;
mkdirSync(directory, { recursive: true });
for (const definition of customResourceDefinitions()) {
  const { name } = definition.metadata as { name: string };
  const path = join(directory, `${name}.yaml`);
  const text = `# Made by api/schema/generate.ts from the types in api/.\n${stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false })}`;
  const current = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (current === text) continue;
  stale++;
  if (check) console.error(`${path} is not what api/ says: run "make generate"`);
  else writeFileSync(path, text);
}
if (check && stale > 0) process.exit(1);
