#!/usr/bin/env node
import { createInterface } from 'node:readline/promises';
import { messageOf } from '../kube/client/error.ts';
import { commandLine, UsageError } from '../run/config.ts';
import { Kubectl } from './cluster/kubectl.ts';
import { Reader } from './cluster/reader.ts';
import { helpText, parseCommandLine } from './command-line.ts';
import { runCommand } from './run-command.ts';

const WELL = 0;
const FAILED = 1;
const USAGE = 2;

async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

async function main(): Promise<number> {
  const line = parseCommandLine(commandLine());
  const out = (text: string) => void process.stdout.write(text);
  const warn = (text: string) => void process.stderr.write(text);
  if (line === 'help') {
    out(helpText());
    return WELL;
  }
  const kubectl = new Kubectl(line);
  const reader = new Reader(kubectl);
  try {
    return await runCommand({ line, reader, kubectl, now: Date.now, out, warn, ...(process.stdin.isTTY ? { ask } : {}) });
  } finally {
    const { notSeen } = reader;
    if (notSeen.length > 0)
      warn(`\nNot all could be seen or done, since rights are missing:\n${notSeen.map((each) => `  ${each}\n`).join('')}`);
  }
}

// Whoever reads the output may have enough, as head has: the command ends as it would have ended.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`kubectl aoe: ${messageOf(error)}\n`);
  process.exitCode = FAILED;
});
process.stderr.on('error', () => undefined);

try {
  // Not process.exit(): it could cut off output to a pipe.
  const status = await main();
  process.exitCode ??= status;
} catch (error) {
  process.stderr.write(`kubectl aoe: ${messageOf(error)}\n`);
  process.exitCode = error instanceof UsageError ? USAGE : FAILED;
}
