import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExecError, type ExecOptions } from '../../../run/exec.ts';
import type { MountPoint } from '../contracts.ts';
import { deviceOf } from '../disk/syscalls.ts';
import { SystemFreezer } from './freezer.ts';

const { signal } = new AbortController();
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aoe-freezer-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A freezer whose fsfreeze does this. */
function freezerOf(fsfreeze: (args: readonly string[], options: ExecOptions) => Promise<void>, mounts?: Partial<MountPoint>[]) {
  const calls: string[][] = [];
  const mount = { id: '1', root: '/', target: directory, options: [], type: 'ext4', source: '', superOptions: [] };
  const device = deviceOf(directory) ?? '';
  const list = async () => (mounts ?? [{ device }]).map((each) => ({ device, ...mount, ...each }));
  const exec = async (program: string, args: readonly string[], options: ExecOptions) => {
    calls.push([program, ...args]);
    await fsfreeze(args, options);
    return { stdout: '', stderr: '' };
  };
  const proc = join(directory, 'proc');
  mkdirSync(proc, { recursive: true });
  return { freezer: new SystemFreezer(exec, { list }, { proc, thawMs: 20 }), device, calls, proc };
}
const failing = (stderr: string) => async () => {
  throw new ExecError('fsfreeze', 'exit status 1', 1, { stdout: '', stderr });
};
const options = { timeoutMs: 1_000, signal };

test('the program is given what was opened and compared, not a path that may show another file system by then', async () => {
  let shown: string | undefined;
  const { freezer, device, calls } = freezerOf(async (args) => {
    shown = deviceOf(args[1] ?? '');
  });
  await freezer.freeze(device, options);
  expect(calls).toEqual([['fsfreeze', '--freeze', expect.stringMatching(`^/proc/${process.pid}/fd/[0-9]+$`)]]);
  expect(shown).toBe(device);
  expect(await freezer.isFreezing(device)).toBe(false);
});

test('the whole file system is preferred to a part of it, which may be a file', async () => {
  const file = join(directory, 'file');
  writeFileSync(file, '');
  const { freezer, device, calls } = freezerOf(async () => {}, [{ target: file, root: '/file' }, {}]);
  expect(await freezer.thaw(device)).toBe('thawed');
  expect(calls).toEqual([['fsfreeze', '--unfreeze', directory]]);
});

test('nothing is frozen where the device is not mounted, or another one is', async () => {
  const { freezer, calls } = freezerOf(async () => {}, [{ device: '250:1' }]);
  await expect(freezer.freeze('250:2', options)).rejects.toThrow('is not mounted');
  await expect(freezer.freeze('250:1', options)).rejects.toThrow('another file system');
  expect(calls).toEqual([]);
  expect(await freezer.thaw('4095:1')).toBe('gone');
});

test('what fsfreeze says is understood', async () => {
  const busy = freezerOf(failing('fsfreeze: /mnt: freeze failed: Device or resource busy'));
  await expect(busy.freezer.freeze(busy.device, options)).rejects.toMatchObject({ isOfOther: true });
  const other = freezerOf(failing('fsfreeze: /mnt: freeze failed: Operation not supported'));
  await expect(other.freezer.freeze(other.device, options)).rejects.toMatchObject({ isOfOther: false, message: /Operation not supported/ });
  const thawed = freezerOf(failing('fsfreeze: /mnt: unfreeze failed: Invalid argument'));
  expect(await thawed.freezer.thaw(thawed.device)).toBe('notFrozen');
  const failed = freezerOf(failing('fsfreeze: /mnt: unfreeze failed: Input/output error'));
  await expect(failed.freezer.thaw(failed.device)).rejects.toThrow('Input/output error');
});

test('a freeze that was killed may still take effect until its program has ended', async () => {
  const ended = Promise.withResolvers<void>();
  const { freezer, device } = freezerOf(async (_args, { onKilled }) => {
    onKilled?.(ended.promise);
    throw new ExecError('fsfreeze', 'took longer than 1 s and was killed', undefined, { stdout: '', stderr: '' });
  });
  await expect(freezer.freeze(device, options)).rejects.toThrow('took longer');
  expect(await freezer.isFreezing(device)).toBe(true);
  expect(await freezer.isFreezing('250:2'), 'it is of another disk').toBe(false);
  ended.resolve();
  await ended.promise;
  await Promise.resolve();
  expect(await freezer.isFreezing(device)).toBe(false);
});

test('one program at a time thaws a disk that does not answer', async () => {
  const ended = Promise.withResolvers<void>();
  const { freezer, device, calls } = freezerOf(async (_args, { onKilled }) => {
    if (calls.length > 1) return;
    onKilled?.(ended.promise);
    throw new ExecError('fsfreeze', 'took longer than 10 s and was killed', undefined, { stdout: '', stderr: '' });
  });
  await expect(freezer.thaw(device)).rejects.toThrow('took longer');
  await expect(freezer.thaw(device)).rejects.toThrow('waits for the disk');
  expect(calls).toHaveLength(1);
  const next = freezer.thaw(device);
  ended.resolve();
  expect(await next).toBe('thawed');
  expect(calls).toHaveLength(2);
});

test('of the programs of this node, those that only thaw are no freeze', async () => {
  const { freezer, device, proc } = freezerOf(async () => {});
  const put = (pid: string, comm: string, parent: number, syscall: string): void => {
    mkdirSync(join(proc, pid));
    for (const [name, text] of [
      ['comm', comm],
      ['stat', `${pid} (${comm}) D ${parent} 1 1 0 -1`],
      ['syscall', syscall],
    ] as const)
      writeFileSync(join(proc, pid, name), `${text}\n`);
  };
  const waits = (request: string) => `16 0x3 ${request} 0x0 0x0 0x0 0x0 0x7ffd 0x7f25`;
  put('1', 'systemd', 0, 'running');
  put('10', 'fsfreeze', process.pid, 'running');
  put('11', 'fsfreeze', 1, waits('0xc0045878'));
  expect(await freezer.isFreezing(device)).toBe(false);
  for (const [pid, syscall] of [
    ['12', waits('0xc0045877')],
    ['13', 'running'],
  ] as const) {
    put(pid, 'fsfreeze', 1, syscall);
    expect(await freezer.isFreezing(device), syscall).toBe(true);
    rmSync(join(proc, pid), { recursive: true });
  }
});
