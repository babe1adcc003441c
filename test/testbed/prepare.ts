import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CACHE, KIT, ROOT } from './paths.ts';
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
  const unfinished = `${KIT}.unfinished`;
  await run(join(import.meta.dirname, 'kit/build'), [unfinished], { timeoutMs: 3_600_000 });
  renameSync(unfinished, KIT);
  // Kits of other versions are 400 MB each.
  for (const name of readdirSync(dirname(KIT))) {
    if (name.startsWith('kit-') && name !== basename(KIT)) rmSync(join(dirname(KIT), name), { recursive: true });
  }
}
