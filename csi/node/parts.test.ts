import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registrationService } from './calls/registration.ts';
import { mountAt, parseMountinfo, SystemMounter } from './disk/mounts.ts';
import { StagedVolumes } from './record/staged-volumes.ts';

test('parseMountinfo() reads bind mounts, escapes and optional fields', () => {
  const text = [
    '17 26 152:32 / /var/lib/kubelet/a\\040b rw,relatime shared:12 master:3 - ext4 /dev/etherd/e7.1 rw,stripe=2048',
    '18 26 0:5 /etherd/e7.1 /pub rw - devtmpfs dev rw,size=4k',
    'garbage',
    '',
  ].join('\n');
  const mounts = parseMountinfo(text);
  expect(mounts).toHaveLength(2);
  expect(mountAt(mounts, '/var/lib/kubelet/a b')?.device).toBe('152:32');
  expect(mounts[0]?.superOptions).toStrictEqual(['rw', 'stripe=2048']);
  expect(mounts[1]?.root).toBe('/etherd/e7.1');
});

test('a failed unmount of what is no mount is success: only the mount table counts', async () => {
  const mounter = new SystemMounter(async () => {
    throw new Error('not mounted');
  });
  await mounter.unmount('/no/such/mount', { signal: AbortSignal.timeout(1000) });
  await expect(mounter.unmount('/proc', { signal: AbortSignal.timeout(1000) })).rejects.toThrow(/still mounted/);
});

test('StagedVolumes keeps a file for each volume, and takes a broken one for none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-staged-'));
  const staged = new StagedVolumes(directory);
  const volume = { version: 1, volumeUID: 'u', address: 'e1.2', access: 'Exclusive', external: false, stagingPath: '/s' } as const;
  await staged.put('a/../b', volume);
  expect(await staged.get('a/../b')).toStrictEqual(volume);
  expect(readdirSync(directory)).toStrictEqual(['a%2F..%2Fb.json']);
  writeFileSync(join(directory, 'c.json'), '{"version":1,');
  expect(await staged.get('c')).toBeUndefined();
  await staged.delete('a/../b');
  await staged.delete('a/../b');
  expect(await staged.get('a/../b')).toBeUndefined();
  rmSync(directory, { recursive: true });
});

test('the kubelet is told driver name, socket and version', async () => {
  const lines: string[] = [];
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (_: object, message: string) => lines.push(message) };
  const service = registrationService('/var/lib/kubelet/plugins/aoe.dev/csi.sock', log);
  expect(await service.getInfo()).toStrictEqual({
    type: 'CSIPlugin',
    name: 'aoe.dev',
    endpoint: '/var/lib/kubelet/plugins/aoe.dev/csi.sock',
    supportedVersions: ['1.0.0'],
  });
  await service.notifyRegistrationStatus({ pluginRegistered: false, error: 'no' });
  expect(lines).toHaveLength(1);
});
