import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

const SCRIPT = `
echo 3 > /proc/sys/vm/drop_caches
modprobe -a loop ext4
trap 'umount /mnt/adopt 2>/dev/null || true; losetup -d "$disk" || true; rm -rf /dev/shm/adopt-disk /dev/shm/adopt-pool /mnt/adopt' EXIT
truncate -s 300M /dev/shm/adopt-disk
disk=$(losetup -f --show /dev/shm/adopt-disk)
mkdir -p /mnt/adopt /dev/shm/adopt-pool
"$NODE" "$PROGRAM" "$disk" /dev/shm/adopt-pool /mnt/adopt 2>&1 || { echo FAILED; exit 0; }`;

test('logical volumes and files are adopted and given back with their data, and those in use are refused, on a real kernel', async () => {
  const cluster = await Cluster.attach();
  const program = await programInside('adoption-inside.ts');
  const output = await cluster
    .guest('storage-2')
    .exec(`NODE='${process.execPath}' PROGRAM='${program}'\n${SCRIPT}`, { timeoutMs: 180_000 });
  for (const line of output.split('\n').filter((each) => each.startsWith('TIMING'))) console.log(line);
  expect(output, output).not.toContain('FAILED');
});
