import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './paths.ts';

/** How many results of older keys are kept for each name. One serves a developer who switches between two states of the tree. */
const OLDER_KEPT = 1;

/** Makes something in the cache once per key: `make` gets a folder that appears under its name when all is done. */
export async function cached(name: string, key: string, make: (folder: string) => Promise<void> | void): Promise<string> {
  const folder = join(CACHE, `${name}-${key}`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.unfinished-${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  try {
    await make(unfinished);
    // Another process may have made it meanwhile.
    if (!existsSync(folder)) renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  forget(name, folder);
  return folder;
}

/** Removes the results of older keys, and what a killed run left unfinished. */
function forget(name: string, current: string): void {
  const older: string[] = [];
  for (const entry of readdirSync(CACHE)) {
    const [, rest] = new RegExp(`^${name}-[0-9a-f]{12}(.*)$`).exec(entry) ?? [];
    const path = join(CACHE, entry);
    const maker = /^\.unfinished-(\d+)$/.exec(rest ?? '')?.[1];
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) rmSync(path, { recursive: true, force: true });
    if (rest === '' && path !== current) older.push(path);
  }
  older.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const path of older.slice(OLDER_KEPT)) rmSync(path, { recursive: true, force: true });
}
