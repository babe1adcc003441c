import { refused } from '../testing/fake-kubectl.ts';
import { smallCluster } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';

const NODE = `kernel 6.16.3
parameter aoe_deadsecs 180
module loaded
disk state up
disk mac 020000000001
disk netif eth1
disk size 2097152
mount /var/lib/kubelet/plugins/globalmount rw shared:1 - ext4 /dev/etherd/e7.3 rw
mount /var/lib/kubelet/pods/uid-web/volumes/mount rw shared:1 - ext4 /dev/etherd/e7.3 rw
`;

describe('path', () => {
  it('follows the way from a pod to its data, as the API server knows it', async () => {
    const { out, code } = await runOn(smallCluster(), ['path', 'pod:shop/web', '--exit-code']);
    expect(code).toBe(0);
    expect(out).toBe(`STEP             STATE
pod              ok      shop/web on worker-1: Running
claim            ok      shop/data: Bound
volume           ok      pvc-1, PersistentVolume pvc-1: Bound
attachment       ok      to worker-1
mount            ?       not looked at: --exec looks on the node
disk             ?       not looked at: --exec looks on the node
initiator        ok      worker-1 on segment default: eth1 MTU 9000
admitted         ok      the target admits worker-1
lock             ok      held by worker-1, for 1h
address          ok      e7.3 on eth1 02:00:00:00:00:01 MTU 9000
target           ok      served at e7.3
backing volume   ok      logical volume vg0/aoe-uid-pvc-1
storage node     ok      storage-1 is Ready
`);
  });

  it('looks on both nodes with --exec', async () => {
    const fake = smallCluster();
    fake.answer = (args) => (args.includes('csi-node') ? NODE : 'socket\nbacking /dev/vg0/aoe-uid-pvc-1\nsize 1073741824\n');
    const { out } = await runOn(fake, ['path', 'pvc:shop/data', '--exec']);
    const pods = Object.fromEntries(fake.commands.map((args) => [args[3], args.at(-1)]));
    expect(pods).toStrictEqual({ 'aoe-csi-agent-s': '/dev/vg0/aoe-uid-pvc-1', 'aoe-csi-node-w': 'e7.3' });
    expect(out).toMatch(`
mount            ok      ext4 at /var/lib/kubelet/pods/uid-web/volumes/mount
disk             ok      /dev/etherd/e7.3 is up, target 020000000001 on eth1
module           ok      aoe is loaded: aoe_deadsecs=180
`);
    expect(out).toMatch('\nbacking volume   ok      /dev/vg0/aoe-uid-pvc-1, 1073741824 bytes\n');
  });

  it('fails with --exit-code when something on the way is wrong', async () => {
    const fake = smallCluster();
    fake.answer = (args) => (args.includes('csi-node') ? NODE.replace('state up', 'state down,closewait') : 'socket\n');
    const { out, code } = await runOn(fake, ['path', 'pvc-1', '--exec', '--exit-code']);
    expect(code).toBe(1);
    expect(out).toMatch(/^disk +WRONG +\/dev\/etherd\/e7\.3 is down,closewait, .*the kernel has given it up/m);
    expect(out).toMatch(/^backing volume +WRONG +the agent reports it, but it is not where it should be/m);
  });

  it('shows the rest when exec is not allowed', async () => {
    const fake = smallCluster();
    fake.answer = () => refused({ verb: 'create', plural: 'pods/exec', group: '', namespace: 'aoe-csi' });
    const { out, notSeen } = await runOn(fake, ['path', 'pod:shop/web', '--exec']);
    expect(out).toMatch(/^mount +\? +nobody could look on the node/m);
    expect(out).toMatch(/^storage node +ok/m);
    expect(notSeen).toStrictEqual(['you may not create pods/exec in namespace aoe-csi']);
  });
});
