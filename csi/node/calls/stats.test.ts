import { Code } from '../../../rpc/status.ts';
import { block, context, fails, setUp } from '../testing/calls.ts';

test('stats of an unknown path are NOT_FOUND; a disk that is down is an abnormal condition', async () => {
  const { disk, service, stage, stagingTargetPath } = setUp();
  const ask = (volumePath: string) => service.nodeGetVolumeStats({ volumeId: 'v1', volumePath }, context);
  await expect(ask('/nowhere')).rejects.toSatisfy(fails(Code.NOT_FOUND, /not published/));
  await stage();
  const good = await ask(stagingTargetPath);
  expect(good.usage?.map((each) => each.unit)).toStrictEqual([1, 2]);
  expect(good.volumeCondition?.abnormal).toBe(false);
  Object.assign(disk(), { state: 'closewait' });
  const bad = await ask(stagingTargetPath);
  expect(bad.volumeCondition?.abnormal).toBe(true);
  expect(bad.volumeCondition?.message ?? '').toMatch(/down,closewait/);
});

test('stats of a raw block volume are the size of the disk', async () => {
  const { node, service, stage, targetPath } = setUp();
  await stage(block);
  await node.mounter.mount('/dev/etherd/e7.3', targetPath, { options: ['bind'] });
  const { usage } = await service.nodeGetVolumeStats({ volumeId: 'v1', volumePath: targetPath }, context);
  expect(usage?.map(({ unit, total }) => [unit, Number(total)])).toStrictEqual([[1, 64 << 20]]);
});
