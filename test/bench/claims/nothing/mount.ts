import koffi from 'koffi';

const MS_BIND = 4096; // include/uapi/linux/mount.h
const libc = koffi.load(null);
const mount = libc.func('int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)');
const umount = libc.func('int umount(const char *target)');

/** mount(2) with MS_BIND: no program is started, so that it costs as good as nothing. @throws Error with the errno */
export function bindMount(source: string, target: string): void {
  if (mount(source, target, null, MS_BIND, null) !== 0) throw new Error(`mount of ${source} at ${target}: errno ${koffi.errno()}`);
}

/** umount(2). A path where nothing is mounted, or that does not exist, is no error. @throws Error with the errno */
export function unmount(target: string): void {
  const { EINVAL, ENOENT } = koffi.os.errno;
  if (umount(target) === 0) return;
  const code = koffi.errno();
  if (code !== EINVAL && code !== ENOENT) throw new Error(`umount of ${target}: errno ${code}`);
}
