import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { Guest } from './guest.ts';
import { stableImages } from './image/images.ts';
import { AWAIT_CONTAINERD, CONTAINERD_CONFIG, START_CONTAINERD } from './node.ts';
import { keyOf } from './paths.ts';
import { sh } from './process/shell.ts';

/** Changes when this file fills disks in another way. */
const RECIPE = '1';

/** A disk image with containerd's store, filled once by a guest with the images that rarely change. The network must be there. */
export async function filledDisk(): Promise<string> {
  const images = await stableImages();
  const folder = await cached('disk', keyOf([], images.key, RECIPE), (made) => fill(join(made, 'disk.img'), images.folder));
  return join(folder, 'disk.img');
}

async function fill(disk: string, images: string): Promise<void> {
  sh(`truncate -s 6G '${disk}'; mkfs.ext4 -q -O ^has_journal '${disk}'`);
  const guest = new Guest('filler', { index: 9, memory: '1024M', disks: [disk] });
  await guest.boot();
  writeFileSync(join(guest.directory, 'containerd.toml'), CONTAINERD_CONFIG);
  await guest.exec('mount /dev/ubda /mnt; mkdir -p /mnt/containerd /var/lib/containerd; mount --bind /mnt/containerd /var/lib/containerd');
  await guest.start(START_CONTAINERD);
  await guest.exec(
    `${AWAIT_CONTAINERD}; for archive in '${images}'/*.tar; do ctr -n k8s.io images import "$archive"; done
     pkill -x containerd; timeout 10 sh -c 'while pgrep -x containerd >/dev/null; do sleep 0.1; done'; umount /var/lib/containerd /mnt`,
    { timeoutMs: 300_000 },
  );
  await guest.crash();
  sh(`tune2fs -O has_journal '${disk}' >/dev/null`);
}
