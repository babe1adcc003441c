import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../rpc/status.ts';
import { block, context, fails, setUp } from '../testing/calls.ts';

test('stats of an unknown path are NOT_FOUND; a disk that is down is an abnormal condition', async () => {
  const { disk, service, stage, stagingTargetPath } = setUp();
  const ask = (volumePath: string) => service.nodeGetVolumeStats({ volumeId: 'v1', volumePath }, context);
  await assert.rejects(ask('/nowhere'), fails(Code.NOT_FOUND, /not published/));
  await stage();
  const good = await ask(stagingTargetPath);
  assert.deepEqual(
    good.usage?.map((each) => each.unit),
    [1, 2],
  );
  assert.equal(good.volumeCondition?.abnormal, false);
  Object.assign(disk(), { state: 'closewait' });
  const bad = await ask(stagingTargetPath);
  assert.equal(bad.volumeCondition?.abnormal, true);
  assert.match(bad.volumeCondition?.message ?? '', /down,closewait/);
});

test('stats of a raw block volume are the size of the disk', async () => {
  const { node, service, stage, targetPath } = setUp();
  await stage(block);
  await node.mounter.mount('/dev/etherd/e7.3', targetPath, { options: ['bind'] });
  const { usage } = await service.nodeGetVolumeStats({ volumeId: 'v1', volumePath: targetPath }, context);
  assert.deepEqual(
    usage?.map(({ unit, total }) => [unit, Number(total)]),
    [[1, 64 << 20]],
  );
});
