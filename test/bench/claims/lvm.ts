import type { Guest } from '../../testbed/guest.ts';

/** Volumes a second by LVM's commands alone, one after the other. */
export interface BareLvm {
  /** lvcreate without activation, and lvchange to activate it. */
  readonly made: number;
  /** lvremove. */
  readonly removed: number;
}

/** Makes n volumes of 64 MiB and removes them, with nothing but LVM's commands, in a storage node. */
export async function bareLvm(guest: Guest, n: number): Promise<BareLvm> {
  const script = `
    now() { date +%s%N; }
    a=$(now)
    for i in $(seq ${n}); do
      lvcreate -qq -an -Wn -Zn -L 64M -n bench-$i vg0 2>/dev/null
      lvchange -qq -ay vg0/bench-$i
    done
    b=$(now)
    for i in $(seq ${n}); do lvremove -qq -y vg0/bench-$i; done
    c=$(now)
    echo $((b - a)) $((c - b))`;
  const [making = 0, removing = 0] = (await guest.exec(script, { timeoutMs: 600_000 })).trim().split(' ').map(Number);
  return { made: (n * 1e9) / making, removed: (n * 1e9) / removing };
}
