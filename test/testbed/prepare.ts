import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CACHE, KIT, ROOT } from './paths.ts';
import type { Progress } from './progress.ts';
import { run } from './shell.ts';

/** Builds what the cluster needs and the cache has not: the Kubernetes programs, ours, the target. */
export async function prepare(progress: Progress): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  if (!existsSync(KIT))
    await progress.step('Kubernetes, sidecars and Helm, from Go modules', buildKit, { usually: '7 minutes the first time' });
  await progress.step('operator, agent and CSI driver', () => run(process.execPath, [join(ROOT, 'scripts/build.ts')]), { usually: '1 s' });
  const cargo = ['build', '--release', '--locked', '--manifest-path', join(ROOT, 'Cargo.toml')];
  await progress.step('target', () => run('cargo', cargo, { timeoutMs: 900_000 }), { usually: '90 s the first time' });
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
