import { MiB } from '../../../api/quantity.ts';
import { int64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { block, context, fails, mountOf, setUp } from '../testing/calls.ts';

type Kit = ReturnType<typeof setUp>;

const PATH = '/dev/etherd/e7.3';
const expand = ({ service, stagingTargetPath }: Kit, { bytes = 0, limit = 0, ...extra } = {}) => {
  const capacityRange = { requiredBytes: int64(bytes), limitBytes: int64(limit) };
  return service.nodeExpandVolume({ volumeId: 'v1', volumePath: stagingTargetPath, capacityRange, ...extra }, context);
};
/** The target serves 128 MiB; the file system has the 64 MiB of the disk before. */
const grow = ({ node }: Kit): void => {
  node.target.bytes = 128 * MiB;
  node.filesystems.sizes.set(PATH, 64 * MiB);
};

for (const type of ['ext4', 'xfs']) {
  test(`a mounted ${type} grows with its disk, and a second call does nothing`, async () => {
    const it = setUp();
    await it.stage(mountOf(type));
    grow(it);
    it.node.filesystems.calls.length = 0;
    for (const attempt of [1, 2]) {
      expect(Number((await expand(it, { bytes: 128 * MiB })).capacityBytes), String(attempt)).toBe(128 * MiB);
      expect(it.node.filesystems.calls).toStrictEqual([`grow ${type}`]);
    }
  });
}

test('of a raw block volume only the disk grows', async () => {
  const it = setUp();
  await it.stage(block);
  grow(it);
  expect(Number((await expand(it, { bytes: 128 * MiB })).capacityBytes)).toBe(128 * MiB);
  expect(it.node.filesystems.calls).toStrictEqual([]);
});

test('what was cut short is finished by the next call: the disk has grown, the file system has not', async () => {
  const it = setUp();
  await it.stage();
  grow(it);
  it.node.filesystems.failGrow = new Error('killed');
  await expect(expand(it)).rejects.toSatisfy(fails(Code.INTERNAL, /killed/));
  it.node.filesystems.failGrow = undefined;
  await expand(it);
  expect(it.node.filesystems.sizes.has(PATH)).toBe(false);
});

test('a disk that was grown while it was not attached is staged with a larger file system', async () => {
  const it = setUp();
  await it.stage();
  await it.unstage();
  grow(it);
  it.node.filesystems.calls.length = 0;
  await it.stage();
  expect(it.node.filesystems.calls).toStrictEqual(['check ext4', 'grow ext4']);
  await it.unstage();
  grow(it);
  it.node.filesystems.failGrow = new Error('no inodes');
  await it.stage();
});

test('a size that the target does not serve yet is waited for, one that is beyond the limit is not', async () => {
  const it = setUp();
  await it.stage();
  await expect(expand(it, { bytes: 128 * MiB })).rejects.toSatisfy(fails(Code.UNAVAILABLE, /serves 67108864 bytes, and not yet/));
  grow(it);
  await expect(expand(it, { limit: 100 * MiB })).rejects.toSatisfy(fails(Code.OUT_OF_RANGE, /more than the limit/));
});

test('a kernel that does not take the size, and a disk that is down, are tried again', async () => {
  const it = setUp();
  await it.stage();
  grow(it);
  it.node.driver.deaf = true;
  await expect(expand(it)).rejects.toSatisfy(fails(Code.UNAVAILABLE, /did not take that size/));
  it.node.driver.deaf = false;
  Object.assign(it.disk(), { state: 'closewait' });
  await expect(expand(it)).rejects.toSatisfy(fails(Code.UNAVAILABLE, /state of the disk: closewait/));
  expect(it.node.filesystems.calls).not.toContain('grow ext4');
});

test('nothing is written to a disk that has become another one', async () => {
  const it = setUp();
  await it.stage();
  grow(it);
  it.disk().serial = 'OTHER';
  it.node.target.serial = 'OTHER';
  it.node.volumes.items.set('v1', { ...it.node.volumes.items.get('v1'), status: { serial: 'S1' } } as never);
  await expect(expand(it)).rejects.toSatisfy(fails(Code.FAILED_PRECONDITION, /wrong disk/));
  expect(it.node.filesystems.calls).not.toContain('grow ext4');
});

test('volumes that are not here, and calls that are not whole', async () => {
  const it = setUp();
  await expect(expand(it)).rejects.toSatisfy(fails(Code.NOT_FOUND, /not staged/));
  await expect(expand(it, { volumeId: '' } as never)).rejects.toSatisfy(fails(Code.INVALID_ARGUMENT, /volume_id/));
  await expect(expand(it, { volumePath: '' } as never)).rejects.toSatisfy(fails(Code.INVALID_ARGUMENT, /volume_path/));
  await expect(expand(it, { bytes: -1 })).rejects.toSatisfy(fails(Code.INVALID_ARGUMENT, /negative/));
});
