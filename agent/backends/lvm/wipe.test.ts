import { setImmediate } from 'node:timers/promises';
import type { WipeExtent } from '../../../api/pool.ts';
import { MiB } from '../../../api/quantity.ts';
import type { Exec } from '../../../run/exec.ts';
import { BackendError } from '../backend.ts';
import { type Traits, Wiper } from './wipe.ts';

const { signal } = new AbortController();
const SSD: Traits = { writeZeroes: true, discard: true, rotational: false };
const DISK: Traits = { writeZeroes: true, discard: false, rotational: true };
const GiB = 1024 * MiB;

interface Case {
  traits?: Traits;
  wipeExtent?: WipeExtent;
  bytes?: number;
  from?: number;
  /** Programs that say that the device cannot do that. */
  refuse?: string[];
  /** Mebibytes in a second; without end when it is undefined. */
  speed?: number;
  /** A part during which the program is killed at its limit. */
  late?: string;
  /** The killed program does not end. */
  hangs?: boolean;
}

/** What a wipe does, as `program offset+length` in MiB, and what it says. */
async function wipe({
  traits = DISK,
  wipeExtent = 'Full',
  bytes = 10 * MiB,
  from = 0,
  refuse = [],
  speed = Number.POSITIVE_INFINITY,
  late,
  hangs = false,
}: Case) {
  const calls: string[] = [];
  const zeroed: number[] = [];
  let now = 0;
  const run: Exec = async (program, args, { onKilled }) => {
    const of = (option: string) => Number(args[args.indexOf(option) + 1]) / MiB;
    const what = args.includes('--punch-hole') ? 'punch' : args.includes('--zero-range') ? 'zero' : program;
    const call = `${what} ${of('--offset')}+${of('--length')}`;
    calls.push(call);
    if (refuse.includes(what)) throw Object.assign(new Error('exit 1'), { stderr: `${program}: Operation not supported` });
    if (call === late) {
      onKilled?.(hangs ? new Promise(() => {}) : Promise.resolve());
      throw new Error('took too long');
    }
    now += (of('--length') / speed) * 1000;
    return { stdout: '', stderr: '' };
  };
  const onZeroed = async (done: number): Promise<void> => void zeroed.push(done / MiB);
  const wiper = new Wiper(
    run,
    async () => traits,
    () => now,
  );
  const cleanness = await wiper
    .wipe('/dev/vg0/x', bytes, { wipeExtent, from, onZeroed, signal })
    .catch((error: unknown) => (error instanceof BackendError ? error.reason : String(error)));
  return { cleanness, calls, zeroed };
}

