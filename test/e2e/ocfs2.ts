import type { Cluster } from '../testbed/cluster.ts';

const CLUSTER = 'aoe';
const PORT = 7777;

/** The cluster file that both members have: local heartbeat, lock messages over the management network. */
function clusterConf(members: { name: string; ip: string }[]): string {
  const cluster = ['cluster:', '\theartbeat_mode = local', `\tnode_count = ${members.length}`, `\tname = ${CLUSTER}`];
  const nodes = members.map(({ name, ip }, number) =>
    ['node:', `\tnumber = ${number}`, `\tcluster = ${CLUSTER}`, `\tip_port = ${PORT}`, `\tip_address = ${ip}`, `\tname = ${name}`].join(
      '\n',
    ),
  );
  return `${[cluster.join('\n'), ...nodes].join('\n\n')}\n`;
}

/** OCFS2 on one disk of several guests, with the kernel's own cluster stack (o2cb: heartbeat on the disk, o2dlm over TCP). */
export class Ocfs2 {
  readonly #cluster: Cluster;
  readonly #members: readonly string[];
  readonly #device: string;
  static readonly DIRECTORY = '/mnt/ocfs2';

  constructor(cluster: Cluster, members: readonly string[], device: string) {
    this.#cluster = cluster;
    this.#members = members;
    this.#device = device;
  }

  /** Joins the guests, makes the filesystem from the first, and mounts it on all. */
  async up(): Promise<void> {
    const guests = this.#members.map((name) => this.#cluster.guest(name));
    const conf = clusterConf(guests.map(({ name, ip }) => ({ name, ip })));
    const join = `modprobe -a ocfs2 ocfs2_dlmfs ocfs2_stack_o2cb
      mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
      echo o2cb > /sys/fs/ocfs2/cluster_stack
      mkdir -p /etc/ocfs2 ${Ocfs2.DIRECTORY}
      cat > /etc/ocfs2/cluster.conf <<'CONF'\n${conf}CONF
      o2cb register-cluster ${CLUSTER}`;
    await Promise.all(guests.map((guest) => guest.exec(join)));
    const format = `-q --force -N ${guests.length} -J size=4M --cluster-stack=o2cb --cluster-name=${CLUSTER}`;
    await guests[0]?.exec(`mkfs.ocfs2 ${format} ${this.#device} < /dev/null`);
    for (const guest of guests) await guest.exec(`mount -t ocfs2 ${this.#device} ${Ocfs2.DIRECTORY}`, { timeoutMs: 90_000 });
  }

  async down(): Promise<void> {
    const leave = `umount ${Ocfs2.DIRECTORY} 2>/dev/null || true; o2cb unregister-cluster ${CLUSTER} 2>/dev/null || true`;
    for (const name of this.#members) await this.#cluster.guest(name).exec(leave);
  }
}
