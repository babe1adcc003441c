import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

const SCRIPT = `
echo 3 > /proc/sys/vm/drop_caches
modprobe -a loop xfs
trap 'umount /mnt/blocks || true; losetup -d "$disk" "$xfs" || true; rm -f /dev/shm/blocks-lvm /dev/shm/blocks-xfs' EXIT
truncate -s 200M /dev/shm/blocks-lvm
truncate -s 400M /dev/shm/blocks-xfs
disk=$(losetup -f --show /dev/shm/blocks-lvm)
xfs=$(losetup -f --show /dev/shm/blocks-xfs)
mkfs.xfs -q -m reflink=1 "$xfs"
mkdir -p /mnt/blocks
mount "$xfs" /mnt/blocks
"$NODE" "$PROGRAM" "$disk" /mnt/blocks 2>&1 || { echo FAILED; exit 0; }`;

test('changed blocks on a real kernel: an earlier snapshot with what has changed is the later one, for thin volumes and for files', async () => {
  const cluster = await Cluster.attach();
  const program = await programInside('changed-blocks-inside.ts');
  const output = await cluster
    .guest('storage-2')
    .exec(`NODE='${process.execPath}' PROGRAM='${program}'\n${SCRIPT}`, { timeoutMs: 300_000 });
  for (const line of output.split('\n').filter((each) => each.startsWith('TIMING'))) console.log(line);
  expect(output, output).not.toContain('FAILED');
});
