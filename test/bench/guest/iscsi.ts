import { join } from 'node:path';
import { RUN } from '../../testbed/paths.ts';
import { poll, runInNetns } from '../../testbed/process/shell.ts';
import { type Peer, plugWithAddress, serve } from './peer.ts';

const TARGET = 'iqn.2026-01.bench:disks';

/** One process, a unit for each disk. It writes to the page cache, and waits for the disk when the guest asks for a flush. */
export const tgt: Peer = {
  name: 'tgt',
  programs: ['tgtd', 'tgtadm', 'iscsistart'],
  attach: async (lab, files) => {
    const address = await plugWithAddress(lab, 'iscsi0', '10.78.2');
    const env = { TGT_IPC_SOCKET: join(RUN, 'tgtd') };
    serve(['tgtd', '-f', '--iscsi', `portal=${address}:3260`], env);
    const tell = (...args: string[]) => runInNetns('tgtadm', ['--lld', 'iscsi', ...args], { env: { ...process.env, ...env } });
    const all = ['--tid', '1'];
    await poll(() => tell('--mode', 'target', '--op', 'new', ...all, '-T', TARGET), { timeoutMs: 10_000, what: 'tgtd to start' });
    for (const [unit, path] of [
      ['1', files.memory],
      ['2', files.durable],
    ] as const) {
      await tell('--mode', 'logicalunit', '--op', 'new', ...all, '--lun', unit, '--backing-store', path);
    }
    await tell('--mode', 'target', '--op', 'bind', ...all, '--initiator-address', 'ALL');
    await lab.guest.exec(`modprobe iscsi_tcp; modprobe sd_mod; iscsistart -i iqn.2026-01.bench:guest -t ${TARGET} -g 1 -a ${address} >&2`);
    const disk = (unit: string): Promise<string> =>
      // The kernel may give the letters in any order.
      poll(async () => `/dev/${(await lab.guest.exec(`ls -d /sys/class/scsi_disk/*:${unit}/device/block/* | sed 's,.*/,,'`)).trim()}`, {
        timeoutMs: 10_000,
        what: `the guest to find unit ${unit}`,
      });
    return { memory: await disk('1'), durable: await disk('2') };
  },
};
