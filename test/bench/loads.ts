/** A ratio to reach, over a peer or over the best of them in the same run. */
export interface Goal {
  metric: 'iops' | 'cpuPerRequest';
  over: 'best' | 'vblade' | 'ggaoed';
  /** At least this for IOPS, at most this for CPU time. */
  ratio: number;
}

export interface Load {
  /** What LOADS chooses by. */
  name: string;
  title: string;
  operation: 'read' | 'write';
  order: 'random' | 'sequential';
  /** Sectors in a frame. */
  sectors: number;
  /** Frames outstanding, of all volumes together. */
  window: number;
  volumes: number;
  mtu: number;
  /** Whether the initiator looks for answers without sleeping. */
  poll: boolean;
  /** On a disk's file system, and peers that can are told to write through. Otherwise on tmpfs. */
  durable: boolean;
  /** Sectors of each volume that are used. */
  span: number;
  goals: Goal[];
}

const best = (ratio: number): Goal[] => [{ metric: 'iops', over: 'best', ratio }];
const CPU: Goal = { metric: 'cpuPerRequest', over: 'best', ratio: 0.75 };
const MANY: Goal[] = [
  { metric: 'iops', over: 'ggaoed', ratio: 1.7 },
  { metric: 'iops', over: 'vblade', ratio: 3 },
];
const MIB = 2048;

function load(name: string, title: string, differs: Partial<Load> & Pick<Load, 'goals'>): Load {
  const usual = { operation: 'read', order: 'random', sectors: 8, window: 64, volumes: 1, mtu: 9000 } as const;
  return { name, title, ...usual, poll: false, durable: false, span: 64 * MIB, ...differs };
}

export const LOADS: readonly Load[] = [
  load('read-64', '4 KiB random read, 64 outstanding', { goals: [...best(1.35), CPU] }),
  load('write-64', '4 KiB random write, 64 outstanding', { operation: 'write', goals: [...best(1.5), CPU] }),
  load('read-1-poll', '4 KiB read, 1 outstanding, polling initiator', { window: 1, poll: true, goals: best(6) }),
  load('write-1-poll', '4 KiB write, 1 outstanding, polling initiator', { operation: 'write', window: 1, poll: true, goals: best(6) }),
  load('read-1', '4 KiB read, 1 outstanding, blocking initiator', { window: 1, goals: best(2) }),
  load('write-1', '4 KiB write, 1 outstanding, blocking initiator', { operation: 'write', window: 1, goals: best(2) }),
  load('sequential-read', '8 KiB sequential read, 16 outstanding', { order: 'sequential', sectors: 16, window: 16, goals: best(1.4) }),
  load('sequential-write', '8 KiB sequential write, 16 outstanding', {
    operation: 'write',
    order: 'sequential',
    sectors: 16,
    window: 16,
    goals: best(1.4),
  }),
  load('small', '1 KiB random read at MTU 1500, 64 outstanding', { sectors: 2, mtu: 1500, goals: best(1.3) }),
  load('many-read', '4 KiB random read on 64 volumes, 64 outstanding in all', { volumes: 64, span: 16 * MIB, goals: MANY }),
  load('many-write', '4 KiB random write on 64 volumes, 64 outstanding in all', {
    operation: 'write',
    volumes: 64,
    span: 16 * MIB,
    goals: MANY,
  }),
  load('durable-16', 'durable 4 KiB random write on disk, 16 outstanding', {
    operation: 'write',
    window: 16,
    durable: true,
    goals: [{ metric: 'iops', over: 'vblade', ratio: 12 }],
  }),
  load('durable-64', 'durable 4 KiB random write on disk, 64 outstanding', {
    operation: 'write',
    durable: true,
    goals: [{ metric: 'iops', over: 'vblade', ratio: 12 }],
  }),
];

/** Those whose name has one of the words; all without words. A word that fits none is an error. */
export function chosen(words: readonly string[], names: readonly string[]): string[] {
  const unknown = words.find((word) => !names.some((name) => name.includes(word)));
  if (unknown !== undefined) throw new RangeError(`LOADS: no load is called "${unknown}"; there are ${names.join(', ')}`);
  return words.length === 0 ? [...names] : names.filter((name) => words.some((word) => name.includes(word)));
}
