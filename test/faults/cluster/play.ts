import type { Cluster } from '../../testbed/cluster.ts';
import type { Disturbance } from '../model/cluster-faults.ts';
import { whileDisturbed } from '../model/disturbed.ts';
import { describeStep, type Step, type Transition } from '../model/plan.ts';
import type { ClusterContest } from './contest.ts';
import { disturbCluster } from './disturb.ts';

/** Plays the steps of a plan, one after the other. At the end of each step nothing is wrong, and the holder's writes are answered. */
export async function play(
  cluster: Cluster,
  contest: ClusterContest,
  steps: readonly Step<Disturbance>[],
  report: (text: string) => void,
): Promise<void> {
  for (const [index, step] of steps.entries()) {
    const started = performance.now();
    report(`step ${index + 1}/${steps.length}: ${describeStep(step)}`);
    await playStep(cluster, contest, step);
    report(`  ${((performance.now() - started) / 1000).toFixed(1)} s; epoch ${contest.holder.epoch} on ${contest.holder.node}`);
  }
}

async function playStep(cluster: Cluster, contest: ClusterContest, { disturbance, transition }: Step<Disturbance>): Promise<void> {
  const change = async () => {
    if (transition) await go(cluster, contest, transition);
  };
  if (disturbance) {
    const undo = await disturbCluster(cluster, disturbance.what);
    await whileDisturbed(() => undo, { after: 0, seconds: disturbance.seconds }, change);
  } else await change();
  await contest.progress();
}

async function go(cluster: Cluster, contest: ClusterContest, { kind, to }: Transition): Promise<void> {
  const from = contest.holder;
  const guest = cluster.guest(from.node);
  switch (kind) {
    case 'move':
      await contest.release();
      await contest.take(to);
      return;
    case 'crash':
    case 'delete-node':
      await guest.crash();
      try {
        await (kind === 'crash' ? contest.giveUp() : contest.deleteNode());
        await contest.take(to);
      } finally {
        await cluster.reboot(from.node);
        await contest.takeBack(from.node);
      }
      return;
    case 'hang':
    case 'cut-off': {
      // A node that hangs continues where it stopped. A node without Kubernetes keeps writing. Neither knows that it lost the volume.
      if (kind === 'hang') await guest.pause();
      else guest.setManagementLink('down');
      try {
        await contest.giveUp();
        await contest.take(to);
        if (kind === 'cut-off') await contest.refused(from.epoch);
      } finally {
        if (kind === 'hang') await guest.resume();
        else guest.setManagementLink('up');
      }
      await contest.refused(from.epoch);
      await contest.progress();
      await contest.takeBack(from.node);
      return;
    }
    default:
      throw new Error(`the operator of this lab takes nothing over by itself: ${kind}`);
  }
}
