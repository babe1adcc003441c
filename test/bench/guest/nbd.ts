import { poll } from '../../testbed/process/shell.ts';
import { type Peer, plugWithAddress, serve } from './peer.ts';

/** One process per disk. It writes to the page cache, and waits for the disk when the guest asks for a flush. */
export const nbdkit: Peer = {
  name: 'nbdkit',
  programs: ['nbdkit', 'nbd-client'],
  attach: async (lab, files) => {
    const address = await plugWithAddress(lab, 'nbd0', '10.78.1');
    const disks = { memory: '/dev/nbd0', durable: '/dev/nbd1' };
    await lab.guest.exec('modprobe nbd');
    for (const [kind, port] of [
      ['memory', '10809'],
      ['durable', '10810'],
    ] as const) {
      serve(['nbdkit', '-f', '-i', address, '-p', port, 'file', files[kind]]);
      const connect = `nbd-client ${address} ${port} ${disks[kind]}`;
      await poll(async () => lab.guest.exec(connect), { timeoutMs: 10_000, what: `the guest to connect to nbdkit: ${connect}` });
    }
    return disks;
  },
};
