import { join } from 'node:path';
import { Cluster } from '../testbed/cluster.ts';

test('zeros on real thin pools of several chunk sizes: nothing else is lost, and their space comes back', async () => {
  const guest = (await Cluster.attach()).guest('storage-2');
  const file = join(import.meta.dirname, 'reclaim-inside.ts');
  const script = `echo 3 > /proc/sys/vm/drop_caches; modprobe -a loop dm-mod dm-thin-pool; '${process.execPath}' --test --test-reporter=tap '${file}' 2>&1 || true`;
  const output = await guest.exec(script, { timeoutMs: 280_000 });
  expect(output, output).toMatch(/^# pass 4$/m);
});
