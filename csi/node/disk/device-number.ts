/** A device number of stat(2) as `major:minor`, as mountinfo and sysfs write it (glibc, gnu_dev_major and gnu_dev_minor). */
export function deviceNumber(dev: number): string {
  const major = Math.floor(dev / 2 ** 8) % 2 ** 12;
  const minor = (dev % 2 ** 8) + (Math.floor(dev / 2 ** 20) % 2 ** 12) * 2 ** 8;
  return `${major}:${minor}`;
}
