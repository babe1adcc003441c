import { FakeLvm } from '../../../testing/fake-lvm.ts';
import { LvmCli } from './cli.ts';
import { failed } from './failed.ts';

const { signal } = new AbortController();

test('a group without volumes is read by a second report', async () => {
  const fake = new FakeLvm();
  expect(await new LvmCli(fake.run, 'x').report('vg0', signal)).toMatchObject({ name: 'vg0', volumes: [] });
  expect(fake.calls).toStrictEqual(['vgs', 'vgs']);
});

test('a group that is missing is a missing pool, with what to do; any other failure has the words of LVM', async () => {
  const fake = new FakeLvm();
  fake.present = false;
  await expect(new LvmCli(fake.run, 'x').report('vg0', signal)).rejects.toMatchObject({
    reason: 'PoolMissing',
    message: expect.stringContaining('vgcreate vg0'),
  });
  const broken = () => Promise.reject(Object.assign(new Error('exit 5'), { stderr: '  WARNING: x\n  Device busy\n\n  Giving up\n' }));
  await expect(new LvmCli(broken, 'x').report('vg0', signal)).rejects.toMatchObject({
    reason: 'BackendFailed',
    message: 'reading volume group vg0: Device busy; Giving up',
  });
  expect(failed('trying', new Error('could not be started')).message).toBe('trying: could not be started');
});

test('commands that change something are quiet, and are not stopped with the agent', async () => {
  const calls: { args: readonly string[]; signal: AbortSignal | undefined }[] = [];
  const run = async (_program: string, args: readonly string[], options: { signal?: AbortSignal | undefined }) => {
    calls.push({ args, signal: options.signal });
    return { stdout: '', stderr: '' };
  };
  await new LvmCli(run, 'x').change('vg0', 'lvremove', ['vg0/a']);
  expect(calls).toStrictEqual([{ args: ['--config', 'x', '--yes', '--quiet', 'vg0/a'], signal: undefined }]);
});

test('a group is shared by all its pools', () => {
  const lvm = new LvmCli(new FakeLvm().run, 'x');
  expect(lvm.group('vg0')).toBe(lvm.group('vg0'));
  expect(lvm.group('vg0')).not.toBe(lvm.group('vg1'));
});
