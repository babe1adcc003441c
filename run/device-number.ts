/**
 * Splits a device number as stat(2) gives it (`st_rdev`): 12 bits of major, 20 of minor (glibc, sys/sysmacros.h).
 * @example deviceNumber(0x9800) // { major: 152, minor: 0 }
 */
export function deviceNumber(rdev: number): { major: number; minor: number } {
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
}
