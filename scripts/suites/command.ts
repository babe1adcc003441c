import { spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

export interface CommandOptions {
  /** File that gets all output, after what it has. */
  log: string;
  /** The command is killed after this time. */
  limitMs: number;
  signal: AbortSignal;
  env?: NodeJS.ProcessEnv;
  /** Gets each line of the standard output as it comes. */
  onLine?: (line: string) => void;
}

export interface CommandResult {
  /** -1: killed, by the limit or by the signal, or not to be started. */
  code: number;
  /** Both outputs, as the log has them. */
  output: string;
}

/** Runs a command, in a process group of its own so that nothing of it is left behind when it is cut short. Never rejects. */
export function runCommand(argv: string[], options: CommandOptions): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const log = openSync(options.log, 'a');
  writeSync(log, `$ ${argv.join(' ')}\n`);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const note = (chunk: Buffer) => {
      chunks.push(chunk);
      writeSync(log, chunk);
    };
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', CARGO_TERM_COLOR: 'never', ...options.env },
    });
    let cut = false;
    const kill = (why: string) => {
      cut = true;
      note(Buffer.from(`\n${why}\n`));
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended at this moment.
      }
    };
    const limit = setTimeout(() => kill(`killed: it took longer than ${options.limitMs / 1000} s`), options.limitMs);
    const abort = () => kill('killed: the run was interrupted');
    options.signal.addEventListener('abort', abort, { once: true });
    if (options.signal.aborted) abort();

    let rest = '';
    child.stdout.on('data', (chunk: Buffer) => {
      note(chunk);
      if (!options.onLine) return;
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(options.onLine);
    });
    child.stderr.on('data', note);
    let ended = false;
    const end = (code: number) => {
      if (ended) return;
      ended = true;
      clearTimeout(limit);
      options.signal.removeEventListener('abort', abort);
      closeSync(log);
      // Some programs write colours although NO_COLOR is set.
      resolve({ code, output: stripVTControlCharacters(Buffer.concat(chunks).toString()) });
    };
    child.on('error', (error) => {
      note(Buffer.from(`${program} could not be started: ${error.message}\n`));
      end(-1);
    });
    child.on('close', (code) => end(cut ? -1 : (code ?? -1)));
  });
}
