// Runs as root inside the guest: overwrites the free space of a mounted file system with zeros, as the node plugin does.
//   node free-space-inside.ts PATH DISK RESERVE
import { DiskPrograms } from '../../csi/node/disk/disk-programs.ts';
import { zeroFreeSpace } from '../../csi/node/reclaim/zero-free-space.ts';
import { exec } from '../../run/exec.ts';

const [path = '', disk = '', reserve = ''] = process.argv.slice(2);
const space = { path, disk, reserve: Number(reserve), limitSeconds: 600 };
const options = { signal: AbortSignal.timeout(750_000), sliceBytes: 16 * 2 ** 20, settleSeconds: 1 };
console.log(JSON.stringify(await zeroFreeSpace(new DiskPrograms(exec).exec, space, options)));
