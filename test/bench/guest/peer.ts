import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DriverLab } from '../../driver/driver-lab.ts';
import { RUN } from '../../testbed/paths.ts';
import { startInNetns } from '../../testbed/process/processes.ts';
import { shInNetns } from '../../testbed/process/shell.ts';

export type Name = 'aoe-target' | 'vblade' | 'nbdkit' | 'tgt';

/** The disk in memory and the durable one: files on the host, or devices in the guest. */
export interface Disks {
  memory: string;
  durable: string;
}

export interface Peer {
  name: Name;
  /** What it needs, on the host or in the guest, whose programs are the same. */
  programs: readonly string[];
  /** Serves these files, and gives the guest's devices for them once they are there. */
  attach(lab: DriverLab, files: Disks): Promise<Disks>;
}

/** Before a target: the guest has the other CPU. */
export const ON_TARGET_CPU = ['taskset', '-c', '0'];

/** The first of these programs that is not installed. */
export function missing(programs: readonly string[]): string | undefined {
  const folders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];
  return programs.find((program) => !folders.some((folder) => existsSync(join(folder, program))));
}

/** An interface on the guest's segment: each target has its own, so that none looks at what is for another. */
export function plug(port: string): void {
  shInNetns(`
    ip link add ${port} mtu 9000 type veth peer name ${port}-b mtu 9000
    ip link set ${port}-b master storage up; ip link set ${port} up`);
}

/**
 * The same with an address of its own, which it gives; the guest has one there, too. TCP goes out in frames that fit the MTU, as on a
 * wire: longer ones, which the kernel would put on a veth pair, the guest drops.
 */
export async function plugWithAddress(lab: DriverLab, port: string, subnet: string): Promise<string> {
  plug(port);
  // All interfaces here are in one host: without arp_ignore each would say that the address is its own.
  shInNetns(`
    sysctl -qw net.ipv4.conf.all.arp_ignore=1
    ip link set ${port} gso_max_segs 1; ip addr add ${subnet}.1/24 dev ${port}`);
  await lab.guest.exec(`ip addr add ${subnet}.2/24 dev vec0`);
  return `${subnet}.1`;
}

export function serve(command: readonly string[], env: NodeJS.ProcessEnv = {}): void {
  const [program = '', ...args] = [...ON_TARGET_CPU, ...command];
  startInNetns(program, args, { log: join(RUN, 'peers.log'), env: { ...process.env, ...env } });
}
