import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Discovery } from './discovery.ts';

const signal = new AbortController().signal;
const newDirectory = () => mkdtempSync(join(tmpdir(), 'aoe-discovery-'));
const never = async () => undefined;

test('a disk that is there already needs no discovery', async () => {
  const discovery = new Discovery(newDirectory(), async () => {
    throw new Error('asked');
  });
  expect(await discovery.waitFor('e7.3', async () => 'disk', { timeoutMs: 1_000, signal })).toBe('disk');
});

test('all who wait share discoveries, and each checks only its own disk: the work does not grow with the square of their number', async () => {
  const directory = newDirectory();
  const names = Array.from({ length: 100 }, (_, slot) => `e7.${slot}`);
  const present = new Set<string>();
  let discoveries = 0;
  let checks = 0;
  const start = performance.now();
  const discovery = new Discovery(directory, async () => {
    discoveries++;
    if (discoveries > 1) return;
    // The kernel creates the disks one after the other, and writes to each node several times.
    for (const name of names) {
      present.add(name);
      for (let i = 0; i < 3; i++) writeFileSync(join(directory, name), '');
      await delay(1);
    }
  });
  const check = async (name: string) => {
    checks++;
    return present.has(name) ? name : undefined;
  };
  expect(await Promise.all(names.map((name) => discovery.waitFor(name, () => check(name), { timeoutMs: 60_000, signal })))).toEqual(names);
  const seconds = (performance.now() - start) / 1000;
  expect(discoveries).toBeLessThanOrEqual(1 + seconds);
  // Two at the start, one at each event or poll: the events of the other 99 disks cause none.
  expect(checks).toBeLessThan(names.length * (5 + 3 * seconds));
});

test('an event of its disk ends the wait', async () => {
  const directory = newDirectory();
  let isThere = false;
  const discovery = new Discovery(directory, async () => {
    setImmediate(() => {
      isThere = true;
      writeFileSync(join(directory, 'e7.3'), '');
    });
  });
  expect(await discovery.waitFor('e7.3', async () => isThere || undefined, { timeoutMs: 60_000, signal })).toBe(true);
});

test('a directory that cannot be watched is polled: fs.watch() throws, as it does when no inotify instance is left', async () => {
  let checks = 0;
  const discovery = new Discovery('/no/such/directory', async () => {});
  const check = async () => (++checks > 4 ? 'disk' : undefined);
  const start = performance.now();
  expect(await discovery.waitFor('e7.3', check, { timeoutMs: 60_000, signal })).toBe('disk');
  expect(performance.now() - start).toBeGreaterThan(2 * 45);
});

test('a discovery that fails ends the wait of all', async () => {
  const discovery = new Discovery(newDirectory(), async () => {
    throw new Error('no driver');
  });
  const waits = ['e7.3', 'e7.4'].map((name) => discovery.waitFor(name, never, { timeoutMs: 60_000, signal }));
  for (const { status } of await Promise.allSettled(waits)) expect(status).toBe('rejected');
});

test('an abort and the limit end the wait', async () => {
  const discovery = new Discovery(newDirectory(), async () => {});
  await expect(discovery.waitFor('e7.3', never, { timeoutMs: 60_000, signal: AbortSignal.timeout(10) })).rejects.toThrow();
  expect(await discovery.waitFor('e7.3', never, { timeoutMs: 10, signal })).toBeUndefined();
});
