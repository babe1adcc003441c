import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

test('real file systems are frozen, and thawed again whatever happens to the plugin', async () => {
  const guest = (await Cluster.attach()).guest('storage-2');
  const file = await programInside('freeze-inside.ts', 'freeze-keeper.ts');
  const script = `modprobe -a loop ext4 xfs; '${process.execPath}' --test --test-reporter=tap '${file}' 2>&1 || true`;
  const output = await guest.exec(script, { timeoutMs: 280_000 });
  expect(output, output).toMatch(/^# pass 8$/m);
});
