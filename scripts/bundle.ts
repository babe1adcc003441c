import { build } from 'esbuild';
import { leanClient } from './lean-client.ts';

/**
 * Bundles programs into one file each: those start several times faster, and take half the memory, of the modules apart.
 * @returns the names of the npm packages of which something is in them
 */
export async function bundle(entryPoints: readonly { in: string; out: string }[], outdir: string): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: [...entryPoints],
    outdir,
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
    metafile: true,
  });
  const names = Object.keys(metafile.inputs).flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  return [...new Set(names)].toSorted();
}
