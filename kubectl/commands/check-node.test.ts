import { UsageError } from '../../run/config.ts';
import { refused } from '../testing/fake-kubectl.ts';
import { aoeNode, condition, machine, NOW, smallCluster } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';
import { checkSteps, hasKnownFault } from './check-node.ts';

const FACTS = 'kernel 6.16.3\nparameter aoe_deadsecs 180\nparameter aoe_maxout 64\nmodule loaded\n';

describe('check node', () => {
  it('shows a storage node that is well', async () => {
    const fake = smallCluster();
    fake.answer = () => FACTS;
    const { out, code } = await runOn(fake, ['check', 'node', 'storage-1', '--exit-code']);
    expect(code).toBe(0);
    expect(out).toBe(`STEP                     STATE
node                     ok      storage-1 is Ready
pod of the node plugin   ok      aoe-csi-node-s
pod of the agent         ok      aoe-csi-agent-s
pod of the target        ok      aoe-csi-target-s
initiator                ok      DriverLoaded: the kernel's aoe driver uses eth1
target                   ok      Serving: serves on eth1
interfaces               ok      segment default: eth1 02:00:00:00:00:01 MTU 9000
MTU                      ok      9000, as all others of the segment
module                   ok      aoe is loaded: aoe_deadsecs=180, aoe_maxout=64
kernel                   ok      6.16.3
`);
  });

  it('finds what is wrong', () => {
    const interfaces = [{ name: 'eth1', mac: '02:00:00:00:00:01', mtu: 1500 }];
    const conditions = [condition('InitiatorReady', 'True', 'InterfaceMissing', 'uses eth1; this node has no eth2')];
    const node = aoeNode('worker-1', { status: { interfaces, conditions } });
    const nodes = [node, aoeNode('storage-1', { storage: true })];
    const steps = checkSteps(
      { name: 'worker-1', node, machine: machine('worker-1', { kernel: '6.1.100-1-amd64' }), nodes, pods: [], facts: undefined },
      NOW,
    );
    expect(steps.filter(({ state }) => state === 'wrong').map(({ name, text }) => `${name}: ${text}`)).toStrictEqual([
      'pod of the node plugin: there is none on worker-1',
      'initiator: InterfaceMissing: uses eth1; this node has no eth2',
      'MAC: eth1 has 02:00:00:00:00:01, and so has storage-1: give one of the machines another address',
      'MTU: 1500 here, but others of the segment have another one: storage-1 9000',
      expect.stringMatching(/^kernel: 6\.1\.100-1-amd64 may have a fault .*CVE-2025-38326/),
    ]);
  });

  it('compares a storage node without a node plugin with the nodes of the segment that its Node names', () => {
    const node = aoeNode('storage-2', { storage: true, status: { segment: undefined } });
    const labelled = { metadata: { name: 'storage-2', labels: { 'aoe.dev/segment': 'red' } } };
    const interfaces = [{ name: 'eth1', mac: '02:00:00:00:00:09', mtu: 1500 }];
    const nodes = [node, aoeNode('worker-1', { status: { segment: 'red', interfaces } })];
    const steps = checkSteps({ name: 'storage-2', node, machine: labelled, nodes, pods: [], facts: undefined }, NOW);
    const textOf = (step: string) => steps.find(({ name }) => name === step)?.text;
    expect(textOf('interfaces')).toMatch(/^segment red: /);
    expect(textOf('MTU')).toMatch(/have another one: worker-1 1500$/);
  });

  it('shows the rest when exec is not allowed', async () => {
    const fake = smallCluster();
    fake.answer = () => refused({ verb: 'create', plural: 'pods/exec', group: '', namespace: 'aoe-csi' });
    const { out, notSeen } = await runOn(fake, ['check', 'node', 'worker-1']);
    expect(out).toMatch(/^module +\? +nobody could look/m);
    expect(out).toMatch(/^kernel +ok +6\.16\.3$/m);
    expect(notSeen).toHaveLength(1);
  });

  it('knows no such node, and nothing but nodes', async () => {
    await expect(runOn(smallCluster(), ['check', 'node', 'none'])).rejects.toThrow('there is no node none');
    await expect(runOn(smallCluster(), ['check', 'pool', 'lvm'])).rejects.toThrow(UsageError);
  });

  it.each([
    ['6.16.0', '', false],
    ['7.0.1', '', false],
    ['6.12.37', '', false],
    ['6.12.36-rt', '', true],
    ['5.10.239', '', false],
    ['4.19.0', '', true],
    ['unknown', '', undefined],
    ['6.1.0-40-amd64', '#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)', false],
    ['6.1.0-25-amd64', '#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)', true],
    ['6.12.48+deb13-amd64', '#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)', false],
    ['6.6.31+rpt-rpi-v8', '#1 SMP PREEMPT Debian 1:6.6.31-1+rpt1 (2024-05-29)', true],
    ['5.15.0-97-generic', 'Ubuntu 5.15.0-97.107-generic 5.15.136', true],
    ['5.15.0-160-generic', 'Ubuntu 5.15.0-160.170-generic 5.15.189', false],
    ['6.8.0-51-generic', 'Ubuntu 6.8.0-51.52-generic 6.8.12', undefined],
    ['6.17.0-5-generic', 'Ubuntu 6.17.0-5.5-generic 6.17.0', false],
    ['5.14.0-427.13.1.el9_4.x86_64', '#1 SMP PREEMPT_DYNAMIC Wed Apr 10 10:29:16 EDT 2024', undefined],
    ['6.1.0-40-amd64', '', undefined],
  ])('takes kernel %s, "%s", for one with a known fault: %s', (kernel, build, isFaulty) =>
    expect(hasKnownFault(kernel, build)).toBe(isFaulty),
  );

  it('does not blame a kernel whose version does not tell', async () => {
    const fake = smallCluster();
    fake.answer = () => FACTS.replace('6.16.3', '6.8.0-51-generic\nbuild Ubuntu 6.8.0-51.52-generic 6.8.12');
    const { out, code } = await runOn(fake, ['check', 'node', 'storage-1', '--exit-code']);
    expect(code).toBe(0);
    expect(out).toMatch(/^kernel +\? +6\.8\.0-51-generic \(Ubuntu 6\.8\.12\): .*ask your distribution$/m);
  });
});
