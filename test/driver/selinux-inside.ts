// Runs as root inside the guest: mounts a disk with a label, as the node plugin does, and reads the labels of its files.
//   node selinux-inside.ts LABEL

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemMounter } from '../../csi/node/disk/system-mounter.ts';
import { exec } from '../../run/exec.ts';
import { PATIENCE } from '../testbed/process/patience.ts';

const [label] = process.argv.slice(2);
const DEVICE = '/dev/etherd/e7.3';
const STAGED = '/tmp/staged';
const PUBLISHED = '/tmp/published';
const signal = AbortSignal.timeout(50_000 * PATIENCE);
const mounter = new SystemMounter(exec);

const run = async (program: string, ...args: string[]): Promise<string> =>
  (await exec(program, args, { timeoutMs: 20_000 * PATIENCE })).stdout;
const labelOf = async (path: string): Promise<string | undefined> => (await run('stat', '--format=%C', path)).trim();

for (const directory of [STAGED, PUBLISHED]) await mkdir(directory, { recursive: true });
await run('mkfs.ext4', '-q', DEVICE);
await mounter.mount(DEVICE, STAGED, { type: 'ext4', options: [], signal });
await writeFile(join(STAGED, 'file'), 'text');
await mounter.unmount(STAGED, { signal });
const before = (await readFile('/proc/self/mounts', 'utf8')).includes('selinuxfs');
await mounter.mount(DEVICE, STAGED, { type: 'ext4', options: ['noatime', `context="${label}"`], signal });
await mounter.mount(STAGED, PUBLISHED, { options: ['bind'], signal });
const [mounted, published] = [await labelOf(join(STAGED, 'file')), await labelOf(join(PUBLISHED, 'file'))];
for (const directory of [PUBLISHED, STAGED]) await mounter.unmount(directory, { signal });
await mounter.mount(DEVICE, STAGED, { type: 'ext4', options: [], signal });
const without = await labelOf(join(STAGED, 'file'));
await mounter.unmount(STAGED, { signal });
console.log(JSON.stringify({ before, mounted, published, without }));
process.exit(0);
