import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WireLab } from '../wire/wire-lab.ts';

const PROGRAMS = join(process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, '../../dist/cargo'), 'release');
export const TARGET_PROGRAM = join(PROGRAMS, 'aoe-target');
export const LOAD_PROGRAM = join(PROGRAMS, 'aoe-load');

/** Before a program: its own CPU, and nobody else there who would hold it up. */
export const ON_TARGET_CPU = ['chrt', '-f', '5', 'taskset', '-c', '0'];
export const ON_INITIATOR_CPU = ['chrt', '-f', '5', 'taskset', '-c', '1'];

export interface Disk {
  shelf: number;
  slot: number;
  path: string;
}

export interface Running {
  pids: number[];
  stop(): Promise<void>;
}

export interface Target {
  name: 'aoe-target' | 'vblade' | 'ggaoed';
  /** Serves all these disks on the lab's cable. */
  start(lab: WireLab, disks: readonly Disk[], options?: { durable?: boolean }): Running;
}

/** Volume number `index` of a set, as the load generator counts them; sparse. */
export function disks(lab: WireLab, count: number, bytes: number): Disk[] {
  return Array.from({ length: count }, (_, index) => ({
    shelf: 7 + Math.floor(index / 255),
    slot: index % 255,
    path: lab.disk(`disk-${index}`, bytes),
  }));
}

export const exports = (all: readonly Disk[]): string[] => all.flatMap(({ shelf, slot, path }) => ['--export', `${shelf}.${slot}=${path}`]);

function running(processes: readonly ReturnType<WireLab['process']>[]): Running {
  return {
    // `ip netns exec`, chrt and taskset become the program: the process is the same.
    pids: processes.map(({ child }) => child.pid ?? 0),
    stop: async () => void (await Promise.all(processes.map(({ stop }) => stop()))),
  };
}

export const ours: Target = {
  name: 'aoe-target',
  start: (lab, all) => {
    return running([lab.process([...ON_TARGET_CPU, TARGET_PROGRAM, '--interface', 'target0', ...exports(all)])]);
  },
};

export const vblade: Target = {
  name: 'vblade',
  start: (lab, all, { durable = false } = {}) => {
    const program = [...ON_TARGET_CPU, 'vblade', '-b', '128', ...(durable ? ['-s'] : [])];
    return running(all.map(({ shelf, slot, path }) => lab.process([...program, String(shelf), String(slot), 'target0', path])));
  },
};

/** `program`: a ggaoed that someone has built; this repository has none. */
export function ggaoed(program: string): Target {
  return {
    name: 'ggaoed',
    start: (lab, all) => {
      const file = (name: string) => join(lab.directory, name);
      const settings = {
        'queue-length': 128,
        interfaces: 'target0',
        'direct-io': true,
        'pid-file': file('ggaoed.pid'),
        'control-socket': file('ggaoed.socket'),
        'state-directory': lab.directory,
      };
      const section = (name: string, values: object) =>
        `[${name}]\n${Object.entries(values)
          .map((pair) => `${pair.join(' = ')}\n`)
          .join('')}`;
      const volumes = all.map(({ shelf, slot, path }, index) => section(`disk${index}`, { path, shelf, slot }));
      writeFileSync(file('ggaoed.conf'), [section('defaults', settings), ...volumes].join('\n'));
      return running([lab.process([...ON_TARGET_CPU, program, '-n', '-c', file('ggaoed.conf')])]);
    },
  };
}
