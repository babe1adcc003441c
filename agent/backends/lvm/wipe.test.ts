import { setImmediate } from 'node:timers/promises';
import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import type { Exec } from '../../../run/exec.ts';
import { rangeWiper, type Traits, wiper } from './wipe.ts';

const { signal } = new AbortController();
const SSD: Traits = { writeZeroes: true, discard: true, rotational: false };
const DISK: Traits = { writeZeroes: true, discard: false, rotational: true };
const GiB = 1024 * MiB;

interface Case {
  traits?: Traits;
  extent?: WipeExtent;
  bytes?: number;
  from?: number;
  /** Programs that say that the device cannot do that. */
  refuse?: string[];
}

/** What a wipe does, as `program offset+length` in MiB, and what it says. */
async function wipe({ traits = DISK, extent = 'Full', bytes = 10 * MiB, from = 0, refuse = [] }: Case) {
  const calls: string[] = [];
  const zeroed: number[] = [];
  const run: Exec = async (program, args) => {
    const of = (option: string) => Number(args[args.indexOf(option) + 1]) / MiB;
    const what = args.includes('--punch-hole') ? 'punch' : args.includes('--zero-range') ? 'zero' : program;
    calls.push(what === 'blkdiscard' ? what : `${what} ${of('--offset')}+${of('--length')}`);
    if (refuse.includes(what)) throw Object.assign(new Error('exit 1'), { stderr: `${program}: Operation not supported` });
    return { stdout: '', stderr: '' };
  };
  const onZeroed = async (done: number): Promise<void> => void zeroed.push(done / MiB);
  const cleanness = await wiper(run, async () => traits)('/dev/vg0/x', bytes, { extent, from, onZeroed, signal });
  return { cleanness, calls, zeroed };
}

for (const extent of ['Full', 'Ends'] as const) {
  test(`a device that zeroes itself quickly is zeroed whole: ${extent}`, async () => {
    expect(await wipe({ traits: SSD, extent })).toStrictEqual({ cleanness: 'zeroed', calls: ['punch 0+10'], zeroed: [] });
  });
}

test('any other device is overwritten whole', async () => {
  for (const traits of [
    DISK,
    { writeZeroes: false, discard: true, rotational: false },
    { writeZeroes: false, discard: false, rotational: false },
  ])
    expect(await wipe({ traits })).toStrictEqual({ cleanness: 'zeroed', calls: ['zero 0+10'], zeroed: [10] });
  expect((await wipe({ traits: SSD, refuse: ['punch'] })).calls).toStrictEqual(['punch 0+10', 'zero 0+10']);
});

test('a large volume is overwritten a part at a time, in larger parts where that is fast, from where an earlier process was', async () => {
  const { calls, zeroed } = await wipe({ bytes: 2 * GiB, from: 128 * MiB });
  expect(calls).toStrictEqual(['zero 128+256', 'zero 384+512', 'zero 896+1024', 'zero 1920+128']);
  expect(zeroed).toStrictEqual([384, 896, 1920, 2048]);
});

test('with extent Ends, any other device is discarded where it can, and both ends are overwritten', async () => {
  expect(await wipe({ extent: 'Ends' })).toStrictEqual({ cleanness: 'ends', calls: ['zero 0+1', 'zero 9+1'], zeroed: [] });
  const refuse = ['punch'];
  const discarded = await wipe({ extent: 'Ends', traits: SSD, refuse });
  expect(discarded).toStrictEqual({ cleanness: 'discarded', calls: ['punch 0+10', 'blkdiscard', 'zero 0+1', 'zero 9+1'], zeroed: [] });
  expect((await wipe({ extent: 'Ends', traits: SSD, refuse: ['punch', 'blkdiscard'] })).cleanness).toBe('ends');
  expect((await wipe({ extent: 'Ends', bytes: MiB / 2 })).calls).toStrictEqual(['zero 0+0.5']);
});

test('any other failure is an error: the volume is not clean', async () => {
  const run = () => Promise.reject(Object.assign(new Error('exit 1'), { stderr: 'fallocate: Input/output error' }));
  for (const traits of [SSD, DISK]) {
    const wiped = wiper(run, async () => traits)('/dev/vg0/x', MiB, { extent: 'Full', from: 0, onZeroed: async () => {}, signal });
    await expect(wiped).rejects.toMatchObject({ name: 'BackendError', message: expect.stringMatching(/Input\/output error/) });
  }
});

test('two programs run at a time in each volume group, and a wipe that is stopped begins no other part', async () => {
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const wiped = wiper(
    async (_program, args) => {
      const gate = Promise.withResolvers<void>();
      gates.set(args.at(-1) ?? '', gate);
      await gate.promise;
      return { stdout: '', stderr: '' };
    },
    async () => DISK,
  );
  const stop = new AbortController();
  const begin = (path: string, each = signal) => wiped(path, GiB, { extent: 'Full', from: 0, onZeroed: async () => {}, signal: each });
  const stopped = expect(begin('/dev/vg0/a', stop.signal)).rejects.toThrow('stopped');
  const failed = Promise.allSettled(['/dev/vg0/b', '/dev/vg0/c', '/dev/vg1/d'].map((path) => begin(path)));
  await setImmediate();
  expect([...gates.keys()]).toStrictEqual(['/dev/vg0/a', '/dev/vg0/b', '/dev/vg1/d']);
  stop.abort(new Error('stopped'));
  gates.get('/dev/vg0/a')?.resolve();
  await stopped;
  await setImmediate();
  expect([...gates.keys()]).toContain('/dev/vg0/c');
  for (const gate of gates.values()) gate.reject(new Error('EIO'));
  expect((await failed).map(({ status }) => status)).toStrictEqual(['rejected', 'rejected', 'rejected']);
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
