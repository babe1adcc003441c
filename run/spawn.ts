import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import koffi from 'koffi';
import { TOOL_ENVIRONMENT } from './config.ts';
import { Semaphore } from './semaphore.ts';

const libc = koffi.load(null);
const pipe2 = libc.func('int pipe2(void *fds, int flags)');
const waitpid = libc.func('int waitpid(int pid, void *status, int options)');
const posixSpawn = libc.func(
  'int posix_spawnp(void *pid, const char *program, const void *actions, const void *attributes, const char **args, const char **environment)',
);
const initActions = libc.func('int posix_spawn_file_actions_init(void *actions)');
const destroyActions = libc.func('int posix_spawn_file_actions_destroy(void *actions)');
const addDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)');
const addOpen = libc.func('int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)');
const initAttributes = libc.func('int posix_spawnattr_init(void *attributes)');
const setFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)');
const setDefaultSignals = libc.func('int posix_spawnattr_setsigdefault(void *attributes, const void *signals)');
const setSignalMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, const void *signals)');

const O_CLOEXEC = 0o2000000;
const WNOHANG = 1;
/** spawn.h: the child leads a session of its own, its signals have their default actions, and none is blocked. */
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;
/** More than posix_spawnattr_t (336 bytes), posix_spawn_file_actions_t (80) and sigset_t (128) of glibc on 64-bit machines. */
const STRUCT_BYTES = 512;
/** Node.js has four threads for all file operations, and each start of a program uses one until the program is loaded. */
const STARTS_AT_ONCE = 2;

const attributes = Buffer.alloc(STRUCT_BYTES);
initAttributes(attributes);
setDefaultSignals(attributes, Buffer.alloc(STRUCT_BYTES, 0xff));
setSignalMask(attributes, Buffer.alloc(STRUCT_BYTES));
setFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID);
const environment = [...Object.entries(TOOL_ENVIRONMENT).map(([name, value]) => `${name}=${value}`), null];
const starts = new Semaphore(STARTS_AT_ONCE);

/** How a program ended: one of the two is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A program that was started. The caller reads its output, or destroys the streams. */
export interface Child {
  readonly stdout: Socket;
  readonly stderr: Socket;
  /** Does not keep this process alive. */
  readonly exited: Promise<Exit>;
  /** Gives up what was not read or written yet. */
  readonly closeStreams: () => void;
  /** Kills the program and its process group. Does nothing once it has ended. */
  readonly kill: () => void;
}

/** Programs that have not ended, by process id. */
const running = new Map<number, (exit: Exit) => void>();

/**
 * Starts a program, with the environment for tools, in a session and process group of its own, so that everything it starts can be killed
 * with it. It does what spawn() of node:child_process does, without the copy of this process that a fork makes: docs/adr/0016.
 * @throws Error with `code`, such as ENOENT, when it cannot be started
 */
export async function spawn(program: string, args: readonly string[], input?: string): Promise<Child> {
  using opened = new Descriptors();
  const [stdout, toStdout] = opened.pipe();
  const [stderr, toStderr] = opened.pipe();
  const [fromStdin, stdin] = input ? opened.pipe() : [];
  const actions = Buffer.alloc(STRUCT_BYTES);
  initActions(actions);
  try {
    if (fromStdin === undefined) addOpen(actions, 0, '/dev/null', 0, 0);
    else addDup2(actions, fromStdin, 0);
    addDup2(actions, toStdout, 1);
    addDup2(actions, toStderr, 2);
    const pid = await starts.run(() => start(program, args, actions));
    const { promise: exited, resolve } = Promise.withResolvers<Exit>();
    if (running.size === 0) process.on('SIGCHLD', reapAll);
    running.set(pid, resolve);
    reap(pid);
    const streams = {
      stdout: new Socket({ fd: opened.keep(stdout), readable: true, writable: false }),
      stderr: new Socket({ fd: opened.keep(stderr), readable: true, writable: false }),
      ...(stdin === undefined ? {} : { stdin: new Socket({ fd: opened.keep(stdin), readable: false, writable: true }) }),
    };
    // A program need not read its input.
    streams.stdin?.on('error', () => {}).end(input ?? '');
    return {
      ...streams,
      exited,
      closeStreams: () => {
        for (const stream of Object.values(streams)) stream.destroy();
      },
      // The number cannot belong to another process: the program was not waited for yet.
      kill: () => running.has(pid) && process.kill(-pid, 'SIGKILL'),
    };
  } finally {
    destroyActions(actions);
  }
}

/** On a thread of the pool: the thread that calls it is suspended until the program is loaded. */
function start(program: string, args: readonly string[], actions: Buffer): Promise<number> {
  const pid = Buffer.alloc(4);
  return new Promise((resolve, reject) => {
    posixSpawn.async(pid, program, actions, attributes, [program, ...args, null], environment, (error: unknown, errno: number) => {
      if (error) reject(error);
      else if (errno !== 0) reject(errnoError('posix_spawn', errno));
      else resolve(pid.readInt32LE());
    });
  });
}

/** SIGCHLD says that a child has ended, but not which one. Node.js itself waits only for the children that it has started. */
function reapAll(): void {
  for (const pid of running.keys()) reap(pid);
}

function reap(pid: number): void {
  const status = Buffer.alloc(4);
  if (waitpid(pid, status, WNOHANG) === 0) return;
  const end = running.get(pid);
  running.delete(pid);
  if (running.size === 0) process.off('SIGCHLD', reapAll);
  end?.(parseStatus(status.readInt32LE()));
}

/** A status of waitpid(2), as bits/waitstatus.h takes it apart. */
function parseStatus(status: number): Exit {
  const number = status & 0x7f;
  if (number === 0) return { code: (status >> 8) & 0xff, signal: null };
  const [name] = Object.entries(constants.signals).find(([, value]) => value === number) ?? ['SIGKILL'];
  return { code: null, signal: name as NodeJS.Signals };
}

function errnoError(call: string, errno: number): Error {
  const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  return Object.assign(new Error(`${call} ${code}`), { code });
}

/** Descriptors that are closed in the end, unless they are kept. None of them gets into a program that is started meanwhile. */
class Descriptors {
  readonly #open = new Set<number>();

  pipe(): [reader: number, writer: number] {
    const fds = Buffer.alloc(8);
    if (pipe2(fds, O_CLOEXEC) !== 0) throw errnoError('pipe2', koffi.errno());
    const pair: [number, number] = [fds.readInt32LE(0), fds.readInt32LE(4)];
    for (const fd of pair) this.#open.add(fd);
    return pair;
  }

  keep(fd: number): number {
    this.#open.delete(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open) closeSync(fd);
  }
}
