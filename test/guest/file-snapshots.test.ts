import { Cluster } from '../testbed/cluster.ts';
import { programInside } from './program.ts';

const SCRIPT = `
echo 3 > /proc/sys/vm/drop_caches
modprobe -a loop xfs
trap 'umount /mnt/reflink || true; losetup -d "$disk" || true; rm -rf /dev/shm/reflink /dev/shm/p2' EXIT
truncate -s 400M /dev/shm/reflink
disk=$(losetup -f --show /dev/shm/reflink)
mkfs.xfs -q -m reflink=1 "$disk"
mkdir -p /mnt/reflink
mount "$disk" /mnt/reflink
"$NODE" "$PROGRAM" /mnt/reflink 2>&1 || { echo FAILED; exit 0; }`;

test('snapshots of files on XFS: blocks are shared, counted, restored to a larger file, and removed in any order', async () => {
  const cluster = await Cluster.attach();
  const program = await programInside('file-snapshots-inside.ts');
  const output = await cluster
    .guest('storage-2')
    .exec(`NODE='${process.execPath}' PROGRAM='${program}'\n${SCRIPT}`, { timeoutMs: 120_000 });
  for (const line of output.split('\n').filter((each) => each.startsWith('TIMING'))) console.log(line);
  expect(output, output).not.toContain('FAILED');
});
