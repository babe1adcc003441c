import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { type Child, spawn } from './spawn.ts';

const openDescriptors = (): string[] => readdirSync('/proc/self/fd');

async function outputOf(child: Child): Promise<string> {
  const [output] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
  return output;
}

test('a program gets no signal blocked or ignored, though Node.js ignores SIGPIPE', async () => {
  const status = await outputOf(await spawn('grep', ['-E', '^Sig(Blk|Ign)', '/proc/self/status']));
  expect(readFileSync('/proc/self/status', 'utf8')).toMatch(/^SigIgn:\t[0-9a-f]*1000$/m);
  expect(status).toBe(`SigBlk:\t${'0'.repeat(16)}\nSigIgn:\t${'0'.repeat(16)}\n`);
});

test('a program gets its standard streams and none of our descriptors', async () => {
  const expected = execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' });
  const children = await Promise.all([spawn('ls', ['/proc/self/fd']), spawn('ls', ['/proc/self/fd'], 'input')]);
  for (const child of children) expect(await outputOf(child)).toBe(expected);
});

test('a program leads a session of its own', async () => {
  const [pid, , , , group, session] = (await outputOf(await spawn('cat', ['/proc/self/stat']))).split(' ');
  expect([group, session]).toStrictEqual([pid, pid]);
});

test('a hundred programs at once end, and leave no descriptor open', async () => {
  await outputOf(await spawn('true', []));
  const before = openDescriptors();
  const texts = await Promise.all(Array.from({ length: 100 }, async (_, index) => outputOf(await spawn('echo', [String(index)], 'x'))));
  expect(texts).toStrictEqual(Array.from({ length: 100 }, (_, index) => `${index}\n`));
  await expect(spawn('/no/such/program', [], 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  for (const limit = Date.now() + 20_000; openDescriptors().length > before.length && Date.now() < limit; )
    await new Promise((resolve) => setImmediate(resolve));
  expect(openDescriptors()).toStrictEqual(before);
});

test('the exit says how a program ended', async () => {
  const [failed, killed] = await Promise.all([spawn('sh', ['-c', 'exit 7']), spawn('sleep', ['60'])]);
  expect(await failed.exited).toStrictEqual({ code: 7, signal: null });
  killed.kill();
  expect(await killed.exited).toStrictEqual({ code: null, signal: 'SIGKILL' });
  killed.kill();
  for (const child of [failed, killed]) child.closeStreams();
});

test('our children and those of node:child_process do not get in the way of each other', async () => {
  const theirs = Array.from({ length: 20 }, () => promisify(execFile)('sh', ['-c', 'exit 0']));
  const ours = Array.from({ length: 20 }, async () => {
    const child = await spawn('sh', ['-c', 'exit 3']);
    child.closeStreams();
    return child.exited;
  });
  await Promise.all(theirs);
  for (const exit of await Promise.all(ours)) expect(exit.code).toBe(3);
});
