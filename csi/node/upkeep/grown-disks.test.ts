import assert from 'node:assert/strict';
import { MiB } from '../../../api/quantity.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';
import { block, mountOf, setUp } from '../testing/calls.ts';
import { GrownDisks } from './grown-disks.ts';

async function staged(capability = mountOf()) {
  const it = setUp();
  await it.stage(capability);
  const events: string[] = [];
  const disks = new GrownDisks(it.node.deps, (_volume, message) => events.push(message));
  /** The volume with this capacity in its status is checked, and what that starts ends. */
  const check = async (capacity: string, volumeId = 'v1'): Promise<void> => {
    const volume = { ...it.node.volumes.items.get('v1'), status: { serial: 'S1', capacity } } as AoEVolume;
    await disks.check(volumeId, (await it.node.deps.staged.get(volumeId)) as StagedVolume, volume);
  };
  it.node.filesystems.calls.length = 0;
  return { ...it, check, events, calls: it.node.filesystems.calls };
}

test('a volume that was made larger by hand grows on the node that has it', async () => {
  const it = await staged();
  await it.check('64Mi');
  expect([it.calls, it.events]).toStrictEqual([[], []]);
  it.node.target.bytes = 128 * MiB;
  it.node.filesystems.sizes.set('/dev/etherd/e7.3', 64 * MiB);
  await it.check('128Mi');
  expect(it.calls).toStrictEqual(['grow ext4']);
  expect(it.events).toStrictEqual([`disk on node worker-1 has grown from ${64 * MiB} to ${128 * MiB} bytes`]);
  await it.check('128Mi');
  expect(it.calls).toHaveLength(1);
});

test('a raw block volume grows, without a file system', async () => {
  const it = await staged(block);
  it.node.target.bytes = 128 * MiB;
  await it.check('128Mi');
  expect([it.calls, it.events]).toStrictEqual([[], [`disk on node worker-1 has grown from ${64 * MiB} to ${128 * MiB} bytes`]]);
});

test('an encrypted volume grows without a call, and so without a passphrase: its mapping, and then its file system', async () => {
  const it = setUp({ encryption: 'LUKS2' });
  const volume = it.node.volumes.items.get('v1') ?? assert.fail();
  volume.spec.encryption = 'LUKS2';
  await it.stage(block, { secrets: { encryptionPassphrase: 'k' } });
  const disks = new GrownDisks(it.node.deps, () => {});
  const check = async (capacity: string): Promise<void> =>
    disks.check('v1', (await it.node.deps.staged.get('v1')) as StagedVolume, { ...volume, status: { serial: 'S1', capacity } });
  await check('64Mi');
  it.node.target.bytes = 128 * MiB;
  await check('128Mi');
  expect(it.node.driver.mapped.get('e7.3')?.bytes).toBe(112 * MiB);
  // Another call of this node, or the kernel by itself, has taken the new size of the disk already.
  it.node.target.bytes = 144 * MiB;
  await it.node.driver.grow('e7.3', { bytes: 144 * MiB });
  await check('144Mi');
  expect(it.node.driver.mapped.get('e7.3')?.bytes).toBe(128 * MiB);
});

test('a volume that was unstaged is forgotten', async () => {
  const it = await staged();
  const { deps, filesystems } = it.node;
  const size = filesystems.size.bind(filesystems);
  let asked = 0;
  filesystems.size = (path) => {
    asked++;
    return size(path);
  };
  for (let i = 0; i < 2; i++) await it.check('64Mi');
  expect(asked).toBe(1);
  const record = (await deps.staged.get('v1')) as StagedVolume;
  await it.unstage();
  // Nothing is left to do for another volume.
  await deps.staged.put('v2', record);
  await it.node.driver.attach('e7.3');
  await it.check('64Mi', 'v2');
  await deps.staged.delete('v2');
  await it.stage();
  asked = 0;
  await it.check('64Mi');
  expect(asked).toBe(1);
});

test('a growth that a restart has cut short is finished', async () => {
  const it = await staged();
  it.node.filesystems.sizes.set('/dev/etherd/e7.3', 32 * MiB);
  await it.check('64Mi');
  expect(it.calls).toStrictEqual(['grow ext4']);
  expect(it.events).toStrictEqual([]);
});

test('what cannot be done now is tried again at the next check', async () => {
  const it = await staged();
  await it.check('128Mi');
  it.node.target.bytes = 128 * MiB;
  Object.assign(it.disk(), { state: 'down' });
  await it.check('128Mi');
  expect(it.disk().disk.bytes).toBe(64 * MiB);
  Object.assign(it.disk(), { state: 'up' });
  await it.check('128Mi');
  expect(it.disk().disk.bytes).toBe(128 * MiB);
});

test('while volumes are checked that have nothing to grow, one after the other, the calls of the kubelet are served', async () => {
  const it = setUp();
  await it.stage();
  const { deps, filesystems, volumes } = it.node;
  const record = (await deps.staged.get('v1')) as StagedVolume;
  const volume = { ...volumes.items.get('v1'), status: { serial: 'S1', capacity: '64Mi' } } as AoEVolume;
  await deps.staged.put('v2', record);
  const sized = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
  const asked = sized.map(() => Promise.withResolvers<void>());
  let calls = 0;
  filesystems.size = () => {
    asked[calls]?.resolve();
    return (sized[calls++] as PromiseWithResolvers<number>).promise;
  };
  const disks = new GrownDisks(deps, () => {});
  const checks = ['v1', 'v2'].map((volumeId) => disks.check(volumeId, record, volume));
  await asked[0]?.promise;
  await it.publish();
  await it.unpublish();
  expect(calls).toBe(1);
  sized[0]?.resolve(64 * MiB);
  await asked[1]?.promise;
  await it.publish();
  sized[1]?.resolve(64 * MiB);
  await Promise.all(checks);
  await disks.check('v1', record, volume);
  expect(calls).toBe(2);
});
