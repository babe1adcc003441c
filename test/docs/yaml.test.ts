import { parse } from 'yaml';
import { z } from 'zod';
import { AoEPoolSpec } from '../../api/schema/pool.ts';
import { AoESnapshotSpec } from '../../api/schema/snapshot.ts';
import { AoESnapshotGroupSpec } from '../../api/schema/snapshot-group.ts';
import { AoEVolumeSpec } from '../../api/schema/volume.ts';
import { freezeOf, RESERVED, refuseParameters } from '../../csi/controller/request/class-parameters.ts';
import { limitsOf } from '../../csi/controller/request/limits.ts';
import { wantedOf } from '../../csi/controller/request/request.ts';
import { csi, int64 } from '../../rpc/mod.ts';
import { textOf } from './pages.ts';
import { BLOCKS, blocksOf, type KubernetesObject, OBJECTS, SET_VALUES, VALUES } from './yaml.ts';

type Parameters = Record<string, string>;

/** Fields of our resources. test/apiserver/kubectl-columns.test.ts gives all objects to an API server, which knows the rules, too. */
const SPECS: Readonly<Record<string, z.ZodObject>> = {
  AoEPool: AoEPoolSpec,
  AoESnapshot: AoESnapshotSpec,
  AoESnapshotGroup: AoESnapshotGroupSpec,
  AoEVolume: AoEVolumeSpec,
};

/** What csi-provisioner knows below the prefix that is reserved for it (external-provisioner 6.4, pkg/controller/controller.go). */
const OF_SIDECAR =
  /^(fstype|((provisioner|node-stage|node-publish|node-expand|controller-publish|controller-expand)-)?secret-name(space)?)$/;

/** What the driver and csi-provisioner do with the parameters of a StorageClass. @throws RpcError or Error when they refuse them */
function createWith(parameters: Parameters): void {
  const fsType = parameters[`${RESERVED}fstype`] ?? '';
  wantedOf({
    name: 'pvc-1',
    parameters,
    capacityRange: { requiredBytes: int64(1024 ** 3) },
    volumeCapabilities: [{ mount: { fsType }, accessMode: { mode: csi.v1.VolumeCapability.AccessMode.Mode.SINGLE_NODE_WRITER } }],
  });
  const reserved = Object.keys(parameters).filter((key) => key.startsWith(RESERVED));
  const unknown = reserved.filter((key) => !OF_SIDECAR.test(key.slice(RESERVED.length)));
  if (unknown.length > 0) throw new Error(`csi-provisioner does not know ${unknown.join(', ')}`);
  if (['true', 'authenticated'].includes(parameters.encrypted ?? ''))
    for (const call of ['stage', 'publish'])
      for (const part of ['name', 'namespace'])
        if (!parameters[`${RESERVED}node-${call}-secret-${part}`]) throw new Error(`the Secret has no node-${call}-secret-${part}`);
}

/** The driver's own readers of the parameters of classes. */
const READERS: Readonly<Record<string, (parameters: Parameters) => void>> = {
  StorageClass: createWith,
  VolumeAttributesClass: limitsOf,
  VolumeSnapshotClass: freezeOf,
  VolumeGroupSnapshotClass: (parameters) => refuseParameters('VolumeGroupSnapshotClass', parameters),
};

/** Reads what the driver would read of an object. @throws what the driver, or the schema, says of a wrong one */
function check(object: KubernetesObject): void {
  SPECS[object.kind]?.strict().parse(object.spec);
  const { provisioner, driverName, driver } = object;
  const read = READERS[object.kind];
  if (!read) return;
  expect(provisioner ?? driverName ?? driver).toBe('aoe.dev');
  read((object.parameters ?? {}) as Parameters);
}

const defaults = parse(textOf('charts/aoe-csi/values.yaml')) as Record<string, unknown>;
const schema = z.fromJSONSchema(JSON.parse(textOf('charts/aoe-csi/values.schema.json')));

/** Values over others, as Helm merges them. */
function merged(under: unknown, over: unknown): unknown {
  const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap(under) || !isMap(over)) return over;
  return { ...under, ...Object.fromEntries(Object.entries(over).map(([key, value]) => [key, merged(under[key], value)])) };
}

describe('an object on a page or in an example fits the types and the driver', () => {
  for (const { where, content } of OBJECTS) test(`${where}: ${content.kind}`, () => check(content));

  test('they are found', () => {
    const kinds = new Set(OBJECTS.map(({ content }) => content.kind));
    expect(
      [...Object.keys(SPECS), 'StorageClass', 'VolumeAttributesClass', 'VolumeSnapshotClass'].filter((kind) => !kinds.has(kind)),
    ).toEqual([]);
  });

  const storageClass = { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', provisioner: 'aoe.dev' };
  for (const [what, object, message] of [
    [
      'a field that is not there',
      { apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', spec: { backend: 'lvm', volumegroup: 'v' } },
      /volumegroup/,
    ],
    ['a parameter that is not there', { ...storageClass, parameters: { Pool: 'ssd' } }, /parameter Pool is not known/],
    ['a file system that is not there', { ...storageClass, parameters: { [`${RESERVED}fstype`]: 'zfs' } }, /zfs is not supported/],
    ['a parameter that the sidecar does not know', { ...storageClass, parameters: { [`${RESERVED}fsType`]: 'xfs' } }, /does not know/],
    ['encryption without a Secret', { ...storageClass, parameters: { encrypted: 'true' } }, /node-stage-secret-name/],
    ['another driver', { ...storageClass, provisioner: 'aoe-csi' }, /aoe\.dev/],
  ] as const)
    test(`${what} would be noticed`, () => expect(() => check(object)).toThrow(message));
});

describe('values of the chart on a page fit its schema', () => {
  for (const { where, content } of [...VALUES, ...SET_VALUES]) test(where, () => void schema.parse(merged(defaults, content)));

  test('they are found', () => {
    expect(VALUES.length).toBeGreaterThan(5);
    expect(SET_VALUES.length).toBeGreaterThan(5);
  });
  test('a value that is not there would be noticed', () => {
    expect(() => schema.parse(merged(defaults, { storage: { directory: '/d' } }))).toThrow(/directory/);
  });
});

describe('a block of YAML', () => {
  test('is marked as one, so that it is checked', () => {
    const unmarked = BLOCKS.filter(
      ({ language, text }) => !['yaml', 'text'].includes(language) && /^(---|#.*|[\w.-]+:( .*)?)\n/.test(text) && /^\w+:/m.test(text),
    );
    expect(unmarked.map(({ where }) => where)).toStrictEqual([]);
  });

  test('is found, in a list, too, with its title', () => {
    const text = '1. a\n\n   ```yaml\n   a:\n     b: 1\n   ```\n\n````yaml title="of another"\n```\n````\n\n```\nplain\n```\n';
    expect(blocksOf(text, 'p.md')).toStrictEqual([
      { where: 'p.md:4', language: 'yaml', text: 'a:\n  b: 1\n' },
      { where: 'p.md:9', language: 'yaml', title: 'of another', text: '```\n' },
      { where: 'p.md:13', language: '', text: 'plain\n' },
    ]);
  });
});
