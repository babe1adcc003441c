import './own-network.ts';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SHM } from '../testbed/paths.ts';
import { poll } from '../testbed/process/shell.ts';
import { DriverLab, whyNoLab } from './driver-lab.ts';

const MIB = 1 << 20;
const BYTES = 400 * MIB;
const DEVICE = '/dev/etherd/e7.5';
const PATH = '/tmp/free-space';
/** The volume's file, on the storage node. */
const image = join(SHM, 'reclaimed');

describe.skipIf(whyNoLab('/usr/sbin/xfs_io'))('the free space of a mounted file system on the Linux driver', () => {
  it('goes back to the pool, files that are written meanwhile stay whole, and a killed run leaves nothing', async () => {
    const prepare = (): void => {
      writeFileSync(image, '');
      truncateSync(image, BYTES);
    };
    const exports = [`7.5=${image},serial=RECLAIM,reclaim`];
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 20 * MIB, exports, prepare });
    const { guest } = lab;
    const taken = () => statSync(image).blocks * 512;
    const program = `'${process.execPath}' '${join(import.meta.dirname, 'free-space-inside.ts')}' ${PATH} ${DEVICE} ${40 * MIB}`;
    const free = async () => Number((await guest.exec(`df -B1 --output=avail ${PATH} | tail -n 1`)).trim());
    for (const [type, check] of [
      ['ext4', 'e2fsck -fn'],
      ['xfs', 'xfs_repair -n'],
    ] as const) {
      // With blocks of 1 KiB, which mkfs takes for so small a disk, requests begin within the pages of the target's file.
      await guest.exec(
        `modprobe -q ${type} || true; mkfs.${type} -q ${type === 'ext4' ? '-F -b 4096' : '-f'} ${DEVICE}; mkdir -p ${PATH}; mount ${DEVICE} ${PATH}`,
      );
      await guest.exec(
        `dd if=/dev/urandom of=${PATH}/deleted bs=1M count=200 status=none; dd if=/dev/urandom of=${PATH}/kept bs=1M count=20 status=none
         sync; md5sum ${PATH}/kept > /tmp/kept.md5; rm ${PATH}/deleted; sync`,
        { timeoutMs: 100_000 },
      );
      const [before, wasFree] = [taken(), await free()];
      expect(before).toBeGreaterThan(220 * MIB);

      // Killed with SIGKILL in the midst, as the node plugin may be: its programs notice that, and the kernel frees their file.
      await guest.exec(
        `${program} > /tmp/killed 2>&1 & p=$!; while kill -0 $p && [ "$(df -B1 --output=avail ${PATH} | tail -n 1)" -gt ${wasFree - 40 * MIB} ]; do sleep 0.1; done; kill -9 $p || { cat /tmp/killed >&2; exit 1; }`,
        {
          timeoutMs: 100_000,
        },
      );
      await poll(async () => ((await free()) > wasFree - MIB ? true : undefined), {
        timeoutMs: 30_000,
        what: 'the space to be free again',
      });

      // Programs write, overwrite and delete beside it.
      const writer = `i=0; while [ ! -e /tmp/enough ]; do i=$((i + 1)); f=${PATH}/file$((i % 4))
        head -c 1000000 /dev/urandom > $f; sync $f; md5sum $f > /tmp/sum$((i % 4)); sleep 0.05; done`;
      await guest.exec(`rm -f /tmp/enough; (${writer}) > /dev/null 2>&1 & echo $! > /tmp/writer`);
      const result = JSON.parse(await guest.exec(program, { timeoutMs: 260_000 }));
      // All four have been written by then, file0 as the last.
      await guest.exec(
        'until [ -e /tmp/sum0 ]; do sleep 0.1; done; touch /tmp/enough; while kill -0 $(cat /tmp/writer) 2> /dev/null; do sleep 0.1; done',
      );
      expect(result).toStrictEqual({ bytes: expect.any(Number), end: 'all' });
      expect(result.bytes).toBeGreaterThan(wasFree - 80 * MIB);
      await guest.exec(`sync; umount ${PATH}; ${check} ${DEVICE} > /tmp/check 2>&1 || { cat /tmp/check >&2; exit 1; }
        echo 3 > /proc/sys/vm/drop_caches; mount ${DEVICE} ${PATH}; cat /tmp/sum? >> /tmp/kept.md5; md5sum --quiet -c /tmp/kept.md5`);
      expect(await guest.exec(`ls -A ${PATH}`)).toBe(`file0\nfile1\nfile2\nfile3\nkept\n${type === 'ext4' ? 'lost+found\n' : ''}`);
      console.info(`${type}: ${before >> 20} MiB before, ${taken() >> 20} MiB after, ${result.bytes >> 20} MiB of zeros`);
      expect(taken()).toBeLessThan(before - 140 * MIB);
      await guest.exec(`umount ${PATH}; rm -f /tmp/sum?; echo > /tmp/kept.md5`);
    }
  });
});
