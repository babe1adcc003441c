import { setImmediate } from 'node:timers/promises';
import type { Exec } from '../exec.ts';
import { HungPrograms } from './hung-programs.ts';

/** Programs that are killed at their limit or by the signal, and end when the test says so. */
function setUp(killMs = 1) {
  const started: { command: string; end: () => void }[] = [];
  const run: Exec = async (program, args, { onKilled, signal }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    started.push({ command: [program, ...args].join(' '), end: resolve });
    onKilled?.(promise);
    throw signal?.aborted ? new Error('aborted') : new Error('took too long');
  };
  const refuse = (key: string, { program, args }: { program: string; args: readonly string[] }) =>
    new Error(`${key}: "${program} ${args.join(' ')}" hangs`);
  return { started, programs: new HungPrograms(run, { refuse, killMs }) };
}
const LIMIT = { timeoutMs: 1 };

test('while a program that was killed has not ended, no other is started for its key', async () => {
  const { started, programs } = setUp();
  await expect(programs.run('a', 'dd', ['1'], LIMIT)).rejects.toThrow('a: "dd 1" hangs');
  await expect(programs.run('a', 'mkfs', ['2'], LIMIT)).rejects.toThrow('a: "dd 1" hangs');
  expect(() => programs.check('a')).toThrow('"dd 1"');
  expect(() => programs.check('b')).not.toThrow();
  await expect(programs.run('b', 'dd', ['3'], LIMIT)).rejects.toThrow('b: "dd 3" hangs');
  started[0]?.end();
  await setImmediate();
  expect(() => programs.check('a')).not.toThrow();
  expect(started.map(({ command }) => command)).toStrictEqual(['dd 1', 'dd 3']);
});

test('a program that the signal has killed counts, too, and its caller gets the reason at once', async () => {
  const { programs } = setUp(60_000);
  const killed: Promise<void>[] = [];
  const options = { timeoutMs: 1, signal: AbortSignal.abort(), onKilled: (end: Promise<void>) => killed.push(end) };
  await expect(programs.run('a', 'e2fsck', [], options)).rejects.toThrow('aborted');
  expect(killed).toHaveLength(1);
  expect(() => programs.check('a')).toThrow('hangs');
});

test('the next program waits for one that was killed a moment ago, and is started when that has ended', async () => {
  const { started, programs } = setUp(60_000);
  await expect(programs.run('a', 'vgs', [], { timeoutMs: 1, signal: AbortSignal.abort() })).rejects.toThrow('aborted');
  const stop = new AbortController();
  const next = programs.run('a', 'lvremove', [], { timeoutMs: 1, signal: stop.signal });
  const impatient = programs.run('a', 'lvcreate', [], { timeoutMs: 1, signal: AbortSignal.timeout(5) });
  await expect(impatient).rejects.toMatchObject({ name: 'TimeoutError' });
  expect(started.map(({ command }) => command)).toStrictEqual(['vgs']);
  started[0]?.end();
  await setImmediate();
  await setImmediate();
  expect(started.map(({ command }) => command)).toStrictEqual(['vgs', 'lvremove']);
  stop.abort(new Error('stopped'));
  await expect(next).rejects.toThrow('stopped');
});
