// Runs as root inside the guest: does with a real disk and a real kernel what the node plugin does with an encrypted volume.
//   node encryption-inside.ts begin | grow BYTES | end

import { Passphrase } from '../../csi/node/encryption/passphrase.ts';
import { growFilesystem } from '../../csi/node/filesystem/grow.ts';
import { exec } from '../../run/exec.ts';
import { PATIENCE } from '../testbed/process/patience.ts';
import { ADDRESS, DEVICE, disk, driver, encryption, filesystems, mounter, name, outcomeOf, UUID } from './encrypted-disk.ts';

const [command, bytes] = process.argv.slice(2);
const MOUNTED = '/tmp/encrypted';
const NODE = '/tmp/encrypted-node';
const passphrase = new Passphrase('correct horse\nwith a newline');
const signal = AbortSignal.timeout(300_000);

const found: Record<string, unknown> = {};
const timed = async (what: string, work: Promise<unknown>): Promise<void> => {
  const started = performance.now();
  await work;
  console.error(`TIMING ${what}: ${Math.round(performance.now() - started)} ms`);
};

switch (command) {
  case 'begin': {
    await encryption.prepare({ authenticated: false }, signal);
    // Killed, at some point of its work. What it leaves must not keep the next one from it.
    for (const afterMs of [150, 600, 1_500]) {
      await outcomeOf(encryption.format(DEVICE, { uuid: UUID, passphrase, authenticated: false }, AbortSignal.timeout(afterMs)));
      await encryption.closeAll(ADDRESS, signal);
    }
    await timed('luksFormat', encryption.format(DEVICE, { uuid: UUID, passphrase, authenticated: false }, signal));
    found.uuid = await encryption.uuid(DEVICE, signal);
    found.content = await filesystems.probe(DEVICE, signal);
    const wrong = { name, passphrase: new Passphrase('correct horse'), readOnly: false };
    found.wrong = await outcomeOf(encryption.open(DEVICE, wrong, signal));
    await outcomeOf(encryption.open(DEVICE, { name, passphrase, readOnly: false }, AbortSignal.timeout(300)));
    await encryption.closeAll(ADDRESS, signal);
    await timed('open', encryption.open(DEVICE, { name, passphrase, readOnly: false }, signal));
    const mapping = await disk.mapping();
    if (!mapping) throw new Error('no mapping');
    found.bytes = mapping.bytes;
    found.noise = await filesystems.isBlank(mapping, signal);
    await encryption.zeroEnds(mapping, signal);
    found.blank = await filesystems.isBlank(mapping, signal);
    found.claimed = [await disk.isClaimed(signal), await driver.isClaimed(ADDRESS, signal)];
    await filesystems.format(mapping, 'ext4', signal);
    await exec('mkdir', ['-p', MOUNTED], { timeoutMs: 20_000 * PATIENCE });
    await mounter.mount(mapping.path, MOUNTED, { type: 'ext4', options: [], signal });
    found.claimedMounted = await disk.isClaimed(signal);
    // As the kubelet does for a raw block volume.
    await exec('touch', [NODE], { timeoutMs: 20_000 * PATIENCE });
    await mounter.mount(mapping.path, NODE, { options: ['bind'], signal });
    found.mounts = (await disk.liveMounts()).map(({ kind, target }) => [kind, target]);
    found.busy = await outcomeOf(disk.remove(signal));
    break;
  }
  case 'grow': {
    const grown = await driver.grow(ADDRESS, { timeoutMs: 60_000, bytes: Number(bytes), signal });
    const before = await disk.mapping();
    const mount = await disk.filesystemAt(MOUNTED);
    if (!grown || !before || !mount) throw new Error('not grown, not open, or not mounted');
    const mapping = await encryption.grow(before, signal);
    found.bytes = [before.bytes, mapping.bytes];
    found.filesystem = await growFilesystem(filesystems, mapping, mount, signal);
    break;
  }
  case 'end': {
    // As for a volume that the node has lost.
    found.unmounted = await disk.unmountAll({ at: MOUNTED }, signal);
    found.removed = await disk.remove(signal);
    found.mapping = (await disk.mapping()) ?? null;
    found.state = await disk.health();
    break;
  }
  default:
    throw new Error('begin, grow or end');
}
console.log(JSON.stringify(found));
process.exit(0);
