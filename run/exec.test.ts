import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { ExecError, exec } from './exec.ts';

const LIMIT = { timeoutMs: 30_000 };
const sh = (script: string, options: Parameters<typeof exec>[2] = LIMIT) => exec('sh', ['-c', script], options);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function failure(attempt: Promise<unknown>): Promise<ExecError> {
  const error = await attempt.then(
    () => assert.fail('it did not fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ExecError, String(error));
  return error;
}

/** A script that prints something and then runs into its limit. A busy machine may not have come so far at a short one: it gets a longer one. */
async function killedAtLimit(script: string, options: { onKilled?: (ended: Promise<void>) => void } = {}) {
  for (let limitMs = 300; ; limitMs *= 4) {
    const ended: Promise<void>[] = [];
    const started = performance.now();
    const error = await failure(sh(script, { timeoutMs: limitMs, onKilled: (end) => ended.push(end) }));
    if (error.stdout === '' && limitMs < 10_000) continue;
    for (const end of ended) options.onKilled?.(end);
    return { error, limitMs, tookMs: performance.now() - started };
  }
}

describe('exec()', () => {
  test('gives what a program prints', async () => {
    expect(await sh('echo out; echo err >&2')).toStrictEqual({ stdout: 'out\n', stderr: 'err\n' });
  });

  test('gives a program its input', async () => {
    expect((await exec('cat', [], { ...LIMIT, input: 'täglich\n' })).stdout).toBe('täglich\n');
  });

  test('does not mind a program that does not read its input', async () => {
    expect((await exec('true', [], { ...LIMIT, input: 'x'.repeat(1 << 20) })).stdout).toBe('');
  });

  test('passes arguments as they are: there is no shell', async () => {
    const args = ['%s\n', '$HOME; `id` && "quoted" \\ *', ''];
    expect((await exec('printf', args, LIMIT)).stdout).toBe('$HOME; `id` && "quoted" \\ *\n\n');
  });

  test('gives output of many megabytes', async () => {
    const { stdout } = await sh('head -c 5000000 /dev/zero | tr "\\0" x');
    expect(stdout).toHaveLength(5_000_000);
  });

  test('asks programs to speak English', async () => {
    expect((await sh('printf %s "$LC_ALL"')).stdout).toBe('C');
  });

  test('fails with exit status and message of a program that fails', async () => {
    const error = await failure(sh('echo partly; echo no such volume group >&2; exit 5'));
    expect(error.code).toBe(5);
    expect(error.stdout).toBe('partly\n');
    expect(error.stderr).toBe('no such volume group\n');
    expect(error.message).toMatch(/^sh -c .*: exit status 5: no such volume group$/);
  });

  test('names the signal that killed a program', async () => {
    const error = await failure(sh('kill -TERM $$'));
    expect(error.code).toBeUndefined();
    expect(error.message).toMatch(/was killed by SIGTERM$/);
  });

  test('says so when there is no such program', async () => {
    const error = await failure(exec('/no/such/program', ['a'], LIMIT));
    expect(error.code).toBeUndefined();
    expect(error.message).toMatch(/^\/no\/such\/program a: could not be started \(.*ENOENT\)$/);
  });

  test('kills at its limit all that the program has started', async () => {
    const { error, limitMs, tookMs } = await killedAtLimit('sleep 60 & echo $!; wait');
    expect(tookMs).toBeLessThan(limitMs + 15_000);
    expect(error.message).toMatch(`took longer than ${limitMs / 1000} s and was killed`);
    const pid = Number(error.stdout);
    for (const limit = Date.now() + 15_000; isAlive(pid) && Date.now() < limit; ) await delay(10);
    expect(isAlive(pid)).toBe(false);
  });

  test('reports when a program that was killed has really ended, and nothing about one that ended by itself', async () => {
    const killed: Promise<void>[] = [];
    const onKilled = (ended: Promise<void>) => killed.push(ended);
    await sh('true', { ...LIMIT, onKilled });
    await failure(sh('exit 3', { ...LIMIT, onKilled }));
    expect(killed).toHaveLength(0);
    const { error } = await killedAtLimit('echo $$; sleep 60', { onKilled });
    expect(killed).toHaveLength(1);
    await killed[0];
    expect(isAlive(Number(error.stdout))).toBe(false);
  });

  test('ends with the reason of its signal, and kills the program', async () => {
    const stop = new AbortController();
    const reason = new Error('told to end');
    const attempt = sh('sleep 30', { ...LIMIT, signal: stop.signal });
    stop.abort(reason);
    await expect(attempt).rejects.toBe(reason);
    await expect(sh('true', { ...LIMIT, signal: stop.signal })).rejects.toBe(reason);
  });

  test('does not wait for a program left behind that holds the output open, nor kills it', async () => {
    const started = performance.now();
    const { stdout } = await sh('sleep 60 & echo $!');
    expect(performance.now() - started).toBeLessThan(15_000);
    const pid = Number(stdout);
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  describe('with a reader', () => {
    const program = 'i=0; while [ $i -lt 40000 ]; do echo "line $i"; i=$((i+1)); done';

    test('hands over all of a long output, at the pace of the reader, also after the program has ended', async () => {
      let text = '';
      let isReading = false;
      const onOutput = async (part: string): Promise<void> => {
        expect(isReading).toBe(false);
        isReading = true;
        await delay(text === '' ? 800 : 0);
        text += part;
        isReading = false;
      };
      expect(await sh(`${program}; echo warning >&2`, { ...LIMIT, onOutput })).toStrictEqual({ stdout: '', stderr: 'warning\n' });
      expect(text.split('\n')).toHaveLength(40_001);
      expect(text.endsWith('line 39999\n')).toBe(true);
    });

    test('kills the program when its reader fails, and fails likewise', async () => {
      const killed: Promise<void>[] = [];
      const onOutput = () => Promise.reject(new Error('not what was expected'));
      const attempt = sh(`${program}; sleep 30`, { ...LIMIT, onOutput, onKilled: (ended) => killed.push(ended) });
      await expect(attempt).rejects.toThrow('not what was expected');
      expect(killed).toHaveLength(1);
      await killed[0];
    });

    test('kills a program at its limit that waits for its reader', async () => {
      const killed: Promise<void>[] = [];
      const attempt = sh(program, { timeoutMs: 300, onOutput: () => new Promise(() => {}), onKilled: (ended) => killed.push(ended) });
      await expect(attempt).rejects.toThrow(/took longer than 0\.3 s/);
      expect(killed).toHaveLength(1);
      await killed[0];
    });
  });
});
