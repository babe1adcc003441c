import { join } from 'node:path';
import { DriverLab, whyNoLab } from './driver-lab.ts';

const LABEL = 'system_u:object_r:data_t';
/** The least that the kernel takes for a policy (security/selinux/ss/policydb.c): SELinux only permits, and tells what it would refuse. */
const POLICY = `
class security
class process
class file
class dir
sid kernel
sid unlabeled
sid security
sid file
class security { load_policy }
class process { transition dyntransition }
class file { read }
class dir { read }
type kernel_t;
type data_t;
role system_r;
role system_r types { kernel_t };
allow kernel_t data_t:file { read };
user system_u roles { system_r };
sid kernel system_u:system_r:kernel_t
sid unlabeled system_u:system_r:kernel_t
sid security system_u:system_r:kernel_t
sid file system_u:system_r:kernel_t
fs_use_xattr ext4 system_u:object_r:kernel_t;
genfscon selinuxfs / system_u:object_r:kernel_t
`;

describe.skipIf(whyNoLab('/usr/bin/checkpolicy'))('a kernel with SELinux', () => {
  it('has the label of the mount options on every file of the disk, though mount(8) runs where selinuxfs is not mounted', async () => {
    await using lab = await DriverLab.boot({ mtu: 9000, bytes: 32 << 20 });
    const { guest } = lab;
    await guest.exec(`
      cat > /tmp/policy.conf <<'POLICY'${POLICY}POLICY
      checkpolicy -U allow -c 30 -o /tmp/policy /tmp/policy.conf >/dev/null
      mkdir -p /tmp/selinuxfs && mount -t selinuxfs selinuxfs /tmp/selinuxfs
      cat /tmp/policy > /tmp/selinuxfs/load 
      umount /tmp/selinuxfs`);
    const program = join(import.meta.dirname, 'selinux-inside.ts');
    const found = JSON.parse(await guest.exec(`'${process.execPath}' '${program}' '${LABEL}'`, { timeoutMs: 60_000 }));
    expect(found).toStrictEqual({ before: false, mounted: LABEL, published: LABEL, without: 'system_u:object_r:kernel_t' });
  });
});
