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

test('wantedOf() takes the time of takeovers from the StorageClass, whatever the cluster says', () => {
  for (const takeoverAfter of ['20s', 'Never'])
    expect(wantedOf(requestOf({ parameters: { takeoverAfter } }))).toMatchObject({ takeoverAfter });
  const shared = { volumeCapabilities: [{ block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } }] };
  const never = wantedOf(requestOf({ parameters: { takeoverAfter: 'Never' }, ...shared }));
  expect(never).toMatchObject({ access: 'Shared', takeoverAfter: 'Never' });
  expect(wantedOf(requestOf())).not.toHaveProperty('takeoverAfter');
});

test('wantedOf() takes the claim from the parameters of csi-provisioner', () => {
  const parameters = { 'csi.storage.k8s.io/pvc/name': 'data', 'csi.storage.k8s.io/pvc/namespace': 'shop' };
  expect(wantedOf(requestOf({ parameters })).annotations['aoe.dev/claim']).toBe('shop/data');
});

test('wantedOf() takes the schedule of free-space runs from the StorageClass', () => {
  expect(wantedOf(requestOf({ parameters: { reclaimEvery: '168h' } })).reclaimEvery).toBe('168h');
  expect(wantedOf(requestOf())).not.toHaveProperty('reclaimEvery');
});

const device = { block: {}, accessMode: { mode: Mode.SINGLE_NODE_WRITER } };
for (const [what, fields, message] of [
  [
    'a schedule in days',
    { parameters: { reclaimEvery: '7d' } },
    /reclaimEvery: "7d" is not a time: give whole hours, from 1h to 9999h, such as 168h/,
  ],
  ['an empty schedule', { parameters: { reclaimEvery: '' } }, /reclaimEvery: "" is not a time: give whole hours/],
  ['a schedule of an encrypted volume', { parameters: { reclaimEvery: '1h', encrypted: 'true' } }, /does not go with encrypted/],
  ['a schedule of a device', { parameters: { reclaimEvery: '1h' }, volumeCapabilities: [device] }, /does not go with a block volume/],
  ['an unknown parameter', { parameters: { size: '1' } }, /parameter size is not known: use pool/],
  ['an empty pool', { parameters: { pool: '' } }, /pool is empty/],
  [
    'a takeover after too short a time',
    { parameters: { takeoverAfter: '19s' } },
    /parameter takeoverAfter: "19s" is neither a time from 20s/,
  ],
  ['an empty time of takeovers', { parameters: { takeoverAfter: '' } }, /parameter takeoverAfter: "" is neither a time from 20s/],
  [
    'takeovers of a Shared volume',
    { parameters: { takeoverAfter: '300s' }, volumeCapabilities: [{ block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } }] },
    /parameter takeoverAfter: a volume with ReadWriteMany is never taken over/,
  ],
  ['an empty source', { volumeContentSource: {} }, /neither a snapshot_id nor a volume_id/],
  ['a source without a name', { volumeContentSource: { volume: {} } }, /neither a snapshot_id nor a volume_id/],
  ['a limit that is too low', { mutableParameters: { iops: '1' } }, /iops is "1": it must be a whole number from 10/],
  ['a topology of another driver', { accessibilityRequirements: { requisite: [{ segments: { zone: 'a' } }] } }, /topology key zone/],
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
