import { closeSync, readSync, writeSync } from 'node:fs';
import { eventfd, lastError, poll } from './libc.ts';

const POLLIN = 1;
const POLLFD_LENGTH = 8;
const EFD_NONBLOCK_CLOEXEC = 0o2004000;
/** Longest wait for an event, in milliseconds. Only a safety net, since adding and removing descriptors end the wait. */
const LIMIT_MS = 5_000;

/**
 * Waits for any number of descriptors on one thread of Node's pool, and on none when there is no descriptor. A blocking read for
 * each socket would use up the pool's four threads and stop all other file I/O of the program. While that I/O has all threads, no handler is
 * called: nothing may follow from that.
 */
export class Poller {
  readonly #handlers = new Map<number, () => void>();
  #wake = -1;
  #running = false;

  /** Calls `onReadable` each time the descriptor has something to read, until the returned function is called. */
  add(fd: number, onReadable: () => void): () => void {
    this.#handlers.set(fd, onReadable);
    if (this.#running) this.#interrupt();
    else void this.#run();
    return () => {
      if (this.#handlers.get(fd) !== onReadable) return;
      this.#handlers.delete(fd);
      this.#interrupt();
    };
  }

  #interrupt(): void {
    if (this.#wake >= 0) writeSync(this.#wake, new BigUint64Array([1n]));
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#wake = eventfd(0, EFD_NONBLOCK_CLOEXEC);
    if (this.#wake < 0) throw new Error(`eventfd: ${lastError()}`);
    try {
      while (this.#handlers.size > 0) {
        const fds = [this.#wake, ...this.#handlers.keys()];
        const table = Buffer.alloc(fds.length * POLLFD_LENGTH);
        for (const [index, fd] of fds.entries()) {
          table.writeInt32LE(fd, index * POLLFD_LENGTH);
          table.writeInt16LE(POLLIN, index * POLLFD_LENGTH + 4);
        }
        await poll(table, fds.length, LIMIT_MS);
        for (const [index, fd] of fds.entries()) {
          if (table.readInt16LE(index * POLLFD_LENGTH + 6) === 0) continue;
          if (fd === this.#wake) readSync(fd, new BigUint64Array(1));
          // A descriptor that was removed meanwhile, and perhaps reused, has no handler, or a handler that finds nothing to read.
          else this.#handlers.get(fd)?.();
        }
      }
    } finally {
      closeSync(this.#wake);
      this.#wake = -1;
      this.#running = false;
    }
  }
}
