import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const PROGRAM = join(import.meta.dirname, 'testing/program.ts');

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  lines: Record<string, unknown>[];
}

/** Runs the program until it ends; `kill` is sent when it has started. */
async function run(args: string[], { kill, env = {} }: { kill?: NodeJS.Signals; env?: NodeJS.ProcessEnv } = {}): Promise<Ended> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env, timeout: 30_000, killSignal: 'SIGKILL' });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (kill && !stderr.includes('"started"') && (stderr + text).includes('"started"')) child.kill(kill);
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const lines = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, stdout, stderr, lines };
}

describe('main()', { concurrency: 2, timeout: 60_000 }, () => {
  test('ends with 0 when the program returns, whatever timers are left', async () => {
    const { code, lines } = await run(['word', '--how=return'], { env: { NODE_NAME: 'n1', POD_NAME: '' } });
    assert.equal(code, 0);
    const { time, ...line } = lines[0] ?? {};
    assert.ok(!Number.isNaN(Date.parse(String(time))));
    assert.deepEqual(line, { level: 'info', program: 'example', words: ['word'], env: { nodeName: 'n1' }, msg: 'started' });
  });

  test('prints help on --help, and does not start', async () => {
    const { code, stdout, lines } = await run(['--help']);
    assert.equal(code, 0);
    assert.match(stdout, /^example\n\n {2}--how=return\n {6}what it does\n {2}--log-level=info\n/);
    assert.deepEqual(lines, []);
  });

  test('ends with 2 and all that is wrong on a wrong command line', async () => {
    const { code, stderr } = await run(['--hwo=return', '--how=wrong', '--log-level=loud']);
    assert.equal(code, 2);
    assert.match(stderr, /^example: there is no flag --hwo; --how: is wrong; --log-level: "loud" is not one of trace, debug, info,/);
    assert.equal(stderr.trim().split('\n').length, 1);
  });

  test('ends with 1 and the error with its cause when the program throws', async () => {
    const { code, lines } = await run(['--how=throw']);
    assert.equal(code, 1);
    const last = lines.at(-1) as { level: string; error: string; stack: string };
    assert.equal(last.level, 'fatal');
    assert.match(`${last.error} ${last.stack}`, /it broke.*the cause/s);
  });

  test('ends with 1 when a promise is rejected that nobody waits for', async () => {
    const { code, lines } = await run(['--how=reject']);
    assert.equal(code, 1);
    assert.equal((lines.at(-1) as { error: string }).error, 'nobody waits for this');
  });

  for (const kill of ['SIGTERM', 'SIGINT'] as const) {
    test(`ends with 0 on ${kill}, after the program has cleaned up`, async () => {
      const { code, lines } = await run(['--how=clean-up'], { kill });
      assert.equal(code, 0);
      assert.deepEqual(
        lines.map(({ msg }) => msg),
        ['started', 'ending', 'cleaned up'],
      );
    });
  }

  test('ends with 0 when the program ends by the signal it was given', async () => {
    const { code } = await run(['--how=wait'], { kill: 'SIGTERM' });
    assert.equal(code, 0);
  });

  test('tells of an error while ending', async () => {
    const { lines } = await run(['--how=break-while-ending'], { kill: 'SIGTERM' });
    const last = lines.at(-1) as { level: string; error: string };
    assert.equal(last.level, 'warn');
    assert.equal(last.error, 'cannot clean up');
  });

  test('ends with 1 when the program does not end in time after a signal', async () => {
    const { code, lines } = await run(['--how=ignore'], { kill: 'SIGTERM' });
    assert.equal(code, 1);
    assert.equal(lines.at(-1)?.msg, 'did not end in time');
    assert.equal(lines.at(-1)?.limitMs, 500);
  });

  test('logs what the level asks for', async () => {
    const { stderr } = await run(['--log-level=error']);
    assert.equal(stderr, '');
  });
});
