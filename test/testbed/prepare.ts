import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { KIT, KIT_KEY } from './kit.ts';
import { CACHE, ROOT } from './paths.ts';
import { run } from './process/shell.ts';
import type { Progress } from './progress.ts';

/** Builds what the cluster needs and the cache has not: the Kubernetes programs, ours, the target. */
export async function prepare(progress: Progress): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const cargo = ['build', '--release', '--locked', '--manifest-path', join(ROOT, 'Cargo.toml')];
  const target = () => run('cargo', cargo, { timeoutMs: 1_800_000 });
  if (!existsSync(KIT)) {
    // Both take minutes on a fresh machine, and wait for downloads much of that time.
    const both = () => Promise.all([buildKit(), target()]);
    await progress.step('Kubernetes, sidecars and Helm from Go modules, and the target', both, { usually: '10 minutes the first time' });
  }
  await progress.step('operator, agent and CSI driver', () => run(process.execPath, [join(ROOT, 'scripts/build.ts')]), { usually: '1 s' });
  await progress.step('target', target, { usually: '90 s the first time' });
}

async function buildKit(): Promise<void> {
  await cached('kit', KIT_KEY, (folder) => run(join(import.meta.dirname, 'kit/build'), [folder], { timeoutMs: 3_600_000 }).then(() => {}));
}
