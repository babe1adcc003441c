import { MiB } from '../../../api/quantity.ts';
import { csi, int64 } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { wantedOf } from './request.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const capability = (fsType = '') => ({ mount: { fsType }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } });
const requestOf = (fields: csi.v1.ICreateVolumeRequest = {}): csi.v1.ICreateVolumeRequest => ({
  name: 'pvc-1',
  volumeCapabilities: [capability()],
  ...fields,
});

test('wantedOf() gives the defaults of a StorageClass without parameters', () => {
  expect(wantedOf(requestOf())).toMatchObject({ pool: 'default', access: 'Exclusive', segments: [], bounds: { least: 0, most: 0 } });
});

test('wantedOf() takes the claim from the parameters of csi-provisioner', () => {
  const parameters = { 'csi.storage.k8s.io/pvc/name': 'data', 'csi.storage.k8s.io/pvc/namespace': 'shop' };
  expect(wantedOf(requestOf({ parameters })).annotations['aoe.dev/claim']).toBe('shop/data');
});

for (const [what, fields, message] of [
  ['an unknown parameter', { parameters: { size: '1' } }, /parameter size is not known: use pool/],
  ['an empty pool', { parameters: { pool: '' } }, /pool is empty/],
  ['an empty source', { volumeContentSource: {} }, /neither a snapshot_id nor a volume_id/],
  ['a source without a name', { volumeContentSource: { volume: {} } }, /neither a snapshot_id nor a volume_id/],
  ['a limit that is too low', { mutableParameters: { iops: '1' } }, /iops is "1": it must be a whole number from 10/],
  ['a foreign topology', { accessibilityRequirements: { requisite: [{ segments: { zone: 'a' } }] } }, /topology key zone/],
] as const) {
  test(`wantedOf() refuses ${what}`, () => {
    const request = requestOf(structuredClone(fields) as csi.v1.ICreateVolumeRequest);
    expect(() => wantedOf(request)).toThrow(
      expect.objectContaining({ code: Code.INVALID_ARGUMENT, message: expect.stringMatching(message) }),
    );
  });
}

for (const [least, most, fsType, isRefused] of [
  [100, 0, 'xfs', true],
  [0, 299, 'xfs', true],
  [300, 0, 'xfs', false],
  [0, 0, 'xfs', false],
  [100, 0, 'ext4', false],
] as const) {
  test(`wantedOf() ${isRefused ? 'refuses' : 'accepts'} ${fsType} on ${least} to ${most} MiB`, () => {
    const request = requestOf({
      volumeCapabilities: [capability(fsType)],
      capacityRange: { requiredBytes: int64(least * MiB), limitBytes: int64(most * MiB) },
    });
    if (!isRefused) expect(wantedOf(request).bounds.least).toBe(least * MiB);
    else
      expect(() => wantedOf(request)).toThrow(
        expect.objectContaining({ code: Code.OUT_OF_RANGE, message: 'a volume with xfs needs at least 300Mi' }),
      );
  });
}
