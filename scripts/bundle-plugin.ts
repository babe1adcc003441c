import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

/**
 * Bundles the kubectl plugin into one file that can be started by itself, under any name, where Node.js 22.7 or newer is.
 * @throws Error when something of an npm package, or a native module, would be in it
 */
export async function bundlePlugin(outfile: string): Promise<void> {
  const { metafile } = await build({
    // Its first line, `#!/usr/bin/env node`, is kept.
    entryPoints: [join(import.meta.dirname, '../kubectl/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node22.7',
    // A file without an extension is taken for a module because of its syntax (nodejs.org/api/packages.html, "Syntax detection").
    format: 'esm',
    logLevel: 'warning',
    metafile: true,
  });
  const ofPackages = Object.keys(metafile.inputs).filter((path) => path.includes('node_modules/'));
  const external = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  const notOfNode = external.filter((path) => !path.startsWith('node:'));
  if (ofPackages.length + notOfNode.length > 0)
    throw new Error(`${outfile} is to stand alone, but has ${[...ofPackages, ...notOfNode].join(', ')}`);
  chmodSync(outfile, 0o755);
}
