import koffi from 'koffi';

const libc = koffi.load(null);

/** The C library functions that Node.js does not offer. Each returns -1 on failure; see {@link lastError}. */
export const socket = libc.func('int socket(int domain, int type, int protocol)');
export const bind = libc.func('int bind(int fd, const void *address, unsigned int length)');
export const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)');
export const send = libc.func('long send(int fd, const void *bytes, size_t length, int flags)');
export const recv = libc.func('long recv(int fd, void *bytes, size_t length, int flags)');
export const eventfd = libc.func('int eventfd(unsigned int initial, int flags)');
export const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)');

const pollFunction = libc.func('int poll(void *fds, unsigned long count, int timeout)');

/** poll(2) on a thread of the pool: resolves when one of the descriptors is ready, or after `timeoutMs`. */
export function poll(fds: Buffer, count: number, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    pollFunction.async(fds, count, timeoutMs, (error: unknown, ready: number) => (error ? reject(error) : resolve(ready)));
  });
}

/** errno of the last call, as a name such as `ENODEV`. */
export function lastError(): string {
  const code = koffi.errno();
  return Object.entries(koffi.os.errno).find(([, value]) => value === code)?.[0] ?? `errno ${code}`;
}

/** Address of a buffer's memory, for structures that hold pointers. The caller keeps the buffer alive. */
export function addressOf(buffer: Buffer): bigint {
  return koffi.address(buffer);
}
