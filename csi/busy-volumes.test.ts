import { Code } from '../rpc/status.ts';
import { BusyVolumes } from './busy-volumes.ts';

test('one operation for a volume at a time; other volumes do not wait', async () => {
  const busy = new BusyVolumes();
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = busy.run('v1', 'NodeStageVolume', () => promise);
  await expect(busy.run('v1', 'NodeUnstageVolume', async () => {})).rejects.toMatchObject({
    code: Code.ABORTED,
    message: 'NodeUnstageVolume of volume v1: NodeStageVolume is still under way, try again later',
  });
  expect(await busy.run('v2', 'NodeStageVolume', async () => 2)).toBe(2);
  resolve();
  await first;
  expect(await busy.run('v1', 'NodeUnstageVolume', async () => 1)).toBe(1);
});

test('an operation that fails does not block the next one', async () => {
  const busy = new BusyVolumes();
  const failing = busy.run('v1', 'x', async () => {
    throw new Error('failed');
  });
  await expect(failing).rejects.toThrow('failed');
  expect(await busy.run('v1', 'x', async () => 1)).toBe(1);
});
