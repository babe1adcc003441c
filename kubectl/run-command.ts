import type { CommandName } from './command-line.ts';
import { breakLock } from './commands/break-lock.ts';
import { bundle } from './commands/bundle.ts';
import { checkNode } from './commands/check-node.ts';
import { completion } from './commands/completion.ts';
import { copies } from './commands/copies.ts';
import { get } from './commands/get.ts';
import { locks } from './commands/locks.ts';
import { orphans } from './commands/orphans.ts';
import { path } from './commands/path.ts';
import { status } from './commands/status.ts';
import { trace } from './commands/trace.ts';
import type { Context, ExitStatus } from './context.ts';

const RUN: Readonly<Record<CommandName, (context: Context) => Promise<ExitStatus>>> = {
  status,
  get,
  path,
  locks,
  'break-lock': breakLock,
  orphans,
  copies,
  check: checkNode,
  bundle,
  trace,
  completion,
};

/** Does what the command line asks for. */
export function runCommand(context: Context): Promise<ExitStatus> {
  return RUN[context.line.command](context);
}
