import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { runCopier } from './process.ts';

/** A program that says with what it was started, and runs until it is killed, or ends at once. */
function fakeProgram(last: string) {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-copier-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const program = join(directory, 'copier');
  writeFileSync(program, `#!/bin/sh\necho $$ >>${directory}/pids\necho "started $*"\n${last}\n`, { mode: 0o755 });
  return { program, pids: () => readFileSync(join(directory, 'pids'), 'utf8').trim().split('\n').map(Number) };
}

const log = pino({ level: 'silent' });
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('the copier runs as a child, is started again when it is killed, and ends with the agent', async () => {
  const { program, pids } = fakeProgram('exec sleep 1000');
  const stop = new AbortController();
  const seen = Promise.withResolvers<void>();
  const texts: string[] = [];
  const output = (text: string): void => {
    texts.push(text);
    if (texts.join('').split('started').length === 2) process.kill(pids()[0] ?? 0, 'SIGKILL');
    if (texts.join('').split('started').length === 3) seen.resolve();
  };
  const running = runCopier({ program, socket: '/run/c.sock', state: '/var/c', log, output, minBackoffMs: 1 }, stop.signal);
  await seen.promise;
  expect(texts[0]).toBe('started --state /var/c --socket /run/c.sock --with-parent\n');
  expect(pids()).toHaveLength(2);
  stop.abort();
  await running;
  expect(pids().filter(isAlive)).toStrictEqual([]);
});

test('a program that is not there is no reason for the agent to end', async () => {
  const stop = new AbortController();
  const warned = Promise.withResolvers<{ detail: string }>();
  const warnings = { info: () => {}, warn: warned.resolve } as never;
  const running = runCopier({ program: '/no/such/program', socket: '/s', state: '/t', log: warnings, minBackoffMs: 1 }, stop.signal);
  expect((await warned.promise).detail).toMatch(/could not be started.*ENOENT/);
  stop.abort();
  await running;
});
