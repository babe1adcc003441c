import { Code } from '../../../rpc/status.ts';
import { refuseParameters } from './class-parameters.ts';

test('a snapshot class has no parameters of its own', () => {
  for (const parameters of [undefined, {}, { 'csi.storage.k8s.io/volumesnapshot/name': 'a' }, { deletionPolicy: 'Delete' }])
    expect(() => refuseParameters('VolumeSnapshotClass', parameters)).not.toThrow();
  const refused = { code: Code.INVALID_ARGUMENT, message: 'VolumeSnapshotClass parameter x, y is not known: there are none' };
  expect(() => refuseParameters('VolumeSnapshotClass', { x: '1', y: '2' })).toThrow(expect.objectContaining(refused));
});
