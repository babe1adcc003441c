import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

const SCRIPT = `
echo 3 > /proc/sys/vm/drop_caches
modprobe loop
trap 'losetup -d "$disk" || true; rm -f /dev/shm/lvm-snapshots' EXIT
truncate -s 200M /dev/shm/lvm-snapshots
disk=$(losetup -f --show /dev/shm/lvm-snapshots)
"$NODE" "$PROGRAM" "$disk" 2>&1 || { echo FAILED; exit 0; }`;

test('thin and thick snapshots on a real kernel: taken of volumes in use, restored or copied, and removed in any order', async () => {
  const cluster = await Cluster.attach();
  const program = await programInside('lvm-snapshots-inside.ts');
  const output = await cluster
    .guest('storage-2')
    .exec(`NODE='${process.execPath}' PROGRAM='${program}'\n${SCRIPT}`, { timeoutMs: 240_000 });
  for (const line of output.split('\n').filter((each) => each.startsWith('TIMING'))) console.log(line);
  expect(output, output).not.toContain('FAILED');
});
