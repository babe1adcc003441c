import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../../../scripts/suites/command.ts';
import { ROOT } from '../../testbed/paths.ts';

// In it: a network with nothing but what the lab makes, /sys that shows it, and a file system in memory for all temporary
// files. No process, interface or file outlives the first process, however that ends.
const SETUP = `mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs "$TMPDIR" && exec "$@"`;
const ISOLATE = ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--', 'sh', '-c', SETUP, 'sh'];

export interface RunOptions {
  limitMs: number;
  signal: AbortSignal;
  /** Gets each line of the output. */
  report: (line: string) => void;
}

export interface IsolatedOptions extends RunOptions {
  /** For the log, dist/logs/NAME.log. */
  name: string;
  env: Record<string, string>;
}

/** Runs main.ts in network, mount and process namespaces of its own. */
export function runLab(env: Record<string, string>, options: RunOptions): Promise<CommandResult> {
  return runIsolated(join(import.meta.dirname, 'main.ts'), { ...options, name: 'faults-fast', env });
}

/** Runs a program of ours in network, mount and process namespaces of its own. */
export async function runIsolated(main: string, { name, env, limitMs, signal, report }: IsolatedOptions): Promise<CommandResult> {
  const logs = join(ROOT, 'dist/logs');
  mkdirSync(logs, { recursive: true });
  const directory = mkdtempSync(join(tmpdir(), `aoe-${name}-`));
  const argv = [...ISOLATE, process.execPath, main];
  try {
    return await runCommand(argv, {
      log: join(logs, `${name}.log`),
      limitMs,
      signal,
      env: { ...env, TMPDIR: directory },
      onLine: (line) => report(line),
    });
  } finally {
    rmdirSync(directory);
  }
}
