import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

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

describe('main()', () => {
  test('ends with 0 when the program returns, whatever timers are left', async () => {
    const { code, lines } = await run(['word', '--how=return'], { env: { NODE_NAME: 'n1', POD_NAME: '' } });
    expect(code).toBe(0);
    const { time, ...line } = lines[0] ?? {};
    expect(Number.isNaN(Date.parse(String(time)))).toBe(false);
    expect(line).toStrictEqual({ level: 'info', program: 'example', words: ['word'], env: { nodeName: 'n1' }, msg: 'started' });
  });

  test('prints help on --help, and does not start', async () => {
    const { code, stdout, lines } = await run(['--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^example\n\n {2}--how=return\n {6}what it does\n {2}--log-level=info\n/);
    expect(lines).toStrictEqual([]);
  });

  test('ends with 2 and all that is wrong on a wrong command line', async () => {
    const { code, stderr } = await run(['--hwo=return', '--how=wrong', '--log-level=loud']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^example: there is no flag --hwo; --how: is wrong; --log-level: "loud" is not one of trace, debug, info,/);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('ends with 1 and the error with its cause when the program throws', async () => {
    const { code, lines } = await run(['--how=throw']);
    expect(code).toBe(1);
    const last = lines.at(-1) as { level: string; error: string; stack: string };
    expect(last.level).toBe('fatal');
    expect(`${last.error} ${last.stack}`).toMatch(/it broke.*the cause/s);
  });

  test('ends with 1 when a promise is rejected that nobody waits for', async () => {
    const { code, lines } = await run(['--how=reject']);
    expect(code).toBe(1);
    expect((lines.at(-1) as { error: string }).error).toBe('nobody waits for this');
  });

  for (const kill of ['SIGTERM', 'SIGINT'] as const) {
    test(`ends with 0 on ${kill}, after the program has cleaned up`, async () => {
      const { code, lines } = await run(['--how=clean-up'], { kill });
      expect(code).toBe(0);
      expect(lines.map(({ msg }) => msg)).toStrictEqual(['started', 'ending', 'cleaned up']);
    });
  }

  test('ends with 0 when the program ends by the signal it was given', async () => {
    const { code } = await run(['--how=wait'], { kill: 'SIGTERM' });
    expect(code).toBe(0);
  });

  test('tells of an error while ending', async () => {
    const { lines } = await run(['--how=break-while-ending'], { kill: 'SIGTERM' });
    const last = lines.at(-1) as { level: string; error: string };
    expect(last.level).toBe('warn');
    expect(last.error).toBe('cannot clean up');
  });

  test('ends with 1 when the program does not end in time after a signal', async () => {
    const { code, lines } = await run(['--how=ignore'], { kill: 'SIGTERM' });
    expect(code).toBe(1);
    expect(lines.at(-1)?.msg).toBe('the program did not end in time');
    expect(lines.at(-1)?.limitMs).toBe(500);
  });

  test('logs what the level asks for', async () => {
    const { stderr } = await run(['--log-level=error']);
    expect(stderr).toBe('');
  });
});
