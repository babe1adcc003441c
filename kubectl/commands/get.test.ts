import { localMac } from '../../api/local-link.ts';
import { AOE_VOLUMES, CLAIMS, EVENTS, PERSISTENT_VOLUMES } from '../cluster/objects.ts';
import { claim, persistentVolume, smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';

const event = (name: string, namespace: string, reason: string, uid: string) => ({
  metadata: { name: `${name}.${uid}`, namespace },
  involvedObject: { name, namespace, uid },
  type: 'Normal',
  reason,
  message: 'as said',
  lastTimestamp: '2026-11-28T11:58:00Z',
});

describe('get', () => {
  it('shows a volume with all that leads to it, its conditions and its newest events', async () => {
    const fake = smallCluster().put(
      EVENTS,
      event('pvc-1', 'default', 'LockTaken', 'uid-pvc-1'),
      event('pvc-1', 'default', 'Stale', 'uid-of-an-earlier-one'),
    );
    const { out, code } = await runOn(fake, ['get', 'pod:shop/web']);
    expect(code).toBe(0);
    expect(out).toBe(`Volume:            pvc-1
Claim:             shop/data (Bound)
PersistentVolume:  pvc-1 (Bound)
Pods:              shop/web (Running on worker-1)
Phase:             Ready
Size:              1Gi
Access:            Exclusive
Stored:            pool lvm, on storage-1
Address:           e7.3
Interfaces:        eth1 02:00:00:00:00:01 MTU 9000
Serial:            abc
Attached to:       worker-1
Admitted:          worker-1
Holder:            worker-1, for 1h

CONDITION         STATUS   REASON        SINCE   MESSAGE
Placed            True     Placed        1h      on storage-1 at e7.3
Provisioned       True     Provisioned   1h      logical volume vg0/aoe-uid-pvc-1
Exported          True     Exported      1h      served at e7.3
AddressConflict   False    NoAnswer      1h      no other target answers
Locked            True     Held          1h      held by node worker-1 since 2026-11-28T11:00:00Z
Ready             True     Exported      1h      exported by storage-1

EVENT   TYPE     REASON      MESSAGE
2m      Normal   LockTaken   as said
`);
  });

  it('shows a claim that waits, with its events', async () => {
    const fake = smallCluster()
      .put(CLAIMS, claim('new', undefined))
      .put(EVENTS, event('new', 'shop', 'WaitForFirstConsumer', 'uid-new'));
    const { out } = await runOn(fake, ['get', 'pvc:shop/new']);
    expect(out).toBe(`Volume:  none yet
Claim:   shop/new (Pending)
Pods:    none

EVENT   TYPE     REASON                 MESSAGE
2m      Normal   WaitForFirstConsumer   as said
`);
  });

  it('tells from the status whom the target admits, and apart from that whom the spec wants', async () => {
    const [before, wanted] = ['02:00:00:00:00:77', '02:00:00:00:00:88'];
    const ofNode = [localMac('worker-1'), '02:00:00:00:00:11'];
    const shown = async (initiators: object, macs: string[]) => {
      const change = { spec: { initiators }, status: { initiators: { observedGeneration: 1, nodes: ['worker-1'], macs } } };
      const { out } = await runOn(smallCluster().put(AOE_VOLUMES, volume('pvc-1', change)), ['get', 'pvc-1']);
      return out.split('\n').filter((line) => /^(Admitted|Hosts wanted):/.test(line));
    };
    expect(await shown({}, [...ofNode, before])).toStrictEqual([`Admitted:          worker-1, ${before}`]);
    expect(await shown({ macs: [wanted] }, ofNode)).toStrictEqual([`Hosts wanted:      ${wanted}`, 'Admitted:          worker-1']);
  });

  it('says that the AoEVolume of a bound claim is gone', async () => {
    const fake = smallCluster().put(CLAIMS, claim('old', 'pvc-gone')).put(PERSISTENT_VOLUMES, persistentVolume('pvc-gone', 'old'));
    const { out } = await runOn(fake, ['get', 'pvc:shop/old']);
    expect(out).toMatch(/^Volume: +pvc-gone \(there is no such AoEVolume\)$/m);
  });

  it('gives the objects as JSON', async () => {
    const { volumes } = JSON.parse((await runOn(smallCluster(), ['get', 'pvc-1', '-o', 'json'])).out);
    expect(volumes).toMatchObject([
      { name: 'pvc-1', claimName: 'shop/data', volume: { kind: 'AoEVolume' }, pods: [{ name: 'web', node: 'worker-1' }] },
    ]);
  });

  it('does not take a claim that may not be read for none of ours', async () => {
    const fake = smallCluster();
    fake.forbidden.add('persistentvolumeclaims');
    const { out, notSeen } = await runOn(fake, ['get', 'pod:shop/web']);
    expect(out).toBe('Claim:  shop/data (it may not be read, so its volume is not known)\n');
    expect(notSeen).toStrictEqual(['you may not get persistentvolumeclaims in namespace shop']);
  });

  it('shows the rest when pods may not be listed', async () => {
    const fake = smallCluster();
    fake.forbidden.add('pods');
    const { out, notSeen } = await runOn(fake, ['get', 'pvc-1']);
    expect(out).toMatch(/^Holder: +worker-1/m);
    expect(out).not.toMatch(/^Pods:/m);
    expect(notSeen).toStrictEqual(['you may not list pods in namespace shop']);
  });
});
