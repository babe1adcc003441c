import { AOE_NODES, AOE_VOLUMES, NODES, PERSISTENT_VOLUMES } from '../cluster/objects.ts';
import { FakeKubectl } from '../testing/fake-kubectl.ts';
import { aoeNode, condition, machine, persistentVolume, smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';

const lost = { phase: 'Failed', conditions: [condition('Ready', 'False', 'BackingLost', 'vg0/aoe-1 is gone')] };

describe('status', () => {
  it('is one page when all is well', async () => {
    const { out, code } = await runOn(smallCluster(), ['status', '--exit-code']);
    expect(code).toBe(0);
    expect(out).toBe(`All is well.

SEGMENTS
  NAME      NODES   STORAGE NODES   INTERFACES   MTU
  default   2       1               eth1         9000

NODES
  NAME        SEGMENT   INITIATOR      TARGET    EXPORTS   KERNEL
  storage-1   default   DriverLoaded   Serving   1         6.16.3
  worker-1    default   DriverLoaded   -         -         6.16.3

POOLS
  NAME   BACKEND   READY   NODES   SIZE   FREE   VOLUMES
  lvm    lvm       Ready   1/1     10Gi   9Gi    1

VOLUMES
  PHASE   NUMBER   SIZE
  Ready   1        1Gi
`);
  });

  it('begins with what is not well; only --exit-code makes that a failure', async () => {
    const fake = smallCluster()
      .put(AOE_VOLUMES, volume('pvc-2', { metadata: { annotations: { 'aoe.dev/claim': 'shop/lost' } }, status: lost }))
      .put(AOE_NODES, aoeNode('worker-2'))
      .put(NODES, machine('worker-2', { ready: false }), machine('not-ours', { ready: false }));
    const { out, code } = await runOn(fake, ['status']);
    expect(code).toBe(0);
    expect(out.split('\n\n')[0]).toBe(`NOT WELL (2)
  node worker-2: NotReady: node worker-2 has not been Ready since 2026-11-28T11:00:00Z (its kubelet is silent)
  volume pvc-2 (claim shop/lost): BackingLost: vg0/aoe-1 is gone`);
    expect(out).toMatch(/Failed +1 +1Gi\n +Ready +1 +1Gi\n$/);
    expect((await runOn(fake, ['status', '--exit-code'])).code).toBe(1);
  });

  it('says that it found nothing wrong, not that all is well, when it could not see all', async () => {
    const fake = smallCluster();
    for (const plural of ['nodes', 'pods']) fake.forbidden.add(plural);
    const { out, code, notSeen } = await runOn(fake, ['status', '--exit-code']);
    expect(code).toBe(1);
    expect(out).toMatch(/^Nothing wrong was found in what you may read\.\n/);
    expect(notSeen).toStrictEqual(['you may not list nodes', 'you may not list pods in namespace aoe-csi']);
  });

  it('finds that the release is in another namespace', async () => {
    const { out } = await runOn(smallCluster(), ['status', '-n', 'other']);
    expect(out).toMatch('namespace other: NoPods: there is no pod of aoe-csi in it');
    expect((await runOn(new FakeKubectl(), ['status'])).out).toMatch('NOT WELL (1)');
  });

  it('names nodes and components without a pod, and PersistentVolumes without an AoEVolume', async () => {
    const fake = smallCluster()
      .put(AOE_NODES, aoeNode('worker-2'))
      .put(NODES, machine('worker-2'))
      .put(PERSISTENT_VOLUMES, persistentVolume('pvc-gone', 'old'), {
        ...persistentVolume('pvc-released', 'older'),
        status: { phase: 'Released' },
      });
    const { out, code } = await runOn(fake, ['status', '--exit-code']);
    expect(code).toBe(1);
    expect(out.split('\n\n')[0]).toBe(`NOT WELL (2)
  node worker-2: NoPod: there is no aoe-csi-node pod on it: no volume can be mounted or unmounted there
  volume pvc-gone (claim shop/old): NoAoEVolume: PersistentVolume pvc-gone names it, and there is no such AoEVolume: was its finalizer removed, or were objects restored without it? See kubectl aoe orphans for the data`);
    const hidden = smallCluster().put(PERSISTENT_VOLUMES, persistentVolume('pvc-gone', 'old'));
    hidden.forbidden.add('aoevolumes');
    expect((await runOn(hidden, ['status'])).out).not.toMatch('NoAoEVolume');
  });

  it('takes the segment of a storage node without a node plugin from its Node', async () => {
    const fake = smallCluster()
      .put(AOE_NODES, aoeNode('storage-2', { storage: true, status: { segment: undefined } }))
      .put(NODES, { ...machine('storage-2'), metadata: { name: 'storage-2', labels: { 'aoe.dev/segment': 'red' } } });
    expect((await runOn(fake, ['status'])).out).toMatch(/storage-2 +red /);
  });

  it('writes JSON with the same', async () => {
    expect(JSON.parse((await runOn(smallCluster(), ['status', '-o', 'json'])).out)).toMatchObject({
      notWell: [],
      segments: [{ name: 'default', mtus: [9000] }],
      nodes: [{ name: 'storage-1', volumes: 1 }, { name: 'worker-1' }],
      volumes: [{ phase: 'Ready', count: 1, size: '1Gi' }],
      notSeen: [],
    });
  });
});
