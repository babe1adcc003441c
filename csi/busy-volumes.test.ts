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

test('access, size and limits of a volume change at the same time; whatever else is done with it is done alone', async () => {
  const busy = new BusyVolumes();
  const parts = [
    ['ControllerPublishVolume', 'ControllerUnpublishVolume'],
    ['ControllerExpandVolume'],
    ['ControllerModifyVolume'],
    ['CreateVolume'],
    ['DeleteVolume'],
  ] as const;
  const isAlone = (part: readonly string[]): boolean => part[0] === 'CreateVolume' || part[0] === 'DeleteVolume';
  for (const one of parts) {
    for (const other of parts) {
      for (const [first, second] of one.flatMap((a) => other.map((b) => [a, b] as const))) {
        const end = Promise.withResolvers<void>();
        const running = busy.run('v', first, () => end.promise);
        const ran = await busy.run('v', second, async () => true).catch(({ code }: { code: Code }) => code);
        expect(ran, `${first}, ${second}`).toBe(one !== other && !isAlone(one) && !isAlone(other) ? true : Code.ABORTED);
        end.resolve();
        await running;
      }
    }
  }
});

test('what is alone waits for the last of those that run together', async () => {
  const busy = new BusyVolumes();
  const growth = Promise.withResolvers<void>();
  const expand = busy.run('v', 'ControllerExpandVolume', () => growth.promise);
  await busy.run('v', 'ControllerUnpublishVolume', async () => {});
  await expect(busy.run('v', 'DeleteVolume', async () => {})).rejects.toMatchObject({
    code: Code.ABORTED,
    message: expect.stringMatching(/ControllerExpandVolume is still under way/),
  });
  growth.resolve();
  await expand;
  expect(await busy.run('v', 'DeleteVolume', async () => 1)).toBe(1);
});
