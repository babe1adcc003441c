// Bundles the programs into dist/: one file each starts several times faster, and takes half the memory, of the modules apart.
import { join } from 'node:path';
import { build } from 'esbuild';
import { leanClient } from './lean-client.ts';

const root = join(import.meta.dirname, '..');

await build({
  entryPoints: ['operator', 'agent', 'csi'].map((program) => ({ in: join(root, program, 'main.ts'), out: program })),
  outdir: join(root, 'dist'),
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // A native module: it stays in node_modules beside the bundle.
  external: ['koffi'],
  plugins: [leanClient],
  // CommonJS dependencies call require().
  banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  sourcemap: 'linked',
  logLevel: 'warning',
});
