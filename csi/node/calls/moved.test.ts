import assert from 'node:assert/strict';
import { Code } from '../../../rpc/status.ts';
import { context, fails, mountOf, setUp } from '../testing/calls.ts';

/** The volume is moved: another node serves the same data at e9.1, and the old node is still there with its copy. */
async function moved(it: ReturnType<typeof setUp>): Promise<typeof it.node.target> {
  const { node } = it;
  const volume = node.volumes.items.get('v1');
  assert(volume);
  node.volumes.items.set('v1', { ...volume, spec: { ...volume.spec, moves: 1, address: { shelf: 9, slot: 1 } } });
  const { holder: _, ...target } = node.target;
  const next = { ...target, serial: 'S1-1', mac: '02:00:00:00:00:09', content: { kind: 'found', type: 'ext4' } as const };
  node.segment.targets.set('e9.1', [next]);
  return next;
}

test('an attachment from before a move leads nowhere: the copy of the data at the earlier address is not used', async () => {
  const it = setUp();
  await moved(it);
  await expect(it.stage()).rejects.toSatisfy(
    fails(Code.FAILED_PRECONDITION, /was moved from e7\.3 to e9\.1 since it was attached to node worker-1/),
  );
  expect([it.node.wire.calls, it.node.mounter.calls]).toStrictEqual([[], []]);
});

for (const user of ['nobody', 'another volume', 'a program'] as const) {
  test(`when the volume is attached again after a move, its earlier disk goes first, which ${user} uses`, async () => {
    const it = setUp();
    await it.stage();
    const target = await moved(it);
    const { driver, mounter, deps } = it.node;
    mounter.calls.length = 0;
    if (user === 'a program') it.disk().openedBy.push('process 77 (qemu)');
    if (user === 'another volume') {
      const record = await deps.staged.get('v1');
      assert(record);
      await deps.staged.put('v2', { ...record, volumeUID: 'uid-2', stagingPath: '/staging-2' });
    }
    const publishContext = { ...it.publishContext, address: 'e9.1', serial: 'S1-1' };
    const again = () =>
      it.service.nodeStageVolume(
        { volumeId: 'v1', publishContext, stagingTargetPath: it.stagingTargetPath, volumeCapability: mountOf() },
        context,
      );
    if (user === 'a program') {
      await expect(again()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /was moved, and its stale disk must go first.*process 77/));
      expect(target).not.toHaveProperty('holder');
      it.disk().openedBy.length = 0;
    }
    await again();
    expect(mounter.calls).toStrictEqual([`umount -l ${it.stagingTargetPath}`, `mount  /dev/etherd/e9.1 ${it.stagingTargetPath}`]);
    expect(driver.flushed).toStrictEqual(user === 'another volume' ? [] : ['e7.3']);
    expect((await deps.staged.get('v1'))?.address).toBe('e9.1');
  });
}
