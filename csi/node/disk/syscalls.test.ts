import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceNumber } from '../../../run/device-number.ts';
import { parseMountinfo } from './mountinfo.ts';
import { bindMount, detachMount, deviceOf } from './syscalls.ts';

const directory = mkdtempSync(join(tmpdir(), 'aoe-syscalls-'));
afterAll(() => rmSync(directory, { recursive: true }));

const can = (program: string, ...args: string[]): boolean => {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

test('deviceOf() gives the device that a file is on', () => {
  expect(deviceOf(directory)).toBe(Object.values(deviceNumber(statSync(directory).dev)).join(':'));
  expect(deviceOf(join(directory, 'missing'))).toBeUndefined();
});

const node = join(directory, 'node');
describe.skipIf(can('mknod', node, 'b', '152', '4660') ? '' : 'no right to make device nodes')('a device node', () => {
  test('is the device that it names', () => expect(deviceOf(node)).toBe('152:4660'));
});

const [source, target] = [join(directory, 'source'), join(directory, 'target')];
for (const path of [source, target]) mkdirSync(path);
const mayMount = can('mount', '--bind', source, target) && can('umount', target);
describe.skipIf(mayMount ? '' : 'no right to mount')('a bind mount', () => {
  const isMounted = (): boolean => parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8')).some((each) => each.target === target);

  test.each([false, true])('comes and goes, lazy: %s', async (lazy) => {
    expect(await bindMount(source, target)).toBe(true);
    expect(isMounted()).toBe(true);
    expect(await detachMount(target, { lazy })).toBe(true);
    expect(isMounted()).toBe(false);
  });

  test('fails on a path that does not exist, and on one where nothing is mounted', async () => {
    expect(await bindMount(source, join(directory, 'missing'))).toBe(false);
    expect(await detachMount(target, { lazy: false })).toBe(false);
  });
});
