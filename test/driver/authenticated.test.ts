import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { diskBytesFor } from '../../api/volume.ts';
import { DEVICE, DriverLab, whyNoLab } from './driver-lab.ts';

const MIB = 1 << 20;
const BLOCK = 4096;
const AUTHENTICATED = { encryption: 'LUKS2Authenticated' } as const;
const USER_BYTES = 80 * MIB;
describe.skipIf(whyNoLab('/usr/sbin/cryptsetup'))('authenticated encryption on the Linux driver', () => {
  it('gives the size that was asked for, goes on with its zeros, and turns what was changed on the storage node into I/O errors', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: diskBytesFor(AUTHENTICATED, USER_BYTES) });
    const { guest } = lab;
    const program = join(import.meta.dirname, 'authenticated-inside.ts');
    const inside = async (word: string) =>
      JSON.parse(await guest.exec(`'${process.execPath}' '${program}' ${word}`, { timeoutMs: 200_000 }));
    const begun = await inside('begin');
    expect(begun).toStrictEqual({
      bytes: expect.any(Number),
      hasTags: true,
      unwritten: 2,
      killed: true,
      recorded: ['0', '64Mi'],
      blank: true,
      readAll: 'done',
      mounts: [['node', '/tmp/authenticated-node']],
    });
    expect(begun.bytes).toBeGreaterThanOrEqual(USER_BYTES);
    expect(begun.bytes).toBeLessThanOrEqual(USER_BYTES + MIB);
    const dump = await guest.exec(`cryptsetup luksDump ${DEVICE}`);
    expect(dump).toMatch(/integrity: hmac\(sha256\)/);
    expect(dump).toMatch(/sector: 4096 \[bytes\]/);
    expect(await inside('end')).toStrictEqual({ unmounted: ['/tmp/authenticated-node'], removed: true, names: false, mapping: null });
    expect((await guest.exec('ls /dev/mapper')).trim()).toBe('control');
    // One bit, in each second block of 2 MiB in the middle of the disk: data, or tags of data.
    {
      await using file = await open(lab.disk, 'r+');
      const byte = Buffer.alloc(1);
      for (let at = 36 * MIB + 77; at < 38 * MIB; at += 2 * BLOCK) {
        await file.read(byte, 0, 1, at);
        byte[0] = (byte[0] ?? 0) ^ 1;
        await file.write(byte, 0, 1, at);
      }
    }
    await lab.discover();
    await inside('open');
    const { changed } = await inside('tampered');
    expect(changed.wrong).toBe(0);
    expect(changed.EIO).toBeGreaterThanOrEqual(250);
    expect(changed.right + changed.EIO).toBe(2048);
    expect(changed.right).toBeGreaterThan(1000);
    await guest.exec('dmsetup remove_all');
  });

  it('promises no more than cryptsetup gives, for disks of many sizes', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 20 * MIB });
    const mib = [1, 16, 100, 1024, 9000, 2_000_000];
    const sizes = mib.map((each) => [each * MIB, diskBytesFor(AUTHENTICATED, each * MIB)]);
    const format =
      'luksFormat --batch-mode --type luks2 --cipher aes-xts-plain64 --key-size 512 --sector-size 4096 --offset 32768 --integrity hmac-sha256 --integrity-no-wipe --pbkdf pbkdf2 --pbkdf-force-iterations 1000';
    const output = await lab.guest.exec(
      `modprobe loop; modprobe dm_crypt
       for size in ${sizes.map(([, disk]) => disk).join(' ')}; do
         rm -f /tmp/authenticated-disk; truncate -s $size /tmp/authenticated-disk
         loop=$(losetup -f --show /tmp/authenticated-disk)
         printf key | cryptsetup ${format} --key-file - $loop
         printf key | cryptsetup open --disable-keyring --key-file - $loop sized
         blockdev --getsize64 /dev/mapper/sized
         cryptsetup close sized; losetup -d $loop
       done; rm -f /tmp/authenticated-disk`,
      { timeoutMs: 240_000 },
    );
    const given = output.trim().split('\n').map(Number);
    expect(given).toHaveLength(sizes.length);
    for (const [index, [asked = 0]] of sizes.entries()) {
      expect(given[index]).toBeGreaterThanOrEqual(asked);
      expect(given[index]).toBeLessThanOrEqual(asked + MIB);
    }
  });
});
