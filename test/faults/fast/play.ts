import { whileDisturbed } from '../model/disturbed.ts';
import type { FastDisturbance } from '../model/fast-faults.ts';
import { type Handover, isSilence, type Step } from '../model/plan.ts';
import type { LabContest } from './contest.ts';
import { disturbLab } from './disturb.ts';
import type { ProcessLab } from './process-lab.ts';
import { playSilence } from './silence.ts';

/** Plays one step. It ends with nothing wrong any more, the holder's writes going on, and nobody else's answered. */
export async function playStep(lab: ProcessLab, contest: LabContest, { disturbance, transition }: Step<FastDisturbance>): Promise<void> {
  const change = async () => {
    if (isSilence(transition)) await playSilence(lab, contest, transition);
    else if (transition) await go(lab, contest, transition);
  };
  if (disturbance) await whileDisturbed(() => disturbLab(lab, disturbance.what), disturbance, change);
  else await change();
  await contest.holder.progress();
  await contest.lockIsHolders();
  const [violation] = lab.rights.violations;
  if (violation) throw new Error(violation);
}

async function go(lab: ProcessLab, contest: LabContest, { kind, to }: Handover): Promise<void> {
  const from = contest.holder;
  const host = lab.host(from.node);
  from.neverRefused();
  switch (kind) {
    case 'move':
      await contest.release();
      await contest.take(to);
      return;
    case 'crash':
      contest.endWriters(from.node);
      // The successor is asked for at once, and must wait.
      await Promise.all([contest.giveUp(), contest.take(to)]);
      return;
    case 'delete-node':
      contest.endWriters(from.node);
      await contest.deleteNode();
      await contest.take(to);
      await contest.takeBack(from.node);
      return;
    case 'hang':
      host.hang();
      await Promise.all([contest.giveUp(), contest.take(to)]);
      host.goOn();
      await from.refused();
      return;
    case 'cut-off':
      // It lost Kubernetes only: its writer never pauses.
      await Promise.all([contest.giveUp(), contest.take(to)]);
      await from.refused();
  }
}
