import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MAX_SHELF, MAX_SLOT } from '../../../api/address.ts';
import { parseQuantity } from '../../../api/quantity.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, type ResourceType } from '../../../api/resources.ts';
import { type Kube, KubeError, type KubeObject } from '../../../kube/mod.ts';

type Spec = Record<string, unknown>;
type Thing = KubeObject & { spec: Spec; status?: Record<string, unknown> };

const MAC = '02:00:5e:10:00:01';
const VOLUME: Spec = { capacity: '1Gi', pool: 'default' };
const THIN: Spec = { backend: 'lvm-thin', volumeGroup: 'v', thinPool: 'p' };
const EXTERNAL: Spec = { external: { shelf: 1, slot: 2 } };

let count = 0;

/** Tests of the CRDs on a real API server. */
export function crds(kube: () => Kube): void {
  const create = (type: ResourceType, spec: Spec): Promise<Thing> => {
    const metadata = { name: `x${++count}` };
    return kube().create<Thing>(type, { metadata, spec });
  };
  const change = (type: ResourceType, { metadata: { name } }: Thing, spec: Spec): Promise<Thing> =>
    kube().patch<Thing>(type, name, { spec });

  async function refused(attempt: Promise<unknown>, message: RegExp): Promise<void> {
    await expect(attempt).rejects.toSatisfy((error: unknown) => {
      assert.ok(error instanceof KubeError, String(error));
      expect(error.code, error.message).toBe(422);
      expect(error.message).toMatch(message);
      return true;
    });
  }

  const accepted: [string, ResourceType, Spec][] = [
    ['a volume of a pool', AOE_VOLUMES, VOLUME],
    ['a volume with a fraction of a unit', AOE_VOLUMES, { ...VOLUME, capacity: '1.5Ti' }],
    ['a volume of a decimal size', AOE_VOLUMES, { ...VOLUME, capacity: '500M' }],
    ['a volume of plain bytes', AOE_VOLUMES, { ...VOLUME, capacity: '1' }],
    ['a volume on a given node, at a given address', AOE_VOLUMES, { ...VOLUME, nodeName: 'n1', address: { shelf: 7, slot: 3 } }],
    ['a volume at the lowest address', AOE_VOLUMES, { ...VOLUME, address: { shelf: 0, slot: 0 } }],
    ['a volume at the highest address', AOE_VOLUMES, { ...VOLUME, address: { shelf: MAX_SHELF, slot: MAX_SLOT } }],
    ['a volume for hosts outside the cluster', AOE_VOLUMES, { ...VOLUME, initiators: { macs: [MAC, '52:54:00:00:00:0a'] } }],
    ['a volume with a schedule', AOE_VOLUMES, { ...VOLUME, reclaimEvery: '168h' }],
    ["somebody else's target", AOE_VOLUMES, EXTERNAL],
    ["somebody else's target of a known size", AOE_VOLUMES, { ...EXTERNAL, capacity: '1Gi', access: 'ReadOnlyMany' }],
    ['a linear pool', AOE_POOLS, { backend: 'lvm', volumeGroup: 'vg0' }],
    ['a thin pool of which more is promised than it has', AOE_POOLS, { ...THIN, overprovision: '250%' }],
    ['a linear pool that wipes only the ends', AOE_POOLS, { backend: 'lvm', volumeGroup: 'vg0', wipe: 'Ends' }],
    ['a thin pool on some nodes', AOE_POOLS, { backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'p', nodeSelector: { disk: 'nvme' } }],
    ['an LVM pool in a group of an odd name', AOE_POOLS, { backend: 'lvm', volumeGroup: '.v_g+1-x' }],
    ['a pool of files', AOE_POOLS, { backend: 'file', directory: '/var/lib/aoe' }],
    ['a pool of files that gets nothing back', AOE_POOLS, { backend: 'file', directory: '/d', reclaimZeros: 'None' }],
    ['a thin pool that gets zeros back', AOE_POOLS, { ...THIN, reclaimZeros: 'Auto' }],
    ...['0', '0%', '15%', '20Gi', '1.5Ti'].map(
      (reserve) => [`a reserve of ${reserve}`, AOE_POOLS, { backend: 'file', directory: '/d', reserve }] as [string, ResourceType, Spec],
    ),
    ['a node', AOE_NODES, {}],
    ['a node in maintenance', AOE_NODES, { maintenance: true }],
  ];
  for (const [what, type, spec] of accepted) {
    test(`${what} is accepted`, async () => {
      const { metadata } = await create(type, spec);
      expect(metadata.uid).toBeTruthy();
    });
  }

  const SIZE = /spec\.capacity.*must be a size greater than 0 and less than 8Pi, such as 10Gi or 1\.5Ti/;
  const MACS = /spec\.initiators\.macs.*must be a unicast MAC address in lower case, such as 02:00:5e:10:00:01/;
  const EITHER = /give either pool \(a volume of ours\) or external \(a target that someone else serves\)/;
  const wrong: [string, ResourceType, Spec, RegExp][] = [
    ['a volume of size 0', AOE_VOLUMES, { ...VOLUME, capacity: '0' }, SIZE],
    ['a volume of size 0Gi', AOE_VOLUMES, { ...VOLUME, capacity: '0Gi' }, SIZE],
    ['a volume of a negative size', AOE_VOLUMES, { ...VOLUME, capacity: '-1Gi' }, SIZE],
    ['a volume whose size is a word', AOE_VOLUMES, { ...VOLUME, capacity: 'ten' }, SIZE],
    ['a volume whose size is empty', AOE_VOLUMES, { ...VOLUME, capacity: '' }, SIZE],
    ['a volume whose size has a space', AOE_VOLUMES, { ...VOLUME, capacity: '10 Gi' }, SIZE],
    ['a volume with an unknown unit', AOE_VOLUMES, { ...VOLUME, capacity: '10GB' }, SIZE],
    ['a volume of a thousandth of a byte', AOE_VOLUMES, { ...VOLUME, capacity: '1m' }, SIZE],
    ['a volume whose size has an exponent', AOE_VOLUMES, { ...VOLUME, capacity: '1e9' }, SIZE],
    ['a volume of 8Pi', AOE_VOLUMES, { ...VOLUME, capacity: '8Pi' }, SIZE],
    ['a volume that is rounded up to 8Pi', AOE_VOLUMES, { ...VOLUME, capacity: '7.9999999999999999Pi' }, SIZE],
    ['a volume whose size is a number, not a text', AOE_VOLUMES, { ...VOLUME, capacity: 10 }, /spec\.capacity.*must be of type string/],
    ...['0h', '01h', '10000h', '7d', '90m', 'h', '1h30m'].map(
      (reclaimEvery) =>
        [`a schedule of ${reclaimEvery}`, AOE_VOLUMES, { ...VOLUME, reclaimEvery }, /spec\.reclaimEvery.*must be whole hours/] as [
          string,
          ResourceType,
          Spec,
          RegExp,
        ],
    ),
    [
      'a schedule of a Shared volume',
      AOE_VOLUMES,
      { ...VOLUME, access: 'Shared', reclaimEvery: '1h' },
      /reclaimEvery needs access Exclusive/,
    ],
    [
      'a schedule of an encrypted volume',
      AOE_VOLUMES,
      { ...VOLUME, encryption: 'LUKS2', reclaimEvery: '1h' },
      /does not go with encryption/,
    ],
    [
      "a schedule of somebody else's target",
      AOE_VOLUMES,
      { ...EXTERNAL, reclaimEvery: '1h' },
      /reclaimEvery does not apply to an external/,
    ],
    ['a volume without a size', AOE_VOLUMES, { pool: 'default' }, /capacity is required with pool/],
    ['a volume of nowhere', AOE_VOLUMES, { capacity: '1Gi' }, EITHER],
    ["a volume that is ours and somebody else's", AOE_VOLUMES, { ...VOLUME, ...EXTERNAL }, EITHER],
    ['a pool without a name', AOE_VOLUMES, { ...VOLUME, pool: '' }, /spec\.pool.*at least 1 char/],
    ["a node for somebody else's target", AOE_VOLUMES, { ...EXTERNAL, nodeName: 'n1' }, /nodeName and address do not apply to an external/],
    [
      "an address of ours for somebody else's target",
      AOE_VOLUMES,
      { ...EXTERNAL, address: { shelf: 1, slot: 1 } },
      /nodeName and address do not apply to an external target/,
    ],
    ["somebody else's target without a slot", AOE_VOLUMES, { external: { shelf: 1 } }, /spec\.external\.slot.*Required/],
    [
      'the shelf that Linux refuses',
      AOE_VOLUMES,
      { ...VOLUME, address: { shelf: 4095, slot: 0 } },
      /spec\.address.*shelf 4095 \(0xFFF\) cannot be used: the Linux initiator refuses it/,
    ],
    [
      'the shelf of all',
      AOE_VOLUMES,
      { ...VOLUME, address: { shelf: 65535, slot: 0 } },
      /spec\.address\.shelf.*less than or equal to 65534/,
    ],
    ['the slot of all', AOE_VOLUMES, { ...VOLUME, address: { shelf: 1, slot: 255 } }, /spec\.address\.slot.*less than or equal to 254/],
    ['a negative shelf', AOE_VOLUMES, { ...VOLUME, address: { shelf: -1, slot: 0 } }, /spec\.address\.shelf.*greater than or equal to 0/],
    ['an address without a slot', AOE_VOLUMES, { ...VOLUME, address: { shelf: 1 } }, /spec\.address\.slot.*Required/],
    [
      'a kind of access that there is not',
      AOE_VOLUMES,
      { ...VOLUME, access: 'Many' },
      /spec\.access.*"Exclusive", "ReadOnlyMany", "Shared"/,
    ],
    ['a deletion policy that there is not', AOE_VOLUMES, { ...VOLUME, deletionPolicy: 'Keep' }, /spec\.deletionPolicy.*"Delete", "Retain"/],
    ['a MAC in upper case', AOE_VOLUMES, { ...VOLUME, initiators: { macs: ['02:00:5E:10:00:01'] } }, MACS],
    ['a multicast MAC', AOE_VOLUMES, { ...VOLUME, initiators: { macs: ['01:00:5e:10:00:01'] } }, MACS],
    ['the broadcast MAC', AOE_VOLUMES, { ...VOLUME, initiators: { macs: ['ff:ff:ff:ff:ff:ff'] } }, MACS],
    ['the MAC of nobody', AOE_VOLUMES, { ...VOLUME, initiators: { macs: ['00:00:00:00:00:00'] } }, MACS],
    ['a MAC with dashes', AOE_VOLUMES, { ...VOLUME, initiators: { macs: ['02-00-5e-10-00-01'] } }, MACS],
    ['the same MAC twice', AOE_VOLUMES, { ...VOLUME, initiators: { macs: [MAC, MAC] } }, /spec\.initiators\.macs.*Duplicate value/],
    ['the same node twice', AOE_VOLUMES, { ...VOLUME, initiators: { nodes: ['a', 'a'] } }, /spec\.initiators\.nodes.*Duplicate value/],
    [
      'an LVM pool without a volume group',
      AOE_POOLS,
      { backend: 'lvm' },
      /volumeGroup goes with backends lvm and lvm-thin, and is required/,
    ],
    ...['-n', '--yes', '.', '..', 'v/g', 'v g', 'v;g', ''].map((name): [string, ResourceType, Spec, RegExp] => [
      `an LVM pool in a group named "${name}"`,
      AOE_POOLS,
      { backend: 'lvm', volumeGroup: name },
      /spec\.volumeGroup.*(should match|at least 1 char|must be a name that LVM takes)/,
    ]),
    [
      'a thin pool whose name is an option',
      AOE_POOLS,
      { backend: 'lvm-thin', volumeGroup: 'v', thinPool: '-f' },
      /spec\.thinPool.*should match/,
    ],
    ['an LVM pool in a directory', AOE_POOLS, { backend: 'lvm', volumeGroup: 'v', directory: '/d' }, /directory goes with backend file/],
    ['an LVM pool with a thin pool', AOE_POOLS, { backend: 'lvm', volumeGroup: 'v', thinPool: 't' }, /thinPool goes with backend lvm-thin/],
    [
      'a thin pool without its name',
      AOE_POOLS,
      { backend: 'lvm-thin', volumeGroup: 'v' },
      /thinPool goes with backend lvm-thin, and is req/,
    ],
    ['a pool of files without a directory', AOE_POOLS, { backend: 'file' }, /directory goes with backend file, and is required there/],
    [
      'a pool of files in a volume group',
      AOE_POOLS,
      { backend: 'file', directory: '/d', volumeGroup: 'v' },
      /volumeGroup goes with backends/,
    ],
    [
      'a linear pool that promises more than it has',
      AOE_POOLS,
      { backend: 'lvm', volumeGroup: 'v', overprovision: '200%' },
      /goes with backend lvm-thin/,
    ],
    ...['99%', '200', '2', '0100%', '10000%', ''].map(
      (overprovision) =>
        [`overprovision of ${overprovision}`, AOE_POOLS, { ...THIN, overprovision }, /spec\.overprovision.*should match/] as [
          string,
          ResourceType,
          Spec,
          RegExp,
        ],
    ),
    ['a pool of files that wipes', AOE_POOLS, { backend: 'file', directory: '/d', wipe: 'Full' }, /wipe goes with backend lvm/],
    ['a linear pool that gets zeros back', AOE_POOLS, { backend: 'lvm', volumeGroup: 'v', reclaimZeros: 'Auto' }, /reclaimZeros goes with/],
    ['a wipe that there is not', AOE_POOLS, { backend: 'lvm', volumeGroup: 'v', wipe: 'Half' }, /spec\.wipe.*"Full", "Ends"/],
    ...['100%', '-1', '15 %', '1.5%', 'a lot', '9Pi'].map(
      (reserve) =>
        [`a reserve of ${reserve}`, AOE_POOLS, { backend: 'file', directory: '/d', reserve }, /must be a percentage such as 15%/] as [
          string,
          ResourceType,
          Spec,
          RegExp,
        ],
    ),
    ['an LVM pool with a reserve', AOE_POOLS, { backend: 'lvm', volumeGroup: 'v', reserve: '15%' }, /reserve goes with backend file/],
    ['a directory that is not absolute', AOE_POOLS, { backend: 'file', directory: 'd' }, /spec\.directory.*should match/],
    ['a backend that there is not', AOE_POOLS, { backend: 'zfs' }, /spec\.backend.*"lvm", "lvm-thin", "file"/],
    ['a pool without a backend', AOE_POOLS, {}, /spec\.backend.*Required value/],
  ];
  for (const [what, type, spec, message] of wrong) {
    test(`${what} is refused`, async () => {
      await refused(create(type, spec), message);
    });
  }

  test('an object without a spec is refused', async () => {
    for (const type of [AOE_VOLUMES, AOE_POOLS, AOE_NODES]) {
      await refused(kube().create(type, { metadata: { name: 'bare' } }), /spec: Required value/);
    }
  });

  const ACCESS = /access can be changed only while spec\.initiators is empty/;
  const PLACED: Spec = { ...VOLUME, nodeName: 'n1', address: { shelf: 7, slot: 3 } };
  const changes: [string, ResourceType, Spec, Spec, RegExp | undefined][] = [
    ['the size of a volume, to more,', AOE_VOLUMES, VOLUME, { capacity: '2Gi' }, undefined],
    ['the size of a volume, to less,', AOE_VOLUMES, VOLUME, { capacity: '1023Mi' }, /cannot become smaller than status\.capacity/],
    ['the spelling of the size of a volume', AOE_VOLUMES, VOLUME, { capacity: '1024Mi' }, undefined],
    ["the size of somebody else's target", AOE_VOLUMES, EXTERNAL, { capacity: '1Gi' }, /capacity cannot be added or removed/],
    ["somebody else's size", AOE_VOLUMES, { ...EXTERNAL, capacity: '1Gi' }, { capacity: '2Gi' }, /of an external target cannot be/],
    ['the pool of a volume', AOE_VOLUMES, VOLUME, { pool: 'other' }, /pool cannot be changed/],
    ['who serves a volume', AOE_VOLUMES, VOLUME, { pool: null, ...EXTERNAL }, /pool cannot be changed/],
    ["the address of somebody else's target", AOE_VOLUMES, EXTERNAL, { external: { slot: 9 } }, /external cannot be changed/],
    [
      'the access to a volume that nobody uses',
      AOE_VOLUMES,
      { ...VOLUME, initiators: { nodes: [] } },
      { access: 'ReadOnlyMany' },
      undefined,
    ],
    ['the access to a volume that a node uses', AOE_VOLUMES, { ...VOLUME, initiators: { nodes: ['a'] } }, { access: 'Shared' }, ACCESS],
    ['the access to a volume that a MAC uses', AOE_VOLUMES, { ...VOLUME, initiators: { macs: [MAC] } }, { access: 'Shared' }, ACCESS],
    ['the node of a placed volume', AOE_VOLUMES, PLACED, { nodeName: 'n2' }, /nodeName cannot be changed once set/],
    ['that a placed volume has a node', AOE_VOLUMES, PLACED, { nodeName: null }, /nodeName cannot be changed once set/],
    ['the address of a placed volume', AOE_VOLUMES, PLACED, { address: { slot: 4 } }, /address cannot be changed once set/],
    ['that a placed volume has an address', AOE_VOLUMES, PLACED, { address: null }, /address cannot be changed once set/],
    ['node and address of a volume that has none', AOE_VOLUMES, VOLUME, { nodeName: 'n1', address: { shelf: 1, slot: 1 } }, undefined],
    ['who may talk to a volume', AOE_VOLUMES, PLACED, { initiators: { nodes: ['n2'], macs: [MAC] } }, undefined],
    ['what becomes of the data', AOE_VOLUMES, PLACED, { deletionPolicy: 'Retain' }, undefined],
    [
      'the backend of a pool',
      AOE_POOLS,
      { backend: 'lvm', volumeGroup: 'v' },
      { backend: 'lvm-thin', thinPool: 't' },
      /backend cannot be changed/,
    ],
    [
      'the volume group of a pool',
      AOE_POOLS,
      { backend: 'lvm', volumeGroup: 'v' },
      { volumeGroup: 'w' },
      /volumeGroup cannot be changed: the/,
    ],
    [
      'the directory of a pool',
      AOE_POOLS,
      { backend: 'file', directory: '/d' },
      { directory: '/e' },
      /directory cannot be changed: the volumes/,
    ],
    ['the nodes of a pool', AOE_POOLS, { backend: 'file', directory: '/d' }, { nodeSelector: { disk: 'ssd' } }, undefined],
    ['the maintenance of a node', AOE_NODES, {}, { maintenance: true }, undefined],
  ];
  for (const [what, type, spec, next, message] of changes) {
    test(`${what} ${message ? 'cannot' : 'can'} be changed`, async () => {
      const attempt = change(type, await create(type, spec), next);
      if (message) await refused(attempt, message);
      else await attempt;
    });
  }

  test('a growth that cannot be had is taken back, down to what the disk has', async () => {
    const volume = await create(AOE_VOLUMES, VOLUME);
    const { name } = volume.metadata;
    await kube().patch(AOE_VOLUMES, name, { status: { capacity: '1028Mi' } }, { subresource: 'status' });
    for (const capacity of ['4Gi', '2Gi']) await change(AOE_VOLUMES, volume, { capacity });
    await refused(change(AOE_VOLUMES, volume, { capacity: '1Gi' }), /cannot become smaller than status\.capacity/);
    await change(AOE_VOLUMES, volume, { capacity: '1028Mi' });
    await kube().patch(AOE_VOLUMES, name, { status: { capacity: '2Gi' } }, { subresource: 'status' });
    // It grew all the same, while its capacity was taken back: whatever else is changed is not refused for that.
    await change(AOE_VOLUMES, volume, { deletionPolicy: 'Retain' });
    await change(AOE_VOLUMES, volume, { capacity: '3Gi' });
  });

  test('what is not said has its default', async () => {
    const { spec } = await create(AOE_VOLUMES, VOLUME);
    expect(spec).toStrictEqual({ ...VOLUME, access: 'Exclusive', initiators: {} });
    expect((await create(AOE_NODES, {})).spec).toStrictEqual({ maintenance: false });
  });

  test('every size that is accepted can be parsed here', async () => {
    const suffix = fc.constantFrom('', 'k', 'M', 'G', 'T', 'P', 'E', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'm', 'e3', 'B');
    const digits = fc.stringMatching(/^[0-9]{1,8}$/);
    const size = fc
      .tuple(digits, fc.option(digits, { nil: undefined }), suffix)
      .map(([a, b, c]) => `${b === undefined ? a : `${a}.${b}`}${c}`);
    await fc.assert(
      fc.asyncProperty(size, async (capacity) => {
        const made = await create(AOE_VOLUMES, { ...VOLUME, capacity }).catch((error: unknown) => {
          expect(error instanceof KubeError && error.code === 422, String(error)).toBe(true);
          return undefined;
        });
        if (made) expect(parseQuantity(capacity)).toBeGreaterThan(0);
      }),
      { numRuns: 100 },
    );
  });

  test('status is written apart from spec', async () => {
    const made = await kube().create<Thing>(AOE_VOLUMES, { metadata: { name: 'apart' }, spec: VOLUME, status: { phase: 'Ready' } });
    expect(made.status).toBeUndefined();
    const patch = { status: { phase: 'Ready' }, spec: { deletionPolicy: 'Retain' } };
    const { spec, status, metadata } = await kube().patch<Thing>(AOE_VOLUMES, 'apart', patch, { subresource: 'status' });
    expect(spec.deletionPolicy).toBeUndefined();
    expect(status?.phase).toBe('Ready');
    expect(metadata.generation).toBe(1);
    await refused(kube().patch(AOE_VOLUMES, 'apart', { status: { phase: 'Fine' } }, { subresource: 'status' }), /status\.phase.*"Pending"/);
    const condition = { type: 'Ready', status: 'Yes', reason: 'A', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const conditions = [condition];
    await refused(
      kube().patch(AOE_VOLUMES, 'apart', { status: { conditions } }, { subresource: 'status' }),
      /conditions\[0\]\.status.*"True"/,
    );
  });

  test('64 nodes of 16 interfaces each can be admitted at once', async () => {
    const { metadata } = await create(AOE_VOLUMES, { ...VOLUME, access: 'Shared' });
    const hex = (byte: number) => byte.toString(16).padStart(2, '0');
    const macs = Array.from({ length: 64 * 16 }, (_, index) => `02:00:00:00:${hex(index >> 8)}:${hex(index & 255)}`);
    const nodes = Array.from({ length: 64 }, (_, index) => `n${index}`);
    const write = (all: string[]) =>
      kube().patch<Thing>(
        AOE_VOLUMES,
        metadata.name,
        { status: { initiators: { observedGeneration: 1, nodes, macs: all } } },
        { subresource: 'status' },
      );
    await write(macs);
    await refused(write([...macs, MAC]), /status\.initiators\.macs.*at most 1024/);
    await refused(create(AOE_VOLUMES, { ...VOLUME, initiators: { macs: macs.slice(0, 65) } }), /spec\.initiators\.macs.*at most 64/);
  });

  test('writers of one status keep to their own entries of its lists', async () => {
    await kube().create<Thing>(AOE_POOLS, { metadata: { name: 'shared' }, spec: { backend: 'file', directory: '/d' } });
    const say = (node: string, ready: boolean) =>
      kube().apply<Thing>(
        AOE_POOLS,
        { metadata: { name: 'shared' }, status: { nodes: [{ name: node, ready }] } },
        { fieldManager: `aoe-csi-agent-${node}`, subresource: 'status' },
      );
    await say('n1', true);
    await say('n2', true);
    const { status } = await say('n1', false);
    expect(status?.nodes).toStrictEqual([
      { name: 'n1', ready: false },
      { name: 'n2', ready: true },
    ]);
  });

  test('volumes can be selected by node and pool, and by nothing else', async () => {
    const spec = { ...VOLUME, pool: 'selected', nodeName: 'here' };
    const { metadata } = await create(AOE_VOLUMES, spec);
    await create(AOE_VOLUMES, { ...spec, nodeName: 'there' });
    const names = async (fieldSelector: string) =>
      (await kube().list(AOE_VOLUMES, { fieldSelector })).items.map((each) => each.metadata.name);
    expect(await names('spec.nodeName=here')).toStrictEqual([metadata.name]);
    expect(await names('spec.pool=selected')).toHaveLength(2);
    expect(await names('spec.pool=selected,spec.nodeName=here')).toStrictEqual([metadata.name]);
    await expect(names('spec.capacity=1Gi')).rejects.toMatchObject({ code: 400 });
  });
}
