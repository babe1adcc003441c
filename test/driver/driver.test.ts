import './own-network.ts';
import { join } from 'node:path';
import { poll } from '../testbed/process/shell.ts';
import { DEVICE, DriverLab, whyNoLab } from './driver-lab.ts';

const MIB = 1 << 20;

/** Writes files of so many KiB to a file system on the disk, and reads them again past the cache. */
const use = (kib: number): string => `
mkfs.ext4 -q ${DEVICE}; mkdir -p /tmp/m; mount ${DEVICE} /tmp/m
for i in 1 2 3 4; do head -c ${kib}K /dev/urandom > /tmp/m/$i; done
(cd /tmp/m; md5sum 1 2 3 4 > sums); sync; echo 3 > /proc/sys/vm/drop_caches
cd /tmp/m; md5sum --quiet -c sums`;

describe.skipIf(whyNoLab())('the Linux driver on our target', () => {
  for (const [mtu, payload] of [
    [1500, 1024],
    [9000, 8192],
  ] as const) {
    it(`reads what it wrote at MTU ${mtu}, ${payload} bytes a frame, and the host has the same`, async () => {
      await using lab = await DriverLab.boot({ mtu, bytes: 64 * MIB });
      const stat = await lab.guest.exec('aoe-stat');
      expect(stat).toMatch(new RegExp(`^\\s*e7\\.3\\s+0\\.067GB\\s+vec0\\s+${payload}\\s+up`, 'm'));
      await lab.guest.exec(use(3072));
      const seen = await lab.guest.exec(`cd /; umount /tmp/m; echo 3 > /proc/sys/vm/drop_caches; md5sum < ${DEVICE}`);
      expect(seen.split(' ')[0]).toBe(await lab.digest());
    });
  }

  it('goes on over one path when the other is cut, and uses both again', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 64 * MIB, paths: 2 });
    const { guest } = lab;
    // The second path may answer a moment after the first.
    const bothPaths = () =>
      poll(
        async () => {
          const stat = await guest.exec('echo > /dev/etherd/discover; aoe-stat');
          return /e7\.3\s+0\.067GB\s+(vec0,vec1|vec1,vec0)\s+1024\s+up/.test(stat) ? true : undefined;
        },
        { timeoutMs: 30_000, what: 'both paths to be in use', explain: () => guest.exec('aoe-stat') },
      );
    await bothPaths();
    for (const cut of ['target0', 'target1'] as const) {
      lab.setLink(cut, 'down');
      await guest.exec(`${use(512)}; cd /; umount /tmp/m`, { timeoutMs: 60_000 });
      lab.setLink(cut, 'up');
      await lab.discover();
      await bothPaths();
    }
    expect((await guest.exec(`echo 3 > /proc/sys/vm/drop_caches; md5sum < ${DEVICE}`)).split(' ')[0]).toBe(await lab.digest());
  });

  it('grows while it is mounted, through a restart of the target', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 64 * MIB });
    const { guest } = lab;
    await guest.exec(use(3072));
    lab.grow(128 * MIB);
    // Writes go on meanwhile: a restart is a stall, never an error.
    const writing = guest.exec(
      'cd /tmp/m; for i in $(seq 60); do dd if=/dev/urandom of=w bs=16k count=4 conv=fsync 2>/dev/null; done; echo done',
      {
        timeoutMs: 60_000,
      },
    );
    await lab.restartTarget();
    expect((await writing).trim()).toBe('done');
    expect((await guest.exec(`blockdev --getsize64 ${DEVICE}`)).trim()).toBe(String(64 * MIB));
    const program = join(import.meta.dirname, 'grow-inside.ts');
    const grown = await guest.exec(`'${process.execPath}' '${program}' e7.3 ${128 * MIB} /tmp/m`, { timeoutMs: 90_000 });
    // The file system grows once, and then fills its disk.
    expect(JSON.parse(grown)).toStrictEqual({ bytes: 128 * MIB, type: 'ext4', grown: [true, false] });
    await guest.exec('cd /tmp/m; md5sum --quiet -c sums; [ "$(stat -f -c %b /tmp/m)" -gt 100000 ]');
    expect(await guest.exec('aoe-stat')).toMatch(/e7\.3\s+0\.134GB\s+vec0\s+8192\s+up/);
    await guest.exec(`head -c 40M /dev/zero > /tmp/m/more; sync; cd /; umount /tmp/m; fsck.ext4 -fn ${DEVICE} 2>&1`);
  });
});
