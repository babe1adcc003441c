// Runs as root inside the guest: lets the kernel take a new size, and grows what is mounted, as the node plugin does.
//   node grow-inside.ts e7.3 BYTES /mount/point
import { KernelDriver } from '../../csi/node/disk/kernel-driver.ts';
import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { growFilesystem } from '../../csi/node/filesystem/grow.ts';
import { SystemFilesystems } from '../../csi/node/filesystem/system-filesystems.ts';
import { exec } from '../../run/exec.ts';
import { PATIENCE } from '../testbed/process/patience.ts';

const [address = '', bytes, path] = process.argv.slice(2);
const signal = AbortSignal.timeout(60_000 * PATIENCE);
const disk = await new KernelDriver(exec).grow(address, { timeoutMs: 20_000 * PATIENCE, bytes: Number(bytes), signal });
const mount = (await new SystemMounter(exec).list()).find(({ target }) => target === path);
if (!disk || !mount) throw new Error(`${address}: ${disk ? `nothing is mounted at ${path}` : 'the kernel did not take the new size'}`);
const filesystems = new SystemFilesystems(exec);
const grown = [await growFilesystem(filesystems, disk, mount, signal), await growFilesystem(filesystems, disk, mount, signal)];
console.log(JSON.stringify({ bytes: disk.bytes, type: mount.type, grown }));
process.exit(0);
