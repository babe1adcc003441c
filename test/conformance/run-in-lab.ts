import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { WireLab } from '../wire/wire-lab.ts';
import type { Result } from './run.ts';
import { SHELF, SLOT, type StartTarget } from './targets.ts';

/** The whole suite takes five seconds where nothing is wrong; each deviation may cost a few. */
const LIMIT_MS = 900_000;

export interface LabOptions {
  mtu: number;
  /** All when absent. */
  profiles?: string[];
  /** Longest wait for an answer, in milliseconds; that of the suite when absent. */
  answerMs?: number;
}

/** Runs the suite against a target in a network namespace of its own. @throws Error when it could not be run */
export async function runInLab(start: StartTarget, { mtu, profiles = [], answerMs }: LabOptions): Promise<Result[]> {
  await using lab = new WireLab({ mtu });
  const restart = start(lab);
  const main = join(import.meta.dirname, 'main.ts');
  const options = ['--interface', 'host0', '--shelf', String(SHELF), '--slot', String(SLOT), '--restart', restart, '--json'];
  if (answerMs !== undefined) options.push('--answer-ms', String(answerMs));
  const args = [process.execPath, main, ...options, ...profiles.flatMap((name) => ['--profile', name])];
  const child = spawn('ip', ['netns', 'exec', lab.name, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  const gone = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), gone]);
  if (code !== 0 && code !== 1) throw new Error(`the suite ended with ${code ?? 'a signal'}: ${err}`);
  return out
    .split('\n')
    .filter(Boolean)
    .map((line): Result => JSON.parse(line));
}
