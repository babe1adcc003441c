import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountAt, parseMountinfo } from './mountinfo.ts';

test('parseMountinfo() reads bind mounts, escapes and optional fields', () => {
  const text = [
    '17 26 152:32 / /var/lib/kubelet/a\\040b rw,relatime shared:12 master:3 - ext4 /dev/etherd/e7.1 rw,stripe=2048',
    '18 26 0:5 /etherd/e7.1 /pub rw - devtmpfs dev rw,size=4k',
    'garbage',
    '',
  ].join('\n');
  const mounts = parseMountinfo(text);
  assert.equal(mounts.length, 2);
  assert.equal(mounts[0]?.id, '17');
  assert.equal(mountAt(mounts, '/var/lib/kubelet/a b')?.device, '152:32');
  assert.deepEqual(mounts[0]?.superOptions, ['rw', 'stripe=2048']);
  assert.equal(mounts[1]?.root, '/etherd/e7.1');
});
