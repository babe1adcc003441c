import { context } from '../testing/calls.ts';
import { registrationService } from './registration.ts';

test('the kubelet gets driver name, socket and version', async () => {
  const lines: string[] = [];
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (_: object, message: string) => lines.push(message) };
  const service = registrationService('/var/lib/kubelet/plugins/aoe.dev/csi.sock', log);
  expect(await service.getInfo({}, context)).toStrictEqual({
    type: 'CSIPlugin',
    name: 'aoe.dev',
    endpoint: '/var/lib/kubelet/plugins/aoe.dev/csi.sock',
    supportedVersions: ['1.0.0'],
  });
  await service.notifyRegistrationStatus({ pluginRegistered: false, error: 'no' }, context);
  expect(lines).toHaveLength(1);
});
