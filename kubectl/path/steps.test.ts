import type { Pod } from '../cluster/objects.ts';
import { aoeNode, attachment, claim, condition, machine, NOW, persistentVolume, pod, pool, volume } from '../testing/objects.ts';
import type { Way } from './step.ts';
import { backingPaths, stepsOf } from './steps.ts';

function way({ change = {}, ...more }: Partial<Way> & { change?: Parameters<typeof volume>[1] } = {}): Way {
  const web = pod('web', { claims: ['data'] });
  return {
    chain: {
      claimName: { namespace: 'shop', name: 'data' },
      claim: claim('data', 'pvc-1'),
      persistentVolume: persistentVolume('pvc-1', 'data'),
      volumeName: 'pvc-1',
      volume: volume('pvc-1', change),
      pods: [web],
    },
    pod: web,
    attachments: [attachment('pvc-1', 'worker-1')],
    nodes: [aoeNode('storage-1', { storage: true }), aoeNode('worker-1')],
    machines: [machine('storage-1'), machine('worker-1')],
    pools: [pool('lvm')],
    releasePods: [],
    isExec: false,
    ...more,
  };
}

const wrongs = (each: Way) =>
  stepsOf(each, NOW)
    .filter(({ state }) => state === 'wrong')
    .map(({ name, text }) => `${name}: ${text}`);

