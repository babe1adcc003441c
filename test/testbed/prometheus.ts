import { join } from 'node:path';
import { cached } from './cache.ts';
import { keyOf } from './paths.ts';
import { run } from './process/shell.ts';

const SOURCES = join(import.meta.dirname, 'prometheus');

/** Path of a program that is built from Prometheus' Go module when the cache has it not: minutes the first time. */
async function program(name: 'prometheus' | 'promtool'): Promise<string> {
  const build = (folder: string) => run(join(SOURCES, 'build'), [folder, name], { timeoutMs: 1_800_000 }).then(() => {});
  return join(await cached(name, keyOf([SOURCES]), build), name);
}

/** Path of promtool. */
export const promtool = (): Promise<string> => program('promtool');

/** Path of Prometheus itself. */
export const prometheus = (): Promise<string> => program('prometheus');
