import type { Name } from './peer.ts';

/** So many times better than a peer, or than the best of them; or at most so much. */
export type Goal = { over: 'best' | Name; ratio: number } | { most: number };

export interface Load {
  what: string;
  unit: string;
  disk: 'memory' | 'durable';
  /** Script in the guest, with DEVICE for the device; prints one number. */
  script: string;
  /** Whether a smaller number is the better one. */
  less?: boolean;
  goal: Goal;
}

const fio = (options: string, value: string): string =>
  `fio --name=x --filename=DEVICE --direct=1 --ioengine=libaio --runtime=3 --time_based --output-format=json ${options} | jq '.jobs[0].${value}'`;

const AHEAD: Goal = { over: 'best', ratio: 1 };

export const LOADS: readonly Load[] = [
  {
    what: '4 KiB random read, QD1',
    unit: 'IOPS',
    disk: 'memory',
    script: fio('--rw=randread --bs=4k --iodepth=1', 'read.iops'),
    goal: AHEAD,
  },
  {
    what: '4 KiB random read, QD16',
    unit: 'IOPS',
    disk: 'memory',
    script: fio('--rw=randread --bs=4k --iodepth=16', 'read.iops'),
    goal: AHEAD,
  },
  {
    what: '128 KiB read, QD4',
    unit: 'KiB/s',
    disk: 'memory',
    script: fio('--rw=read --bs=128k --iodepth=4', 'read.bw'),
    // The best may be ahead by 1.2.
    goal: { over: 'best', ratio: 1 / 1.2 },
  },
  {
    what: '128 KiB write, QD4',
    unit: 'KiB/s',
    disk: 'memory',
    script: fio('--rw=write --bs=128k --iodepth=4', 'write.bw'),
    goal: AHEAD,
  },
  {
    what: 'durable 4 KiB random write and fsync',
    unit: 'IOPS',
    disk: 'durable',
    script: fio('--rw=randwrite --bs=4k --iodepth=1 --fsync=1', 'write.iops'),
    goal: { over: 'vblade', ratio: 1.2 },
  },
  {
    what: 'mkfs.ext4 on a durable disk',
    unit: 'ms',
    disk: 'durable',
    // Without discards: all serve the same file, and AoE has none.
    script: 'a=$(date +%s%N); mkfs.ext4 -q -F -E nodiscard DEVICE; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))',
    less: true,
    goal: { most: 200 },
  },
];
