import { AOE_VOLUMES } from '../cluster/objects.ts';
import { condition, smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';

const made = (name: string, status: object) => {
  const spec = { source: { snapshot: 'noon' }, pool: 'lvm', nodeName: 'storage-2' };
  return volume(name, { spec, status: { phase: 'Pending', capacity: undefined, holder: undefined, ...status } });
};

describe('copies', () => {
  it('says how far each is, and what one waits for', async () => {
    const copying = made('v-copied', {
      copy: { phase: 'Verifying', bytesDone: 3 * 2 ** 29, bytesTotal: 2 ** 31 },
      conditions: [condition('Provisioned', 'False', 'Copying', 'storage-1 does not answer')],
    });
    const waiting = made('v-waits', { conditions: [condition('Placed', 'False', 'NoEligibleNode', 'no node has room')] });
    const { out } = await runOn(smallCluster().put(AOE_VOLUMES, copying, waiting, made('v-ready', { capacity: '2Gi' })), ['copies']);
    expect(out).toBe(`VOLUME     CLAIM   SOURCE   POOL   NODE        PHASE       DONE                  NOTE
v-copied   -       noon     lvm    storage-2   Verifying   1.5Gi of 2Gi (75 %)   storage-1 does not answer
v-waits    -       noon     lvm    storage-2   -           -                     no node has room
`);
  });

  it('shows from which disk of another target one is copied', async () => {
    const spec = { source: { external: { shelf: 55, slot: 5 } }, pool: 'lvm', nodeName: 'storage-2' };
    const copying = volume('v', { spec, status: { capacity: undefined, copy: { phase: 'Copying', bytesDone: 0, bytesTotal: 2 ** 31 } } });
    const { out } = await runOn(smallCluster().put(AOE_VOLUMES, copying), ['copies']);
    expect(out).toContain('(disk at e55.5)   lvm    storage-2   Copying   0 of 2Gi (0 %)');
  });

  it('shows a move: from where, to where, and how far its data is copied', async () => {
    const move = { id: '0123abcd', stage: 'Copying', nodeName: 'storage-2', pool: 'thin' };
    const moved = volume('v-moved', {
      spec: { pool: 'lvm', nodeName: 'storage-1', move },
      status: { phase: 'Pending', move: { id: move.id, nodeName: 'storage-2', phase: 'Copying', bytesDone: 2 ** 30, bytesTotal: 2 ** 31 } },
    });
    const { out } = await runOn(smallCluster().put(AOE_VOLUMES, moved), ['copies']);
    expect(out).toContain('(moved from storage-1/lvm)   thin   storage-2   Copying   1Gi of 2Gi (50 %)');
  });

  it('says that there are none', async () => {
    expect((await runOn(smallCluster(), ['copies'])).out).toBe('No volume is being made of a snapshot or of another target, or moved.\n');
    expect((await runOn(smallCluster(), ['copies', '-o', 'yaml'])).out).toBe('copies: []\nnotSeen: []\n');
  });
});
