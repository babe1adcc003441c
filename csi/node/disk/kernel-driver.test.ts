import { mkdirSync, mkdtempSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '../../../rpc/status.ts';
import type { Exec } from '../../../run/exec.ts';
import { DriverBusyError, KernelDriver, parseDiskState } from './kernel-driver.ts';

const signal = new AbortController().signal;

/** A kernel with the directories of the driver and no disk. `exec` is what programs do. */
function setUp(exec: Exec = async () => ({ stdout: '', stderr: '' })) {
  const root = mkdtempSync(join(tmpdir(), 'aoe-driver-'));
  const paths = { devices: join(root, 'etherd'), sysfs: join(root, 'sys'), proc: join(root, 'proc') };
  for (const path of [paths.devices, join(paths.sysfs, 'block'), paths.proc]) mkdirSync(path, { recursive: true });
  for (const name of ['discover', 'flush', 'revalidate']) writeFileSync(join(paths.devices, name), '');
  const sysfs = (address: string): string => join(paths.sysfs, 'block', `etherd!${address}`);
  return {
    driver: new KernelDriver(exec, paths),
    paths,
    sysfs,
    /** Makes the disk, as sysfs shows it. */
    add: (address: string, files: Record<string, string> = {}): void => {
      for (const [name, text] of Object.entries({ state: 'up\n', dev: '152:48\n', size: '2048\n', ...files })) {
        mkdirSync(join(sysfs(address), name, '..'), { recursive: true });
        writeFileSync(join(sysfs(address), name), text);
      }
    },
  };
}

for (const [text, state] of [
  ['up\n', 'up'],
  ['up,kickme\n', 'up'],
  ['down\n', 'down'],
  ['down,kickme\n', 'down'],
  ['down,closewait\n', 'closewait'],
] as const) {
  test(`parseDiskState() reads ${JSON.stringify(text)} as ${state}`, () => expect(parseDiskState(text)).toBe(state));
}

test('a disk that sysfs does not have is absent', async () => {
  const { driver } = setUp();
  expect(await driver.state('e7.3')).toBe('absent');
  expect(await driver.disk('e7.3')).toBeUndefined();
});

test('a regular file under the name of a disk is not a disk', async () => {
  const { driver, add, paths } = setUp();
  add('e7.3');
  writeFileSync(join(paths.devices, 'e7.3'), '');
  expect(await driver.disk('e7.3')).toBeUndefined();
});

test('disks() lists the disks of the driver, and no others', async () => {
  const { driver, add, paths } = setUp();
  expect(await driver.disks()).toStrictEqual([]);
  add('e7.3');
  add('e40.1');
  mkdirSync(join(paths.sysfs, 'block/vda'));
  expect((await driver.disks()).toSorted()).toStrictEqual(['e40.1', 'e7.3']);
});

test('madeAt() is when the node of the disk appeared', async () => {
  const { driver, paths } = setUp();
  expect(await driver.madeAt('e7.3')).toBeUndefined();
  writeFileSync(join(paths.devices, 'e7.3'), '');
  expect(Math.abs(((await driver.madeAt('e7.3')) ?? 0) - Date.now())).toBeLessThan(60_000);
});

test('attach() starts a discovery, and gives up after its limit', async () => {
  const { driver, paths } = setUp();
  expect(await driver.attach('e7.3', { timeoutMs: 20, signal })).toBeUndefined();
  expect(readFileSync(join(paths.devices, 'discover'), 'utf8')).toBe('1');
});

test('attach() revalidates a disk that is down and open once: discovery does not change it', async () => {
  const programs: string[] = [];
  const { driver, add } = setUp(async (program, args, { input }) => {
    programs.push([program, args[0], input].join(' '));
    return { stdout: '', stderr: '' };
  });
  add('e7.3', { state: 'down,closewait\n' });
  expect(await driver.attach('e7.3', { timeoutMs: 120, signal })).toBeUndefined();
  expect(programs).toHaveLength(1);
  expect(programs[0] ?? '').toMatch(/^dd of=.*\/revalidate e7\.3$/);
});

test('two disks that hang do not keep a third one waiting', async () => {
  const hanging: Exec = (_program, args) =>
    args.some((each) => /e1\.[01]$/.test(each)) ? new Promise(() => {}) : Promise.resolve({ stdout: '', stderr: '' });
  const { driver, paths } = setUp(hanging);
  writeFileSync(join(paths.devices, 'e2.0'), '');
  for (let i = 0; i < 8; i++) for (const address of ['e1.0', 'e1.1']) driver.isClaimed(address, signal).catch(() => {});
  expect(await driver.isClaimed('e2.0', signal)).toBe(false);
});

test('a disk is opened by a program only when it is opened for the first time', async () => {
  let programs = 0;
  const { driver, add, paths } = setUp(async () => {
    programs++;
    return { stdout: '', stderr: '' };
  });
  add('e7.3', { diskseq: '7\n' });
  writeFileSync(join(paths.devices, 'e7.3'), '');
  for (let i = 0; i < 3; i++) await driver.isClaimed('e7.3', signal);
  expect(programs).toBe(1);
  add('e7.3', { diskseq: '8\n' });
  for (let i = 0; i < 3; i++) await driver.isClaimed('e7.3', signal);
  expect(programs).toBe(2);
});

test('a disk that cannot be opened is an error, and not "not claimed"', async () => {
  const { driver } = setUp(async () => {
    throw new Error('dd: failed to open: No such device');
  });
  await expect(driver.isClaimed('e7.3', signal)).rejects.toThrow(/disk e7\.3 cannot be opened: dd: failed/);
});

test('the stack has partitions, and all that holds the disk or a partition', async () => {
  const { driver, add, paths } = setUp();
  add('e7.3', { 'etherd!e7.3p1/dev': '152:49\n', 'etherd!e7.3p1/holders/dm-0': '', 'holders/md7': '' });
  for (const [name, dev, holder] of [
    ['dm-0', '253:0', 'dm-1'],
    ['md7', '9:7', 'dm-1'],
    ['dm-1', '253:1', undefined],
  ]) {
    mkdirSync(join(paths.sysfs, 'block', name ?? '', 'holders'), { recursive: true });
    writeFileSync(join(paths.sysfs, 'block', name ?? '', 'dev'), `${dev}\n`);
    if (holder) writeFileSync(join(paths.sysfs, 'block', name ?? '', 'holders', holder), '');
  }
  expect(new Set(await driver.stack('e7.3'))).toStrictEqual(new Set(['152:48', '152:49', '253:0', '253:1', '9:7']));
  const openers = await driver.openers('e7.3', signal);
  expect(new Set(openers.map((each) => each.split(' ')[0]))).toStrictEqual(new Set(['/dev/dm-0', '/dev/dm-1', '/dev/md7']));
});

test('who has open what is stacked on the disk, such as the mapping of an encrypted volume, has the disk open', async () => {
  const { driver, add, paths } = setUp();
  add('e7.3', { 'holders/dm-0': '', '../dm-0/dev': '254:0\n', '../dm-0/dm/name': 'aoe-e7.3-u\n' });
  for (const name of ['fd', 'ns']) mkdirSync(join(paths.proc, '77', name), { recursive: true });
  symlinkSync('mnt:[1]', join(paths.proc, '77/ns/mnt'));
  writeFileSync(join(paths.proc, '77/comm'), 'qemu\n');
  writeFileSync(join(paths.proc, '77/mountinfo'), '27 1 254:0 / /data rw - ext4 /dev/mapper/aoe-e7.3-u rw\n');
  expect(await driver.openers('e7.3', signal)).toStrictEqual([
    'a mount at /data, as process 77 (qemu) sees it',
    '/dev/dm-0 (a device that is stacked on the disk)',
  ]);
});

for (const [kernel, files] of [
  ['Linux 5.15', { diskseq: '7\n' }],
  ['an older Linux', {}],
] as const) {
  test(`flush() on ${kernel} takes a disk that discovery brings back at once for another disk`, async () => {
    const it = setUp(async (_program, _args, { input }) => {
      expect(input).toBe('e7.3\0');
      // The old directory is kept, so that the new one cannot get its inode.
      renameSync(it.sysfs('e7.3'), join(it.paths.sysfs, 'gone'));
      it.add('e7.3', 'diskseq' in files ? { diskseq: '8\n' } : {});
      return { stdout: '', stderr: '' };
    });
    it.add('e7.3', files);
    await it.driver.flush('e7.3', AbortSignal.timeout(15_000));
  });
}

test('deadSeconds() reads the parameter of the module, and nothing without the module', async () => {
  const { driver, paths } = setUp();
  expect(await driver.deadSeconds()).toBeUndefined();
  mkdirSync(join(paths.sysfs, 'module/aoe/parameters'), { recursive: true });
  writeFileSync(join(paths.sysfs, 'module/aoe/parameters/aoe_deadsecs'), '180\n');
  expect(await driver.deadSeconds()).toBe(180);
});

/** A kernel with disk e7.3, and e7.4 for whose data it waits; the name of the kernel thread that waits. */
function waiting(thread: string, inflight: string) {
  const programs: string[] = [];
  const it = setUp(async (program, args, { input }) => {
    programs.push(`${program} ${args[0]} ${input}`);
    renameSync(it.sysfs('e7.3'), `${it.sysfs('e7.3')}-gone`);
    return { stdout: '', stderr: '' };
  });
  it.add('e7.3', { inflight: '       0        0\n' });
  it.add('e7.4', { inflight });
  mkdirSync(join(it.paths.proc, '77'));
  writeFileSync(join(it.paths.proc, '77/comm'), `${thread}\n`);
  return { ...it, programs };
}

test('flush() is not begun while the work queue of the driver waits for another disk: it could not be stopped', async () => {
  const { driver, programs } = waiting('kworker/u4:2+aoe_wq', '       1        0\n');
  const error = await driver.flush('e7.3', signal).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(DriverBusyError);
  expect(error).toMatchObject({ code: Code.UNAVAILABLE, message: expect.stringMatching(/waits for data of e7\.4;/) });
  expect(programs).toStrictEqual([]);
}, 20_000);

test('flush() waits no longer for the work queue on a node with many processes', async () => {
  const { driver, paths } = waiting('kworker/u4:2+aoe_wq', '       1        0\n');
  for (let pid = 100; pid < 4_000; pid++) {
    mkdirSync(join(paths.proc, `${pid}`));
    writeFileSync(join(paths.proc, `${pid}/comm`), 'sleep\n');
  }
  const began = performance.now();
  await expect(driver.flush('e7.3', signal)).rejects.toBeInstanceOf(DriverBusyError);
  expect(performance.now() - began).toBeLessThan(15_000);
}, 60_000);

for (const [what, thread, inflight] of [
  ['only uses another disk', 'kworker/u4:2+writeback', '       3        1\n'],
  ['has done its work', 'kworker/u4:2-aoe_wq', '       1        0\n'],
  ['works, and waits for no disk', 'kworker/u4:2+aoe_wq', '       0        0\n'],
] as const) {
  test(`flush() is begun while the kernel ${what}`, async () => {
    const { driver, programs } = waiting(thread, inflight);
    await driver.flush('e7.3', signal);
    expect(programs).toHaveLength(1);
  });
}

test('attach() does not touch a disk for which a program hangs', async () => {
  const { paths } = setUp();
  const refuse = (address: string): void => {
    throw new Error(`${address} hangs`);
  };
  const driver = new KernelDriver(async () => ({ stdout: '', stderr: '' }), paths, {}, refuse);
  await expect(driver.attach('e7.3', { timeoutMs: 20, signal })).rejects.toThrow('e7.3 hangs');
});
