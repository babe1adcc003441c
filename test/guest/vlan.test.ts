import { join } from 'node:path';
import { Cluster } from '../testbed/cluster.ts';

test('the target keeps to its VLAN, or to its port, on a kernel with VLANs', async () => {
  const guest = (await Cluster.attach()).guest('storage-1');
  const file = join(import.meta.dirname, 'vlan-inside.ts');
  const script = `echo 3 > /proc/sys/vm/drop_caches; modprobe 8021q; '${process.execPath}' --test --test-reporter=tap '${file}' 2>&1 || true`;
  const output = await guest.exec(script, { timeoutMs: 170_000 });
  expect(output, output).toMatch(/^# pass 2$/m);
});
