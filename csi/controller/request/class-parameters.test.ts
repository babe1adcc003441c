import { Code } from '../../../rpc/status.ts';
import { freezeOf, refuseParameters } from './class-parameters.ts';

test('a snapshot class has no parameters of its own', () => {
  for (const parameters of [undefined, {}, { 'csi.storage.k8s.io/volumesnapshot/name': 'a' }, { deletionPolicy: 'Delete' }])
    expect(() => refuseParameters('VolumeSnapshotClass', parameters)).not.toThrow();
  const refused = { code: Code.INVALID_ARGUMENT, message: 'VolumeSnapshotClass parameter x, y is not known: there are none' };
  expect(() => refuseParameters('VolumeSnapshotClass', { x: '1', y: '2' })).toThrow(expect.objectContaining(refused));
});

test('a VolumeSnapshotClass says whether file systems are frozen, and nothing else', () => {
  const name = { 'csi.storage.k8s.io/volumesnapshot/name': 'a' };
  expect([undefined, name, { freeze: 'false' }, { ...name, freeze: 'true' }].map(freezeOf)).toStrictEqual([false, false, false, true]);
  for (const [parameters, message] of [
    [{ freeze: 'yes' }, /parameter freeze is "yes": give "true" or "false"/],
    [{ freeze: 'true', x: '1' }, /parameter x is not known: there is freeze/],
  ] as const)
    expect(() => freezeOf(parameters)).toThrow(
      expect.objectContaining({ code: Code.INVALID_ARGUMENT, message: expect.stringMatching(message) }),
    );
});
