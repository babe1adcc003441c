// Bundles the programs into dist/.
import { join } from 'node:path';
import { bundle } from './bundle.ts';

const root = join(import.meta.dirname, '..');

await bundle(
  ['operator', 'agent', 'csi', 'crds'].map((program) => ({ in: join(root, program, 'main.ts'), out: program })),
  join(root, 'dist'),
);