for (const wipeExtent of ['Full', 'Ends'] as const) {
  test(`a device that zeroes itself quickly is zeroed whole: ${wipeExtent}`, async () => {
    expect(await wipe({ traits: SSD, wipeExtent })).toStrictEqual({ cleanness: 'zeroed', calls: ['punch 0+10'], zeroed: [10] });
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

test('with wipeExtent Ends, any other device is discarded where it can, and both ends are overwritten', async () => {
  expect(await wipe({ wipeExtent: 'Ends' })).toStrictEqual({ cleanness: 'ends', calls: ['zero 0+1', 'zero 9+1'], zeroed: [] });
  const refuse = ['punch'];
  const discarded = await wipe({ wipeExtent: 'Ends', traits: SSD, refuse });
  expect(discarded).toStrictEqual({ cleanness: 'discarded', calls: ['punch 0+10', 'blkdiscard 0+10', 'zero 0+1', 'zero 9+1'], zeroed: [] });
  expect((await wipe({ wipeExtent: 'Ends', traits: SSD, refuse: ['punch', 'blkdiscard'] })).cleanness).toBe('ends');
  expect((await wipe({ wipeExtent: 'Ends', bytes: MiB / 2 })).calls).toStrictEqual(['zero 0+0.5']);
});

test('a device that zeroes itself, however slowly, is zeroed a part at a time, from where an earlier process was', async () => {
  const parts = { bytes: 1024 * MiB, from: 384 * MiB };
  const { cleanness, calls, zeroed } = await wipe({ traits: SSD, speed: 40, ...parts });
  expect(cleanness).toBe('zeroed');
  expect(calls).toStrictEqual(['punch 384+256', 'punch 640+128', 'punch 768+128', 'punch 896+128']);
  expect(zeroed).toStrictEqual([640, 768, 896, 1024]);
});

test('where a device that zeroes itself does not do that in time, the next best goes on from there', async () => {
  const slow: Case = { traits: SSD, speed: 100, bytes: GiB, late: 'punch 512+256' };
  const full = await wipe(slow);
  expect(full.cleanness).toBe('zeroed');
  expect(full.calls).toStrictEqual(['punch 0+256', 'punch 256+256', 'punch 512+256', 'zero 512+256', 'zero 768+256']);
  expect(full.zeroed).toStrictEqual([256, 512, 768, 1024]);
  const ends = await wipe({ ...slow, wipeExtent: 'Ends' });
  expect(ends.cleanness).toBe('discarded');
  expect(ends.calls.slice(2), 'what is zeros stays zeros').toStrictEqual([
    ...['punch 512+256', 'blkdiscard 512+256', 'blkdiscard 768+256'],
    ...['zero 0+1', 'zero 1023+1'],
  ]);
  expect(ends.zeroed).toStrictEqual([256, 512]);
});

test('with wipeExtent Ends, a device has a minute and five seconds for each GiB to zero or discard', async () => {
  const { cleanness, calls, zeroed } = await wipe({ traits: SSD, speed: 10, bytes: 4 * GiB, wipeExtent: 'Ends' });
  expect(cleanness).toBe('ends');
  // 83 s at 10 MiB/s: it has 80.
  expect(zeroed.at(-1)).toBe(832);
  expect(calls.filter((call) => call.startsWith('blkdiscard'))).toHaveLength(9);
  expect(calls.slice(-2)).toStrictEqual(['zero 0+1', 'zero 4095+1']);
});

test('while a program that was killed has not ended, nothing else is done to the device', async () => {
  const hung = await wipe({ traits: SSD, speed: 100, bytes: GiB, late: 'punch 256+256', hangs: true });
  expect(hung).toStrictEqual({ cleanness: 'PoolNotReady', calls: ['punch 0+256', 'punch 256+256'], zeroed: [256] });
}, 10_000);

test('any other failure is an error: the volume is not clean', async () => {
  const run = () => Promise.reject(Object.assign(new Error('exit 1'), { stderr: 'fallocate: Input/output error' }));
  for (const traits of [SSD, DISK]) {
    const wiped = new Wiper(run, async () => traits).wipe('/dev/vg0/x', MiB, {
      wipeExtent: 'Full',
      from: 0,
      onZeroed: async () => {},
      signal,
    });
    await expect(wiped).rejects.toMatchObject({ name: 'BackendError', message: expect.stringMatching(/Input\/output error/) });
  }
});

test('two programs run at a time in each volume group, and a wipe that is stopped begins no other part', async () => {
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const wiper = new Wiper(
    async (_program, args) => {
      const gate = Promise.withResolvers<void>();
      gates.set(args.at(-1) ?? '', gate);
      await gate.promise;
      return { stdout: '', stderr: '' };
    },
    async () => DISK,
  );
  const stop = new AbortController();
  const begin = (path: string, each = signal) =>
    wiper.wipe(path, GiB, { wipeExtent: 'Full', from: 0, onZeroed: async () => {}, signal: each });
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

test('a part of a device is zeroed a step at a time, and says how far it has come', async () => {
  const calls: string[] = [];
  const run: Exec = async (program, args) => {
    calls.push([program, ...args].join(' '));
    return { stdout: '', stderr: '' };
  };
  const ends: number[] = [];
  const onZeroed = async (end: number): Promise<void> => void ends.push(end / MiB);
  await new Wiper(run).zero('/dev/vg0/x', { from: 4 * MiB, to: 300 * MiB }, { onZeroed, signal });
  expect(calls).toStrictEqual([
    `fallocate --zero-range --offset ${4 * MiB} --length ${256 * MiB} /dev/vg0/x`,
    `fallocate --zero-range --offset ${260 * MiB} --length ${40 * MiB} /dev/vg0/x`,
  ]);
  expect(ends).toStrictEqual([260, 300]);
});
