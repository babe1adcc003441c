import { AOE_POOLS } from '../cluster/objects.ts';
import { pool, smallCluster } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';

describe('orphans', () => {
  it('names them with pool and node, and how to remove them', async () => {
    const nodes = [
      { name: 'storage-1', ready: true, orphaned: '1536Mi', orphans: ['aoe-1', 'aoe-2'], snapshots: { possible: true, count: 2 } },
      { name: 'storage-2', ready: true, displaced: ['aoe-3 (v-3, storage-1)'], displacedBytes: '1Gi' },
    ];
    const { out } = await runOn(smallCluster().put(AOE_POOLS, pool('big', nodes)), ['orphans']);
    expect(out).toBe(`ORPHANS (1.5Gi): they belong to no AoEVolume
  POOL   NODE        IN    NAME
  big    storage-1   vg0   aoe-1
  big    storage-1   vg0   aoe-2

DISPLACED (1Gi): their AoEVolume is placed on another node. Keep the data until that AoEVolume is Ready and nobody needs this copy, which may be newer
  POOL   NODE        IN    NAME AND VOLUME
  big    storage-2   vg0   aoe-3 (v-3, storage-1)

Nothing removes orphans by itself.
To use the data of a volume: an AoEVolume with that pool, nodeName: NODE, and adopt: NAME without a path.
When nobody needs it: lvremove VOLUMEGROUP/NAME, or remove the file, on that node.
`);
  });

  it('names snapshots without an AoESnapshot, alone, too', async () => {
    const snapshots = { possible: true, count: 2, orphans: ['aoe-snap-1 (was noon)'] };
    const fake = smallCluster().put(AOE_POOLS, pool('big', [{ name: 'storage-1', ready: true, snapshots }]));
    expect((await runOn(fake, ['orphans'])).out).toBe(`SNAPSHOTS: they belong to no AoESnapshot
  POOL   NODE        IN    NAME
  big    storage-1   vg0   aoe-snap-1 (was noon)

Nothing removes orphans by itself.
When nobody needs it: lvremove VOLUMEGROUP/NAME, or remove the file, on that node.
`);
    expect((await runOn(fake, ['status'])).out).toMatch(/\n\n1 orphaned backing volumes and snapshots: kubectl aoe orphans\n$/);
  });

  it('says that there are none', async () => {
    expect((await runOn(smallCluster(), ['orphans'])).out).toBe('There are no orphans, and nothing is displaced.\n');
    expect((await runOn(smallCluster(), ['orphans', '-o', 'yaml'])).out).toBe('orphans: []\nnotSeen: []\n');
  });
});
