import { setTimeout as delay } from 'node:timers/promises';
import { TAKEOVER_SECONDS } from '../model/fast-faults.ts';
import type { NodeName, Silence } from '../model/plan.ts';
import type { LabContest } from './contest.ts';
import type { ProcessLab } from './process-lab.ts';
import { TAKEOVER_MS, Workload } from './workload.ts';

/** Between two records while only the kubelet is silent: the disk is in memory, and the silence is long. */
const SLOW_MS = 50;

/** Plays a silence of the holder's node. What becomes of the volume is the operator's business; afterwards the other node has it. */
export async function playSilence(lab: ProcessLab, contest: LabContest, transition: Silence): Promise<void> {
  const { node } = contest.holder;
  const workload = await Workload.on(node, lab, contest);
  switch (transition.kind) {
    case 'silent':
      return silent(workload, lab, contest, transition.to);
    case 'wakes':
      return wakes(workload, lab, contest, transition);
    case 'kubelet-silent':
      contest.holder.pauseMs = SLOW_MS;
      await workload.nodeIs('Unknown');
      await delay(transition.seconds * 1000);
      await keeps(workload, contest, transition);
  }
}

async function silent(workload: Workload, lab: ProcessLab, contest: LabContest, to: NodeName): Promise<void> {
  const from = contest.holder;
  const host = lab.host(from.node);
  host.hang();
  await workload.nodeIs('Unknown');
  // The next node asks from the first moment on, and must wait.
  await Promise.all([workload.untilTaken(), contest.take(to, TAKEOVER_MS)]);
  host.goOn();
  await workload.nodeIs('Ready');
  await from.refused();
  await workload.isSettled();
  contest.silences.taken++;
}

async function wakes(
  workload: Workload,
  lab: ProcessLab,
  contest: LabContest,
  { to, seconds }: Extract<Silence, { kind: 'wakes' }>,
): Promise<void> {
  const from = contest.holder;
  const host = lab.host(from.node);
  const since = performance.now();
  host.hang();
  await workload.nodeIs('Unknown');
  await delay(Math.max(0, since + seconds * 1000 - performance.now()));
  const silentSeconds = (performance.now() - since) / 1000;
  host.goOn();
  await workload.nodeIs('Ready');
  await workload.isSettled();
  if (!(await workload.isTaken())) return keeps(workload, contest, { to, seconds });
  // A target knows times to a quarter of a second, and says whole ones.
  if (silentSeconds < TAKEOVER_SECONDS - 1) throw new Error(`the volume was taken from ${from.node} after ${silentSeconds} s of silence`);
  await Promise.all([workload.untilTaken(), contest.take(to, TAKEOVER_MS)]);
  await from.refused();
  contest.silences.taken++;
}

/** The node has the volume for as long as it likes. */
async function keeps(workload: Workload, contest: LabContest, { to, seconds }: { to: NodeName; seconds: number }): Promise<void> {
  const { holder } = contest;
  if (await workload.isTaken()) throw new Error(`the volume was taken from ${holder.node}, which was heard, within ${seconds} s`);
  await holder.progress();
  await workload.nodeIs('Ready');
  await workload.isSettled();
  await workload.end();
  await contest.release();
  await contest.take(to);
  contest.silences.kept++;
}
