import { poll } from '../../testbed/process/shell.ts';
import { type Disks, type Peer, plug, serve } from './peer.ts';

/** Where the lab's target has the durable disk; the one in memory is the lab's own. */
export const DURABLE = '7.5';

const device = (address: string): string => `/dev/etherd/e${address}`;

/** The target of the lab. */
export const ours: Peer = {
  name: 'aoe-target',
  programs: [],
  attach: async (lab) => found(lab, { memory: device('7.3'), durable: device(DURABLE) }),
};

/** One process per disk, the second writes through. */
export const vblade: Peer = {
  name: 'vblade',
  programs: ['vblade'],
  attach: async (lab, files) => {
    plug('vblade0');
    plug('vblade1');
    serve(['vblade', '-b', '128', '7', '4', 'vblade0', files.memory]);
    serve(['vblade', '-b', '128', '-s', '7', '6', 'vblade1', files.durable]);
    return found(lab, { memory: device('7.4'), durable: device('7.6') });
  },
};

async function found(lab: Parameters<Peer['attach']>[0], disks: Disks): Promise<Disks> {
  const look = `echo > /dev/etherd/discover; [ -b ${disks.memory} ] && [ -b ${disks.durable} ] && echo yes || true`;
  await poll(async () => (await lab.guest.exec(look)).includes('yes') || undefined, {
    timeoutMs: 20_000,
    what: `the guest to find ${disks.memory} and ${disks.durable}`,
  });
  return disks;
}
