import { MiB } from '../../../api/quantity.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';
import { setUp } from '../testing/calls.ts';
import { GrownDisks } from './grown-disks.ts';

async function staged() {
  const it = setUp();
  await it.stage();
  const events: string[] = [];
  const disks = new GrownDisks(it.node.deps, (_volume, message) => events.push(message));
  /** The volume with this capacity in its status is checked, and what that starts ends. */
  const check = async (capacity: string): Promise<void> => {
    const volume = { ...it.node.volumes.items.get('v1'), status: { serial: 'S1', capacity } } as AoEVolume;
    await disks.check('v1', (await it.node.deps.staged.get('v1')) as StagedVolume, volume);
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
  expect(it.events).toStrictEqual([`disk and file system on node worker-1 have grown from ${64 * MiB} to ${128 * MiB} bytes`]);
  await it.check('128Mi');
  expect(it.calls).toHaveLength(1);
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
