import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { CACHE, keyOf, RUN, SHM } from './paths.ts';
import { PATIENCE } from './process/patience.ts';
import { isAlive, startInNetns } from './process/processes.ts';
import { CommandError, poll, sh, shInNetns } from './process/shell.ts';
import type { Reply, Request, SupervisorConfig } from './process/supervisor.ts';

const SOURCES = join(import.meta.dirname, 'guest');
/** In which the supervisor of a guest answers what it has at hand. */
const ANSWER_MS = 15_000;

/** The library that linux.uml is preloaded with, built when its source changes. */
function shim(): string {
  const source = join(SOURCES, 'shim.c');
  const path = join(CACHE, `uml-shim-${keyOf([source])}.so`);
  if (!existsSync(path)) sh(`mkdir -p '${CACHE}'; gcc -O2 -shared -fPIC -o '${path}.new' '${source}' -ldl; mv '${path}.new' '${path}'`);
  return path;
}

export interface GuestOptions {
  /** 1…: the guest's MACs, its address 10.77.0.(10+index) and its pods' subnet follow from it. */
  index: number;
  memory: string;
  /** Image files on the host: /dev/ubda, /dev/ubdb, … As "A,B": A has what was written, B all else. */
  disks?: string[];
  /** MTU of the storage interface. */
  mtu?: number;
}

/** A user-mode-Linux guest: a machine with its own kernel. Its root is the host's root, under an overlay in memory. */
export class Guest {
  readonly name: string;
  readonly options: GuestOptions;

  constructor(name: string, options: GuestOptions) {
    this.name = name;
    this.options = options;
  }

