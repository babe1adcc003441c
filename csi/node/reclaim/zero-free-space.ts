import type { Exec } from '../../../run/exec.ts';

/** Bytes that are written before it is looked again how much is free: small, so that other programs get what they need in time. */
const SLICE_BYTES = 4 * 2 ** 20;
/** How long the file is kept after its last write was answered: longer than switches hold a frame (docs/adr/0033). */
const SETTLE_SECONDS = 30;
/** For the last slice on a slow disk, and for the kernel to take the file apart. */
const END_SECONDS = 300;

/**
 * Writes zeros to an unnamed file, slice by slice, until only the reserve is free, waits, and lets the file go. The file never has a name:
 * a name could be a link to another file by then, which somebody else has made. xfs_io makes it (O_TMPFILE), the shell keeps it open, and dd, not the one of
 * busybox, writes to it. The kernel frees its blocks when the last of them has ended, killed or not, and after a crash at the next mount.
 * $2 is the disk, by which DiskPrograms knows whom to wait for. Times are in hundredths of a second: a slice may take no more than a few. They are read
 * without another process, as there are many slices. Each line of the output is the size of the file; the last one also says why it ended.
 *
 * The script is text in this file because the program is shipped as one bundled file, and has no other file beside it.
 */
const SCRIPT = `
cd "$1" || exit 1
slice=$3 reserve=$4 limit=$5 settle=$6
free() {
  set -- $(stat -f -c '%a %S' .)
  avail=$(($1 * $2))
}
now() {
  read -r up rest < /proc/uptime
  time=\${up%.*}\${up#*.}
}
# Sleeps until $1, for 0.2 s at most.
nap() {
  left=$(($1 - time))
  [ $left -le 20 ] || left=20
  [ $left -ge 10 ] || left=0$left
  sleep 0.$left
}
{ cd /; exec sleep 5; } < /dev/null 2> /dev/null | xfs_io -T . > /dev/null &
holder=$! tries=0 file=
until [ -n "$file" ]; do
  for fd in /proc/$holder/fd/*; do
    case $(readlink "$fd") in *' (deleted)') file=$fd ;; esac
  done
  [ -n "$file" ] && break
  tries=$((tries + 1))
  [ $tries -le 40 ] || { echo 'an unnamed file could not be made' >&2; exit 1; }
  sleep 0.1
done
exec 3<> "$file" || exit 1
kill $holder
at=0 end=all
now; deadline=$((time + limit * 100))
while free; [ $avail -ge $((reserve + slice)) ]; do
  now; begun=$time
  [ $time -lt $deadline ] || { end=limit; break; }
  kill -0 $PPID 2> /dev/null || exit 1
  if ! /bin/dd if=/dev/zero of=/proc/self/fd/3 bs=1M count=$((slice / 1048576)) seek=$at oflag=direct,seek_bytes conv=notrunc status=none; then
    free
    [ $avail -lt $reserve ] && { end=needed; break; }
    exit 1
  fi
  at=$((at + slice))
  echo $at
  now; resume=$((time + time - begun))
  while free; now; [ $time -lt $resume ] && [ $avail -ge $((reserve / 2)) ]; do nap $resume; done
  [ $avail -ge $((reserve / 2)) ] || { end=needed; break; }
done
now; gone=$((time + settle * 100))
while [ $end != needed ] && [ $at -gt 0 ]; do
  now; [ $time -lt $gone ] || break
  kill -0 $PPID 2> /dev/null || exit 1
  free; [ $avail -ge $((reserve / 2)) ] || { end=needed; break; }
  nap $gone
done
echo "$at $end"
`;

export interface FreeSpace {
  /** Where the file system is mounted. */
  readonly path: string;
  /** Its disk, such as `/dev/etherd/e7.3`. */
  readonly disk: string;
  /** Bytes that stay free. */
  readonly reserve: number;
  /** Seconds after which no more is begun. */
  readonly limitSeconds: number;
}

export interface Zeroed {
  readonly bytes: number;
  /** `all`: only the reserve was left. `limit`: the time was over. `needed`: somebody else needed the space, so that it was freed at once. */
  readonly end: 'all' | 'limit' | 'needed';
}

export interface ZeroOptions {
  readonly signal: AbortSignal;
  /** As in Exec. */
  readonly onKilled?: (ended: Promise<void>) => void;
  /** Called with the size of the file, in bytes, as it grows. */
  readonly onWritten?: (bytes: number) => void;
  /** For tests. */
  readonly sliceBytes?: number;
  readonly settleSeconds?: number;
}

/**
 * Overwrites the free space of a mounted file system with zeros, so that the target gives it back to the pool, at half of the speed that the disk has.
 * Nothing of it is left when this returns, throws, or is killed.
 * @throws ExecError
 */
export async function zeroFreeSpace(
  exec: Exec,
  { path, disk, reserve, limitSeconds }: FreeSpace,
  { signal, onKilled, onWritten, sliceBytes = SLICE_BYTES, settleSeconds = SETTLE_SECONDS }: ZeroOptions,
): Promise<Zeroed> {
  const numbers = [sliceBytes, reserve, limitSeconds, settleSeconds].map(String);
  const args = ['-c', SCRIPT, 'zero-free-space', path, disk, ...numbers];
  const timeoutMs = (limitSeconds + settleSeconds + END_SECONDS) * 1000;
  let [line, rest] = ['', ''];
  const onOutput = async (text: string): Promise<void> => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    line = lines.at(-1) ?? line;
    if (lines.length > 0) onWritten?.(Number.parseInt(line, 10));
  };
  await exec('sh', args, { timeoutMs, signal, onOutput, ...(onKilled ? { onKilled } : {}) });
  const [, bytes, end] = /^(\d+) (all|limit|needed)$/.exec(line) ?? [];
  if (!bytes || !end) throw new Error(`sh answered ${line.slice(-200)}`);
  return { bytes: Number(bytes), end: end as Zeroed['end'] };
}
