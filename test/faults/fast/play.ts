import { setTimeout as delay } from 'node:timers/promises';
import type { FastDisturbance } from '../model/fast-faults.ts';
import type { Step, Transition } from '../model/plan.ts';
import type { World } from './contest.ts';
import { disturb } from './disturb.ts';
import type { Lab } from './process-lab.ts';

/** Plays one step. It ends with nothing wrong any more, the holder's writes going on, and nobody else's answered. */
export async function playStep(lab: Lab, world: World, { disturbance, transition }: Step<FastDisturbance>): Promise<void> {
  const over = new AbortController();
  const disturbed = disturbance ? during(lab, disturbance, over.signal) : Promise.resolve();
  try {
    await Promise.all([transition && go(lab, world, transition), disturbed]);
  } finally {
    over.abort();
    await disturbed;
  }
  await world.holder.progress();
  await world.lockIsHolders();
  const [violation] = lab.rights.violations;
  if (violation) throw new Error(violation);
}

type Disturbed = NonNullable<Step<FastDisturbance>['disturbance']>;

/** A disturbance from its beginning to its end, which comes at once when what runs beside it has failed. */
async function during(lab: Lab, { what, after, seconds }: Disturbed, signal: AbortSignal): Promise<void> {
  const pause = (time: number) => delay(time * 1000, undefined, { signal }).catch(() => {});
  await pause(after);
  const undo = await disturb(lab, what);
  await pause(seconds);
  await undo();
}

async function go(lab: Lab, world: World, { kind, to }: Transition): Promise<void> {
  const from = world.holder;
  const host = lab.host(from.node);
  from.neverRefused();
  switch (kind) {
    case 'move':
      await world.release();
      await world.take(to);
      return;
    case 'crash':
      world.endWriters(from.node);
      // The successor is asked for at once, and must wait.
      await Promise.all([world.giveUp(), world.take(to)]);
      return;
    case 'delete-node':
      world.endWriters(from.node);
      await world.deleteNode();
      await world.take(to);
      await world.takeBack(from.node);
      return;
    case 'hang':
      host.hang();
      await Promise.all([world.giveUp(), world.take(to)]);
      host.goOn();
      await from.refused();
      return;
    case 'cut-off':
      // It lost Kubernetes only: its writer never pauses.
      await Promise.all([world.giveUp(), world.take(to)]);
      await from.refused();
  }
}
