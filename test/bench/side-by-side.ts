import { WireLab } from '../wire/wire-lab.ts';
import { load, type Result } from './initiator.ts';
import type { Load } from './loads.ts';
import { medians } from './statistics.ts';
import { disks, ours, type Target } from './targets.ts';

/** Where disks lie: in memory, and on the machine's disk. */
export const MEMORY = '/dev/shm';
export const DISK = '/var/tmp';

export interface Compared {
  load: Load;
  /** Medians of all rounds. */
  medians: Partial<Record<Target['name'], Result>>;
  rounds: Partial<Record<Target['name'], Result[]>>;
}

/** Puts a load on each of the targets in turn, `rounds` times, over the same data. */
export async function compare(given: Load, targets: readonly Target[], rounds: number, seconds: number): Promise<Compared> {
  await using lab = new WireLab({ mtu: given.mtu, folder: given.durable ? DISK : MEMORY });
  const { volumes, span, sectors, order, window, operation, durable } = given;
  const all = disks(lab, volumes, span * 512);
  const filling = ours.start(lab, all);
  await load(lab, { operation: 'fill', volumes, span, sectors });
  await filling.stop();
  const results: Compared['rounds'] = {};
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) {
      const running = target.start(lab, all, { durable });
      const poll = given.poll ? 'yes' : 'no';
      const pids = running.pids.join(',');
      const result = await load(lab, { operation, order, volumes, span, sectors, window, poll, seconds, pids });
      await running.stop();
      const before = results[target.name] ?? [];
      results[target.name] = [...before, result];
    }
  }
  const middle = Object.entries(results).map(([name, list]) => [name, medians(list as (Result & Record<string, number>)[])]);
  return { load: given, medians: Object.fromEntries(middle), rounds: results };
}