describe('the way from a pod to its data', () => {
  it('has nothing wrong when all is well', () => expect(wrongs(way())).toStrictEqual([]));

  it('says what kept the pod from its volume', () => {
    const waiting: Pod = { ...pod('web'), status: { phase: 'Pending' } };
    const podEvents = [
      { metadata: { name: 'a' }, involvedObject: {}, reason: 'Scheduled', message: 'on worker-1', lastTimestamp: '2026-11-28T11:59:59Z' },
      {
        metadata: { name: 'b' },
        involvedObject: {},
        reason: 'FailedMount',
        message: 'disk e7.3 does not answer',
        lastTimestamp: '2026-11-28T11:59:00Z',
      },
    ];
    expect(wrongs(way({ pod: waiting, podEvents }))).toStrictEqual(['pod: shop/web on worker-1: FailedMount: disk e7.3 does not answer']);
  });

  it('finds an attachment that is missing, failed, or elsewhere', () => {
    expect(wrongs(way({ attachments: [attachment('pvc-1', 'worker-2')] }))).toStrictEqual([
      'attachment: the volume is not attached to worker-1; attached to worker-2, too',
    ]);
    const failed = { ...attachment('pvc-1', 'worker-1'), status: { attached: false, attachError: { message: 'held by worker-2' } } };
    expect(wrongs(way({ attachments: [failed] }))).toStrictEqual(['attachment: not attached to worker-1 yet: held by worker-2']);
  });

  it.each([
    [
      { status: { initiators: { observedGeneration: 1, nodes: [] } } },
      'admitted: the target does not admit worker-1 yet: see condition Exported',
    ],
    [
      { spec: { initiators: {} }, status: { initiators: { observedGeneration: 1 } } },
      'admitted: worker-1 is not in spec.initiators: it is cut off',
    ],
    [{ status: { holder: { node: 'worker-2', raw: '' } } }, 'lock: held by worker-2, not by worker-1'],
    [{ status: { holder: { raw: 'me' } } }, 'lock: held by "me": it is not a lock of this project, and keeps all nodes away'],
    [{ status: { holder: undefined } }, 'lock: nobody has it: worker-1 has not staged the volume'],
    [
      { status: { conditions: [condition('AddressConflict', 'True', 'AnsweredByOther', '02:00:00:00:00:99 answers, too')] } },
      'address: e7.3: 02:00:00:00:00:99 answers, too',
    ],
    [{ status: { conditions: [condition('Placed', 'False', 'PoolFull', 'no room')] } }, 'address: PoolFull: no room'],
    [{ status: { conditions: [condition('Exported', 'False', 'PathMissing', 'vg0/x is away')] } }, 'target: PathMissing: vg0/x is away'],
    [
      { status: { conditions: [condition('Provisioned', 'False', 'BackingLost', 'it is gone')] } },
      'backing volume: BackingLost: it is gone',
    ],
  ])('finds what the volume says: %j', (change, text) => expect(wrongs(way({ change }))).toContain(text));

  it('finds a node that is down, without module, or on another segment', () => {
    expect(wrongs(way({ machines: [machine('storage-1', { ready: false }), machine('worker-1')] }))).toStrictEqual([
      'storage node: node storage-1 has not been Ready since 2026-11-28T11:00:00Z (its kubelet is silent)',
    ]);
    const noDriver = aoeNode('worker-1', { status: { conditions: [condition('InitiatorReady', 'False', 'NoDriver', 'modprobe failed')] } });
    expect(wrongs(way({ nodes: [noDriver] }))).toStrictEqual(['initiator: worker-1: NoDriver: InitiatorReady is False: modprobe failed']);
    const elsewhere = [aoeNode('storage-1', { storage: true }), aoeNode('worker-1', { status: { segment: 'red' } })];
    expect(wrongs(way({ nodes: elsewhere }))[0]).toMatch('worker-1 is on segment red, and the target on segment default');
    const labelled = { metadata: { name: 'storage-1', labels: { 'aoe.dev/segment': 'red' } } };
    const noPlugin = [aoeNode('storage-1', { storage: true, status: { segment: undefined } }), aoeNode('worker-1')];
    expect(wrongs(way({ nodes: noPlugin, machines: [labelled, machine('worker-1')] }))[0]).toMatch(
      'worker-1 is on segment default, and the target on segment red',
    );
  });

  it('says what may not be read, and only that', () => {
    const { chain } = way();
    const said = (each: Way) => stepsOf(each, NOW).map(({ name, state, text }) => `${name} ${state}: ${text}`);
    const hidden = { claimName: chain.claimName, isClaimGone: false, pods: chain.pods };
    expect(said(way({ chain: hidden }))).toStrictEqual([
      'pod ok: shop/web on worker-1: Running',
      'claim unknown: shop/data may not be read',
    ]);
    expect(wrongs(way({ chain: { ...hidden, isClaimGone: true } }))).toStrictEqual(['claim: there is no shop/data']);
    expect(said(way({ chain: { ...chain, persistentVolume: undefined } }))).toContain(
      'attachment unknown: it would name the PersistentVolume, which was not found, or may not be read',
    );
    expect(said(way({ attachments: undefined }))).toContain('attachment unknown: VolumeAttachments may not be listed');
  });

  it('finds an MTU with which frames of full length are lost', () => {
    const large = aoeNode('worker-1', { status: { interfaces: [{ name: 'eth1', mac: '02:00:00:00:00:11', mtu: 9216 }] } });
    expect(wrongs(way({ nodes: [large] }))).toStrictEqual([
      'address: e7.3: the MTU of worker-1 is 9216, that of the target 9000: frames of full length are lost',
    ]);
  });

  it('finds on the nodes that the disk is away, has another size, or is not mounted for the pod', () => {
    const facts = {
      kernel: '6.16',
      isModuleLoaded: true,
      parameters: {},
      mappings: [],
      mounts: [{ target: '/staged', isReadOnly: false, type: 'ext4' }],
    };
    expect(wrongs(way({ isExec: true, nodeFacts: { ...facts, disk: { state: 'up', size: '1' } } }))).toStrictEqual([
      'mount: it is staged, but not mounted for the pod: ext4 at /staged',
      'disk: /dev/etherd/e7.3 is up, target ? on ?: it has 512 bytes, the target 1073741824',
    ]);
    expect(wrongs(way({ isExec: true, nodeFacts: { ...facts, mounts: [], isModuleLoaded: false, disk: undefined } }))).toStrictEqual([
      'mount: the disk is not mounted on worker-1',
      'disk: /dev/etherd/e7.3 is not in the kernel of worker-1',
      'module: the kernel of worker-1 has not loaded aoe: modprobe aoe must succeed there',
    ]);
  });

  it('finds on the node whether an encrypted volume is unlocked', () => {
    const target = '/var/lib/kubelet/pods/uid-web/volumes/mount';
    const nodeFacts = {
      kernel: '6.16',
      isModuleLoaded: true,
      parameters: {},
      disk: { state: 'up', size: '2097152' },
      mappings: ['aoe-e7.3-uid-pvc-1'],
      mounts: [{ target, isReadOnly: false, type: 'ext4' }],
    };
    const change = { spec: { encryption: 'LUKS2' } };
    const steps = stepsOf(way({ change, isExec: true, nodeFacts }), NOW);
    expect(steps.find(({ name }) => name === 'encryption')?.text).toBe('LUKS2, unlocked as /dev/mapper/aoe-e7.3-uid-pvc-1');
    expect(wrongs(way({ change, isExec: true, nodeFacts }))).toStrictEqual([]);
    expect(
      wrongs(way({ change, isExec: true, nodeFacts: { ...nodeFacts, mappings: ['aoe-e7.3-uid-of-before'], mounts: [] } })),
    ).toStrictEqual([
      'mount: the disk is not mounted on worker-1',
      'encryption: the volume is not unlocked on worker-1: there is no /dev/mapper/aoe-e7.3-uid-pvc-1',
    ]);
    expect(stepsOf(way({ change }), NOW).find(({ name }) => name === 'encryption')?.state).toBe('unknown');
    expect(stepsOf(way(), NOW).some(({ name }) => name === 'encryption')).toBe(false);
  });

  it('begins with the volume when no pod uses it, and ends with the claim when it has none', () => {
    const idle = way({ pod: undefined, change: { status: { holder: undefined } } });
    expect(wrongs({ ...idle, chain: { ...idle.chain, pods: [] } })).toStrictEqual([]);
    const pending = { claimName: { namespace: 'shop', name: 'new' }, claim: claim('new', undefined), pods: [] };
    expect(wrongs({ ...idle, chain: pending })).toStrictEqual([
      'claim: shop/new: Pending: kubectl -n shop describe pvc new',
      'volume: the claim has no volume yet (class aoe)',
    ]);
  });

  it('finds an AoEVolume that is gone, and does not take one that may not be read for that', () => {
    const lost = way();
    const chain = { ...lost.chain, volume: undefined, isVolumeHidden: false };
    expect(wrongs({ ...lost, chain })).toStrictEqual([
      expect.stringMatching(/^volume: pvc-1: PersistentVolume pvc-1 names it, and there is no such AoEVolume/),
    ]);
    expect(wrongs({ ...lost, chain: { ...chain, isVolumeHidden: true } })).toStrictEqual([]);
    // Another name than that of the claim's PersistentVolume cannot be known then.
    const nameless = { ...chain, persistentVolume: undefined };
    expect(wrongs({ ...lost, chain: nameless })).toStrictEqual([]);
    expect(wrongs({ ...lost, chain: { ...nameless, isPersistentVolumeGone: true } })).toStrictEqual([
      'volume: there is no PersistentVolume pvc-1',
    ]);
  });

  it('knows where backing volumes are', () => {
    expect(backingPaths(volume('v'), [pool('lvm')])).toStrictEqual(['/dev/vg0/aoe-uid-v']);
    const file = { ...pool('lvm'), spec: { backend: 'file' as const, directory: '/d' } };
    expect(backingPaths(volume('v'), [file])).toStrictEqual(['/d/uid-v.img']);
    expect(backingPaths(volume('v'), undefined)).toStrictEqual([]);
  });
});
