import type { Cluster } from '../../testbed/cluster.ts';
import type { Disturbance } from '../model/cluster-faults.ts';
import { describeStep, type Step, type Transition } from '../model/plan.ts';
import type { World } from './contest.ts';
import { disturb } from './disturb.ts';

/** Plays the steps of a plan, one after the other. Each ends with nothing wrong any more and the holder's writes going on. */
export async function play(
  cluster: Cluster,
  world: World,
  steps: readonly Step<Disturbance>[],
  tell: (text: string) => void,
): Promise<void> {
  for (const [index, step] of steps.entries()) {
    const started = performance.now();
    tell(`step ${index + 1}/${steps.length}: ${describeStep(step)}`);
    await playStep(cluster, world, step);
    tell(`  ${((performance.now() - started) / 1000).toFixed(1)} s; epoch ${world.holder.epoch} on ${world.holder.node}`);
  }
}

async function playStep(cluster: Cluster, world: World, { disturbance, transition }: Step<Disturbance>): Promise<void> {
  const heal = disturbance ? await begin(cluster, disturbance) : async () => {};
  try {
    if (transition) await go(cluster, world, transition);
  } catch (error) {
    await heal('now').catch(() => {});
    throw error;
  }
  await heal('in time');
  await world.progress();
}

/** Begins a disturbance. It ends after its time, or at once when what runs beside it has failed; either way only once. */
async function begin(cluster: Cluster, { what, seconds }: { what: Disturbance; seconds: number }) {
  const undo = await disturb(cluster, what);
  let end = (): void => {};
  const over = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    end = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  const healed = over.then(undo);
  // Its error is thrown to whoever asks for it below, and must not be unhandled until then.
  healed.catch(() => {});
  return async (when: 'now' | 'in time'): Promise<void> => {
    if (when === 'now') end();
    await healed;
  };
}

async function go(cluster: Cluster, world: World, { kind, to }: Transition): Promise<void> {
  const from = world.holder;
  const guest = cluster.guest(from.node);
  switch (kind) {
    case 'move':
      await world.release();
      await world.take(to);
      return;
    case 'crash':
    case 'delete-node':
      await guest.crash();
      try {
        await (kind === 'crash' ? world.giveUp() : world.deleteNode());
        await world.take(to);
      } finally {
        await cluster.reboot(from.node);
        await world.takeBack(from.node);
      }
      return;
    case 'hang':
    case 'cut-off': {
      // A node that hangs goes on where it stopped; one that is cut off from Kubernetes writes all the time. Neither knows.
      if (kind === 'hang') await guest.pause();
      else guest.setManagementLink('down');
      try {
        await world.giveUp();
        await world.take(to);
        if (kind === 'cut-off') await world.refused(from.epoch);
      } finally {
        if (kind === 'hang') await guest.resume();
        else guest.setManagementLink('up');
      }
      await world.refused(from.epoch);
      await world.progress();
      await world.takeBack(from.node);
    }
  }
}
