import { join } from 'node:path';
import { Cluster } from '../testbed/cluster.ts';

/** Promise 1, "answered means durable", on a disk with a volatile cache. */
test('answered writes are on stable storage, as dm-log-writes sees it', async () => {
  const guest = (await Cluster.attach()).guest('storage-2');
  const file = join(import.meta.dirname, 'durable-inside.ts');
  const script = `echo 3 > /proc/sys/vm/drop_caches; modprobe -a loop dm-log-writes; '${process.execPath}' --test --test-reporter=tap '${file}' 2>&1 || true`;
  const output = await guest.exec(script, { timeoutMs: 290_000 });
  expect(output, output).toMatch(/^# pass 4$/m);
});
