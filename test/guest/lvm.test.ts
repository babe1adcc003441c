import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

// Two disks of their own, so that the node's volume group stays as it is.
const SCRIPT = `
# The guest keeps what it once read of the host's files.
echo 3 > /proc/sys/vm/drop_caches
modprobe loop
cleanup() { for l in $one $two; do losetup -d "$l" || true; done; rm -f /dev/shm/lvm-test-1 /dev/shm/lvm-test-2; }
trap cleanup EXIT
truncate -s 400M /dev/shm/lvm-test-1
truncate -s 200M /dev/shm/lvm-test-2
one=$(losetup -f --show /dev/shm/lvm-test-1)
two=$(losetup -f --show /dev/shm/lvm-test-2)
"$NODE" "$PROGRAM" "$one" "$two" 2>&1 || { echo FAILED; exit 0; }`;

test('the LVM backends keep their promises on a real kernel, through crashes at every step', async () => {
  const cluster = await Cluster.attach();
  const program = await programInside('lvm-inside.ts');
  const output = await cluster
    .guest('storage-2')
    .exec(`NODE='${process.execPath}' PROGRAM='${program}'\n${SCRIPT}`, { timeoutMs: 280_000 });
  for (const line of output.split('\n').filter((each) => each.startsWith('TIMING'))) console.log(line);
  expect(output, output).not.toContain('FAILED');
});
