import type { AoEVolume } from '../../../api/volume.ts';
import { claimOf } from './claim-of.ts';

const volume = (name: string, annotations?: Record<string, string>) => ({ metadata: { name, annotations } }) as AoEVolume;
const UID = '0c6a5f1c-1111-4222-8333-444455556666';

test('a volume that csi-provisioner named has a claim with name, namespace and UID', () => {
  expect(claimOf(volume(`pvc-${UID}`, { 'aoe.dev/claim': 'shop/data' }))).toStrictEqual({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace: 'shop', name: 'data', uid: UID },
  });
});

test('the UID is left out when the name does not have it', () => {
  expect(claimOf(volume('hdd-1', { 'aoe.dev/claim': 'shop/data' }))?.metadata).toStrictEqual({ namespace: 'shop', name: 'data' });
});

test('a volume that was made by hand has none', () => {
  expect(claimOf(volume('data-1'))).toBeUndefined();
  expect(claimOf(volume('data-1', { 'aoe.dev/claim': 'odd' }))).toBeUndefined();
});
