// Bundles the programs into dist/, with a list of the npm packages in them.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.ts';
import { bundlePlugin } from './bundle-plugin.ts';

const root = join(import.meta.dirname, '..');

const packages = await bundle(
  ['operator', 'agent', 'csi', 'crds'].map((program) => ({ in: join(root, program, 'main.ts'), out: program })),
  join(root, 'dist'),
);
writeFileSync(join(root, 'dist/npm-packages.json'), `${JSON.stringify(packages, null, 2)}\n`);
await bundlePlugin(join(root, 'dist/kubectl-aoe.js'));
