import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code } from '../../rpc/status.ts';
import { DEVICE, DriverLab, whyNoLab } from './driver-lab.ts';

const MIB = 1 << 20;
const MARKER = 'plain-text-marker-0b6d51';
describe.skipIf(whyNoLab('/usr/sbin/cryptsetup'))('cryptsetup and dm-crypt on the Linux driver', () => {
  it('encrypt a disk, survive being killed, grow without a passphrase, and leave nothing in plain text or in the kernel', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 80 * MIB });
    const { guest } = lab;
    const program = join(import.meta.dirname, 'encryption-inside.ts');
    const inside = async (...words: (string | number)[]) =>
      JSON.parse(await guest.exec(`'${process.execPath}' '${program}' ${words.join(' ')}`, { timeoutMs: 110_000 }));
    expect(await inside('begin')).toStrictEqual({
      uuid: '0b6d1c3e-8f52-4c1f-9d0a-5d1f0c2b7a11',
      content: { kind: 'found', type: 'crypto_LUKS' },
      wrong: Code.UNAUTHENTICATED,
      bytes: 64 * MIB,
      noise: false,
      blank: true,
      claimed: [false, true],
      claimedMounted: true,
      mounts: [
        ['filesystem', '/tmp/encrypted'],
        ['node', '/tmp/encrypted-node'],
      ],
      busy: 'DiskInUseError',
    });
    const dump = await guest.exec(`cryptsetup luksDump ${DEVICE}`);
    expect(dump).toMatch(/offset: 16777216 \[bytes\]/);
    expect(dump).toMatch(/sector: 4096 \[bytes\]/);
    expect(dump).toMatch(/PBKDF:\s+argon2id\s+Time cost:\s+4\s+Memory:\s+65536\s+Threads:\s+1/);
    await guest.exec(`for i in $(seq 4000); do echo ${MARKER}; done > /tmp/encrypted/marks; sync; md5sum /tmp/encrypted/marks > /tmp/sum`);
    lab.grow(144 * MIB);
    await lab.restartTarget();
    expect(await inside('grow', 144 * MIB)).toStrictEqual({ bytes: [64 * MIB, 128 * MIB], filesystem: true });
    await guest.exec(
      'echo 3 > /proc/sys/vm/drop_caches; md5sum --quiet -c /tmp/sum; [ "$(df -m /tmp/encrypted | tail -n 1 | tr -s " " | cut -d" " -f2)" -gt 100 ]',
    );
    expect(await inside('end')).toStrictEqual({
      unmounted: ['/tmp/encrypted', '/tmp/encrypted-node'],
      removed: true,
      mapping: null,
      state: 'absent',
    });
    expect((await guest.exec('ls /dev/mapper')).trim()).toBe('control');
    const stored = await readFile(lab.disk);
    expect(stored.includes(MARKER)).toBe(false);
    expect(stored.subarray(0, 4).toString('latin1')).toBe('LUKS');
  });
});
