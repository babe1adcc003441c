import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { limited, rangeWiper, type Traits, wiper, zeroEnds } from './wipe.ts';

const signal = new AbortController().signal;
const ssd: Traits = { writeZeroes: true, discard: true, rotational: false };

async function wipe(traits: Traits, refuse: string[] = []): Promise<{ cleanness: string; calls: string[] }> {
  const calls: string[] = [];
  const run = async (command: string) => {
    calls.push(command);
    if (refuse.includes(command)) throw Object.assign(new Error('exit 1'), { stderr: `${command}: Operation not supported` });
    return { stdout: '', stderr: '' };
  };
  const ends = async (): Promise<void> => {
    calls.push('ends');
  };
  const cleanness = await wiper(run, async () => traits, ends)('/dev/x', 10 * MiB, signal);
  return { cleanness, calls };
}

test('a device that zeroes itself is zeroed whole', async () => {
  expect(await wipe(ssd)).toStrictEqual({ cleanness: 'zeroed', calls: ['fallocate', 'ends'] });
});

test('a device that only claims to zero itself is discarded', async () => {
  expect(await wipe(ssd, ['fallocate'])).toStrictEqual({ cleanness: 'discarded', calls: ['fallocate', 'blkdiscard', 'ends'] });
});

test('a spinning disk has its ends zeroed', async () => {
  expect(await wipe({ writeZeroes: true, discard: false, rotational: true })).toStrictEqual({ cleanness: 'ends', calls: ['ends'] });
});

test('any other failure is an error: the volume is not clean', async () => {
  const run = async () => {
    throw Object.assign(new Error('exit 1'), { stderr: 'blkdiscard: Input/output error' });
  };
  await expect(wiper(run, async () => ssd)('/dev/x', MiB, signal)).rejects.toMatchObject({
    name: 'BackendError',
    message: expect.stringMatching(/Input\/output error/),
  });
});

test('the ends are zeroed, and nothing else', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aoe-wipe-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  for (const bytes of [3 * MiB, MiB + 512, 4096]) {
    const path = join(directory, String(bytes));
    await writeFile(path, Buffer.alloc(bytes, 7));
    await zeroEnds(path, bytes);
    const found = await readFile(path);
    expect(found.length).toBe(bytes);
    expect(found.subarray(0, MiB).every((byte) => byte === 0)).toBe(true);
    expect(found.subarray(-MiB).every((byte) => byte === 0)).toBe(true);
    expect(found.subarray(MiB, bytes - MiB).every((byte) => byte === 7)).toBe(true);
  }
});

test('only so many volumes are wiped at a time, a failure makes room, and what is stopped does not begin', async () => {
  const gates: PromiseWithResolvers<'zeroed'>[] = [];
  const wipe = limited(async () => {
    const gate = Promise.withResolvers<'zeroed'>();
    gates.push(gate);
    return gate.promise;
  }, 2);
  const stop = new AbortController();
  const all = Promise.allSettled([signal, signal, stop.signal, signal].map((each) => wipe('/dev/x', MiB, each)));
  await new Promise(setImmediate);
  expect(gates).toHaveLength(2);
  stop.abort(new Error('stopped'));
  gates[0]?.reject(new Error('EIO'));
  await new Promise(setImmediate);
  expect(gates).toHaveLength(3);
  for (const gate of gates) gate.resolve('zeroed');
  expect((await all).map((each) => (each.status === 'fulfilled' ? each.value : String(each.reason)))).toStrictEqual([
    'Error: EIO',
    'zeroed',
    'Error: stopped',
    'zeroed',
  ]);
});

test('a part of a device is zeroed and flushed, while the device is in use', async () => {
  const calls: string[] = [];
  const run = async (command: string, args: readonly string[]) => {
    calls.push([command, ...args].join(' '));
    return { stdout: '', stderr: '' };
  };
  await rangeWiper(run)('/dev/vg0/x', { from: 4 * MiB, to: 10 * MiB }, signal);
  expect(calls).toStrictEqual([
    `blkdiscard --zeroout --force --offset ${4 * MiB} --length ${6 * MiB} --step ${1024 * MiB} /dev/vg0/x`,
    'sync --data /dev/vg0/x',
  ]);
  const fails = async () => {
    throw Object.assign(new Error('exit 1'), { stderr: 'blkdiscard: Input/output error' });
  };
  await expect(rangeWiper(fails)('/dev/vg0/x', { from: 0, to: MiB }, signal)).rejects.toMatchObject({ name: 'BackendError' });
});