  /** The guest's folder on the host, which it has as /host. */
  get directory(): string {
    return join(RUN, this.name);
  }
  get ip(): string {
    return `10.77.0.${10 + this.options.index}`;
  }
  /** The guest's port on the storage bridge. */
  get storagePort(): string {
    return `${this.name}-sb`;
  }
  get #socket(): string {
    return join(RUN, `${this.name}.sock`);
  }

  /** Boots the guest: about two seconds. Its interfaces are vec0 (storage) and vec1 (management). */
  async boot(): Promise<void> {
    const { index, memory, disks = [], mtu = 9000 } = this.options;
    mkdirSync(this.directory, { recursive: true });
    const hex = index.toString(16).padStart(2, '0');
    const [storage, management] = [`${this.name}-s`, `${this.name}-m`];
    shInNetns(`
      ip link show ${storage} >/dev/null 2>&1 || {
        ip link add ${storage} mtu 9000 type veth peer name ${this.storagePort} mtu 9000
        ip link set ${this.storagePort} master storage up; ip link set ${storage} up; }
      ip link show ${management} >/dev/null 2>&1 || {
        ip tuntap add dev ${management} mode tap; ip link set ${management} master management up; }
      ip route replace 10.244.${index}.0/24 via ${this.ip}`);
    const config: SupervisorConfig = {
      name: this.name,
      directory: this.directory,
      socket: this.#socket,
      cpu: index % cpus().length,
      argv: [
        `umid=aoe-csi-${this.name}`,
        `uml_dir=${join(SHM, 'uml')}`,
        `mem=${memory}`,
        ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', `init=${join(SOURCES, 'init')}`],
        ...['con=null', 'con0=null,fd:1', 'ssl=null', 'ssl0=fd:3', 'quiet'],
        `vec0:transport=raw,ifname=${storage},mac=02:00:00:00:00:${hex},mtu=9000`,
        `vec1:transport=tap,ifname=${management},mac=02:00:00:00:01:${hex},mtu=1500`,
        ...disks.map((disk, i) => `ubd${i}=${disk}`),
        `NODE=${this.name}`,
        `RUN_DIR=${this.directory}`,
      ],
      env: { LD_PRELOAD: shim(), TMPDIR: SHM },
    };
    const configPath = join(RUN, `${this.name}.json`);
    writeFileSync(configPath, JSON.stringify(config));
    const supervisor = startInNetns(process.execPath, [join(import.meta.dirname, 'process/supervisor.ts'), configPath], {
      log: join(RUN, `${this.name}.log`),
    });
    await poll(
      async () => {
        // Its socket is there a moment before it listens on it.
        if (isAlive(supervisor.pid ?? 0)) return this.#ask({ op: 'ready' }, 60_000).catch(() => undefined);
        throw new Error(`it ended: see ${this.directory}/console.log`);
      },
      { timeoutMs: 60_000, what: `${this.name} to boot`, intervalMs: 50 },
    );
    await this.exec(`
      ip link set vec0 mtu ${mtu} up; ip link set vec1 mtu 1500 up
      ip addr add ${this.ip}/24 dev vec1; ip route add default via 10.77.0.1`);
  }

  /**
   * Runs a bash script as root in the guest and gives its output.
   * @param options timeoutMs: otherwise a minute; a machine may take {@link PATIENCE} times as long
   * @throws CommandError when it fails or takes too long
   */
  async exec(script: string, options: { timeoutMs?: number } = {}): Promise<string> {
    const limitMs = options.timeoutMs ?? 60_000;
    const request = { op: 'exec', script: `set -e -o pipefail\n${script}`, timeoutMs: limitMs * PATIENCE } as const;
    const reply = await this.#ask(request, limitMs + ANSWER_MS);
    if (reply.code !== 0)
      throw new CommandError(`${this.name}# ${script}`, reply.error ?? reply.code, reply.stdout ?? '', reply.stderr ?? '');
    return reply.stdout ?? '';
  }

  /** Starts a script that runs for as long as the guest does. */
  async start(script: string): Promise<void> {
    await this.#ask({ op: 'start', script }, ANSWER_MS);
  }

  isUp(): boolean {
    return existsSync(this.#socket);
  }

  /** Crash: kernel and processes end at once, without a sync. */
  async crash(): Promise<void> {
    const { pid } = await this.#ask({ op: 'pid' }, ANSWER_MS);
    // The kernel's process group holds all that runs in it.
    if (pid) process.kill(-Number(sh(`ps -o pgid= -p ${pid}`).trim()), 'SIGKILL');
    // The supervisor goes with its guest, and takes the socket along: a successor's, when it came too early.
    await poll(async () => (this.isUp() ? undefined : true), {
      timeoutMs: 10_000,
      intervalMs: 5,
      what: `the supervisor of ${this.name} to end`,
    });
  }

  /** Hang: the kernel stops. Only its main process: a SIGCONT to the ptraced ones makes it panic. */
  async pause(): Promise<void> {
    const { pid } = await this.#ask({ op: 'pid' }, ANSWER_MS);
    if (pid) process.kill(pid, 'SIGSTOP');
  }

  async resume(): Promise<void> {
    const { pid } = await this.#ask({ op: 'pid' }, ANSWER_MS);
    if (pid) process.kill(pid, 'SIGCONT');
    await this.exec('true');
  }

  /** Pulls or plugs the cable of the storage interface. */
  setStorageLink(state: 'up' | 'down'): void {
    shInNetns(`ip link set ${this.storagePort} ${state}`);
  }

  /** The same for the management interface: API server and kubelet lose each other. Its tap stays up: a guest never reads from one again that was down. */
  setManagementLink(state: 'up' | 'down'): void {
    shInNetns(`ip link set ${this.name}-m ${state === 'up' ? 'master management' : 'nomaster'}`);
  }

  #ask(request: Request, limitMs: number): Promise<Reply> {
    const timeoutMs = limitMs * PATIENCE;
    return new Promise((resolve, reject) => {
      const socket = connect(this.#socket);
      let text = '';
      socket.setEncoding('utf8');
      socket.setTimeout(timeoutMs, () => {
        socket.destroy();
        reject(new Error(`${this.name} did not answer within ${timeoutMs / 1000} s: see ${this.directory}/console.log`));
      });
      socket.on('data', (data: string) => {
        text += data;
      });
      socket.on('end', () => resolve(text === '' ? { error: `${this.name} died` } : JSON.parse(text)));
      socket.on('error', (error) => reject(new Error(`${this.name} is not running`, { cause: error })));
      socket.write(`${JSON.stringify(request)}\n`);
    });
  }
}
