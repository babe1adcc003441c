import { setImmediate } from 'node:timers/promises';
import { Code } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import { DiskPrograms } from './disk-programs.ts';

const OPTIONS = { timeoutMs: 1 };

/** Programs of e7.3 hang until the test ends them; others work. */
function setUp() {
  const started: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const run: Exec = async (program, args, { input = '', onKilled }) => {
    started.push([program, ...args].join(' '));
    if (!`${args.join(' ')} ${input}`.match(/e7\.3\b/)) return { stdout: '', stderr: '' };
    onKilled?.(promise);
    throw new Error('took too long');
  };
  return { started, end: resolve, programs: new DiskPrograms(run, { killMs: 1 }) };
}

for (const [program, args, input] of [
  ['dd', ['if=/dev/etherd/e7.3', 'count=0'], undefined],
  ['e2fsck', ['-p', '/dev/etherd/e7.3'], undefined],
  ['mount', ['-t', 'ext4', '/dev/etherd/e7.3', '/staging'], undefined],
  ['cryptsetup', ['open', '--key-file', '-', '/dev/etherd/e7.3', 'aoe-e7.3-u'], 'secret'],
  ['dmsetup', ['remove', '--retry', 'aoe-e7.3-u'], undefined],
  ['e2fsck', ['-p', '/dev/mapper/aoe-e7.3-u'], undefined],
  ['dd', ['if=/dev/zero', 'of=/dev/mapper/aoe-e7.3-u'], undefined],
  ['dd', ['of=/dev/etherd/flush', 'bs=64'], 'e7.3\0'],
  ['dd', ['of=/dev/etherd/revalidate', 'bs=64'], 'e7.3'],
] as const) {
  test(`after "${program} ${args.join(' ')}" hung, its disk is not touched until that has ended; other disks are`, async () => {
    const { started, end, programs } = setUp();
    const hangs = { code: Code.UNAVAILABLE, message: expect.stringMatching(/^disk e7\.3 does not answer: ".*", started at .*Z, hangs/) };
    await expect(programs.exec(program, args, { ...OPTIONS, ...(input ? { input } : {}) })).rejects.toMatchObject(hangs);
    for (let i = 0; i < 5; i++) {
      await expect(programs.exec('blkid', ['-p', '/dev/etherd/e7.3'], OPTIONS)).rejects.toMatchObject(hangs);
    }
    expect(() => programs.check('e7.3')).toThrow(/hangs/);
    expect(() => programs.check('e7.30')).not.toThrow();
    await programs.exec('blkid', ['-p', '/dev/etherd/e7.30'], OPTIONS);
    await programs.exec('umount', ['/staging'], OPTIONS);
    expect(started).toHaveLength(3);
    end();
    await setImmediate();
    expect(() => programs.check('e7.3')).not.toThrow();
  });
}
