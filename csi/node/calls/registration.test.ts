import assert from 'node:assert/strict';
import { test } from 'node:test';
import { context } from '../testing/calls.ts';
import { registrationService } from './registration.ts';

test('the kubelet gets driver name, socket and version', async () => {
  const lines: string[] = [];
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (_: object, message: string) => lines.push(message) };
  const service = registrationService('/var/lib/kubelet/plugins/aoe.dev/csi.sock', log);
  assert.deepEqual(await service.getInfo({}, context), {
    type: 'CSIPlugin',
    name: 'aoe.dev',
    endpoint: '/var/lib/kubelet/plugins/aoe.dev/csi.sock',
    supportedVersions: ['1.0.0'],
  });
  await service.notifyRegistrationStatus({ pluginRegistered: false, error: 'no' }, context);
  assert.equal(lines.length, 1);
});
