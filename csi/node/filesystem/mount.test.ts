import assert from 'node:assert/strict';
import { Code } from '../../../rpc/status.ts';
import { fails, Mode, mountOf, setUp } from '../testing/calls.ts';

// Through NodeStageVolume: mountFilesystem() and isMounted() are its last step.

test('a disk that a mount of another namespace claims is neither checked nor formatted', async () => {
  const it = setUp();
  await it.stage();
  await it.node.mounter.unmount(it.stagingTargetPath);
  it.node.driver.isClaimed = async () => true;
  it.node.filesystems.calls.length = 0;
  await it.stage();
  expect(it.node.filesystems.calls).toStrictEqual([]);
  await it.node.mounter.unmount(it.stagingTargetPath);
  Object.assign(it.node.target, { content: { kind: 'nothing' }, blank: true });
  delete it.node.volumes.items.get('v1')?.status?.filesystem;
  await expect(it.stage()).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION, message: expect.stringMatching(/not formatted/) });
});

test('the journal of a shared xfs volume is not replayed', async () => {
  const it = setUp({ access: 'ReadOnlyMany' });
  it.node.target.content = { kind: 'found', type: 'xfs' };
  await it.stage(mountOf('xfs', Mode.MULTI_NODE_READER_ONLY));
  expect(it.node.mounter.calls[0]).toMatch(/^mount ro,norecovery /);
});

test('a volume that was made of a snapshot is mounted beside its source, and never formatted', async () => {
  const it = setUp();
  const volume = it.node.volumes.items.get('v1');
  if (volume) volume.spec.source = { snapshot: 's1' };
  it.node.target.content = { kind: 'found', type: 'xfs' };
  await it.stage(mountOf('xfs'));
  expect(it.node.mounter.calls[0]).toMatch(/^mount nouuid /);
  await it.node.mounter.unmount(it.stagingTargetPath);
  Object.assign(it.node.target, { content: { kind: 'nothing' }, blank: true });
  const refused = { code: Code.FAILED_PRECONDITION, message: expect.stringMatching(/began with the data of a snapshot/) };
  await expect(it.stage(mountOf('xfs'))).rejects.toMatchObject(refused);
});

test('an adopted volume is mounted as it is, and never formatted', async () => {
  const it = setUp();
  const volume = it.node.volumes.items.get('v1');
  if (volume) volume.spec.adopt = 'old';
  Object.assign(it.node.target, { content: { kind: 'nothing' }, blank: true });
  const refused = { code: Code.FAILED_PRECONDITION, message: expect.stringMatching(/or with adopted data.*not formatted/) };
  await expect(it.stage()).rejects.toMatchObject(refused);
  it.node.target.content = { kind: 'found', type: 'ext4' };
  await it.stage();
  expect(it.node.filesystems.calls).not.toContain('format ext4');
});

test('an external disk whose serial changes is attached with the one of the day, compared with that meanwhile, and never formatted', async () => {
  const { node, stage, unstage } = setUp({ external: 'true', serial: 'S1' });
  const volume = node.volumes.items.get('v1') ?? assert.fail();
  volume.spec.external = { shelf: 7, slot: 3, serialChanges: true };
  node.target.content = { kind: 'found', type: 'ext4' };
  for (const serial of ['S2', 'S3']) {
    node.target.serial = serial;
    await stage();
    expect(node.volumes.items.get('v1')?.status?.serial).toBe(serial);
    await unstage();
  }
  Object.assign(node.target, { content: { kind: 'nothing' }, blank: true });
  await expect(stage()).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /served by changing machines.*not formatted/));
});

test('a disk on which blkid finds nothing, and that is not empty, is probed again: a read error looks the same', async () => {
  const it = setUp();
  let probes = 0;
  it.node.filesystems.probe = async () => (++probes === 1 ? { kind: 'nothing' } : { kind: 'found', type: 'ext4' });
  it.node.target.blank = false;
  const volume = it.node.volumes.items.get('v1') ?? assert.fail();
  volume.status = { filesystem: { type: 'ext4', state: 'Formatted' } };
  await it.stage();
  expect(it.node.filesystems.calls).toStrictEqual(['check ext4']);
});

test('a new volume with empty ends is formatted without a probe, one that holds data is probed once', async () => {
  for (const [blank, steps] of [
    [true, ['blank', 'format ext4']],
    [false, ['blank', 'probe']],
  ] as const) {
    const it = setUp();
    const { filesystems, target } = it.node;
    target.blank = blank;
    const seen = filesystems.calls;
    filesystems.isBlank = async () => {
      seen.push('blank');
      return blank;
    };
    filesystems.probe = async () => {
      seen.push('probe');
      return { kind: 'nothing' };
    };
    await it.stage().catch((error: unknown) => expect(error).toMatchObject({ message: expect.stringMatching(/it is not formatted/) }));
    expect(seen).toStrictEqual(steps);
  }
});

test('an external disk with empty ends is not formatted when blkid finds something on it', async () => {
  const it = setUp({ external: 'true' });
  it.node.filesystems.isBlank = async () => true;
  it.node.filesystems.probe = async () => ({ kind: 'found', type: 'VMFS' });
  await expect(it.stage()).rejects.toMatchObject({ code: Code.FAILED_PRECONDITION, message: expect.stringMatching(/holds VMFS/) });
  expect(it.node.filesystems.calls).toStrictEqual([]);
});

test('a format that was not recorded as finished is recorded when the file system is there', async () => {
  const it = setUp();
  const volume = it.node.volumes.items.get('v1') ?? assert.fail();
  volume.status = { filesystem: { type: 'ext4', state: 'Formatting' } };
  it.node.target.content = { kind: 'found', type: 'ext4' };
  await it.stage();
  expect(it.node.volumes.items.get('v1')?.status?.filesystem).toStrictEqual({ type: 'ext4', state: 'Formatted' });
  expect(it.node.filesystems.calls).toStrictEqual(['check ext4']);
});
