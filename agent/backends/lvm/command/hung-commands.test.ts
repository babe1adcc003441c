import { setImmediate } from 'node:timers/promises';
import type { Exec } from '../../../../run/exec.ts';
import { FakeLvm } from '../../../testing/fake-lvm.ts';
import { linearBackend } from '../../../testing/lvm-backends.ts';
import { HungCommands } from './hung-commands.ts';

const { signal } = new AbortController();
const LIMIT = { timeoutMs: 1 };

/** Programs that are killed at their limit, and end when the test says so. */
function machine() {
  const started: { command: string; end: () => void }[] = [];
  const run: Exec = async (program, args, { onKilled }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    started.push({ command: [program, ...args].join(' '), end: resolve });
    onKilled?.(promise);
    throw new Error('took too long');
  };
  return { started, commands: new HungCommands(run, { killMs: 1 }) };
}

test('while a command that was killed has not ended, no other is started in its group', async () => {
  const { started, commands } = machine();
  const hangs = { reason: 'PoolNotReady', message: expect.stringMatching(/^volume group vg0: command "vgs vg0", started at 20.*Z, hangs/) };
  await expect(commands.run('vg0', 'vgs', ['vg0'], LIMIT)).rejects.toMatchObject(hangs);
  await expect(commands.run('vg0', 'lvremove', ['vg0/a'], LIMIT)).rejects.toMatchObject(hangs);
  expect(started).toHaveLength(1);
  await expect(commands.run('vg1', 'vgs', ['vg1'], LIMIT)).rejects.toThrow('"vgs vg1"');
  started[0]?.end();
  await setImmediate();
  await expect(commands.run('vg0', 'lvremove', ['vg0/a'], LIMIT)).rejects.toThrow('"lvremove vg0/a"');
  expect(started.map(({ command }) => command)).toStrictEqual(['vgs vg0', 'vgs vg1', 'lvremove vg0/a']);
});

test('a command that ends when it is killed is no reason to wait', async () => {
  const run: Exec = async (_program, _args, { onKilled }) => {
    onKilled?.(Promise.resolve());
    throw new Error('took too long');
  };
  const commands = new HungCommands(run, { killMs: 60_000 });
  await expect(commands.run('vg0', 'vgs', ['vg0'], LIMIT)).rejects.toThrow('took too long');
  await expect(commands.run('vg0', 'vgs', ['vg0'], LIMIT)).rejects.toThrow('took too long');
});

test('a pool of which a command hangs is not ready, starts nothing more, and is ready again when the command has ended', async () => {
  const fake = new FakeLvm();
  const backend = linearBackend(fake);
  const { promise, resolve } = Promise.withResolvers<void>();
  fake.hangs = promise;
  const message = expect.stringMatching(/command "vgs vg0", started at .*, hangs and cannot be killed/);
  expect(await backend.measure(signal)).toMatchObject({ ready: false, message });
  expect(await backend.measure(signal)).toMatchObject({ ready: false, message });
  const hung = { reason: 'PoolNotReady', message };
  await expect(backend.create({ uid: 'u-1', name: 'pvc-1', bytes: 1 << 20 }, signal)).rejects.toMatchObject(hung);
  await expect(backend.open('u-1', signal)).rejects.toMatchObject(hung);
  await expect(backend.remove('u-1', signal)).rejects.toMatchObject(hung);
  expect(fake.calls).toStrictEqual(['vgs']);
  fake.hangs = undefined;
  resolve();
  await setImmediate();
  expect(await backend.measure(signal)).toMatchObject({ ready: true });
});
