import { mountAt, parseMountinfo } from './mountinfo.ts';

test('parseMountinfo() reads bind mounts, escapes and optional fields', () => {
  const text = [
    '17 26 152:32 / /var/lib/kubelet/a\\040b rw,relatime shared:12 master:3 - ext4 /dev/etherd/e7.1 rw,stripe=2048',
    '18 26 0:5 /etherd/e7.1 /pub rw - devtmpfs dev rw,size=4k',
    'garbage',
    '',
  ].join('\n');
  const mounts = parseMountinfo(text);
  expect(mounts).toHaveLength(2);
  expect(mounts[0]?.id).toBe('17');
  expect(mountAt(mounts, '/var/lib/kubelet/a b')?.device).toBe('152:32');
  expect(mounts[0]?.superOptions).toStrictEqual(['rw', 'stripe=2048']);
  expect(mounts[1]?.root).toBe('/etherd/e7.1');
});
