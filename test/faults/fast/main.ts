// The lab of processes, for one run that run-lab.ts starts. In the environment: SEED, STEPS, ONLY for one kind of disturbance or silence, DEBUG
// to print each step, CAN_FAIL for the test that the checks can fail, after the steps. Exit code 0: everything was right.
import { join } from 'node:path';
import { aoe, RpcClient } from '../../../rpc/mod.ts';
import { ROOT } from '../../testbed/paths.ts';
import { FAST_FAULTS } from '../model/fast-faults.ts';
import { check } from '../model/history.ts';
import { describeStep, NODES, plan } from '../model/plan.ts';
import { LabContest } from './contest.ts';
import { playStep } from './play.ts';
import { ProcessLab } from './process-lab.ts';

const { SEED = '1', STEPS = '200', ONLY, CAN_FAIL } = process.env;
const FIRST = 'worker-1';
const TELL_EVERY = 100;

async function history(lab: ProcessLab, contest: LabContest, seed: number, count: number): Promise<void> {
  const steps = plan({ seed, steps: count, first: FIRST, faults: FAST_FAULTS, only: ONLY || undefined });
  const played: string[] = [];
  try {
    await contest.take(FIRST);
    const started = performance.now();
    for (const [index, step] of steps.entries()) {
      const begun = performance.now();
      played.push(describeStep(step));
      await playStep(lab, contest, step);
      played[index] += `: ${Math.round(performance.now() - begun)} ms, epoch ${contest.holder.epoch} on ${contest.holder.node}`;
      if (process.env.DEBUG) console.log(`${index + 1} ${played[index]}`);
      if ((index + 1) % TELL_EVERY === 0 || index + 1 === count) {
        const seconds = (performance.now() - started) / 1000;
        const each = Math.round((seconds / (index + 1)) * 1000);
        mustBeRight(contest);
        console.log(`step ${index + 1} of ${count}: right; ${seconds.toFixed(0)} s, ${each} ms a step; epoch ${contest.holder.epoch}`);
      }
    }
    contest.endWriters(contest.holder.node);
    mustBeRight(contest);
    for (const { name, surprises } of Object.values(lab.parts.programs))
      for (const words of surprises) console.log(`${name} ended by itself: ${words}`);
    const { taken, kept } = contest.silences;
    console.log(`the operator took the volume from ${taken} silent nodes, and left it on ${kept} that came back in time or were heard`);
    const { without, lateCopies } = lab.rights.seen;
    console.log(`${without} writes, and ${lateCopies} late copies, came from hosts without the right`);
    console.log(`seed ${seed}, ${count} steps: right; ${contest.holder.epoch} epochs, ${contest.answered().length} answered records`);
  } catch (error) {
    // Also when a step did not get through: what was written until then must be right.
    const disk = contest.disk();
    console.log(`failed at step ${played.length}, ${played.at(-1)}: ${String(error)}`);
    console.log(`found: ${JSON.stringify(check(contest.answered(), disk))}`);
    const folder = join(ROOT, `dist/logs/faults-fast-${seed}-${Date.now()}`);
    await contest.keep(folder, disk, played);
    const only = ONLY ? ` ONLY=${ONLY}` : '';
    console.log(`what each host and each program noted is in ${folder}; again: make test-faults-fast SEED=${seed} STEPS=${count}${only}`);
    throw error;
  }
}

/** The rules, on what was answered until now and what is on the disk. Writes may go on meanwhile. */
function mustBeRight(contest: LabContest): void {
  const answered = contest.answered();
  const violations = check(answered, contest.disk());
  if (violations.length > 0) throw new Error(`the history is wrong: ${JSON.stringify(violations)}`);
}

/** Lets everybody in while the agent cannot take it back: the rules must find the second writer. */
async function canFail(lab: ProcessLab, contest: LabContest): Promise<void> {
  const [one = FIRST, other = FIRST] = NODES.filter((node) => node !== contest.holder.node);
  await contest.giveUp();
  await contest.take(one);
  const old = contest.holder;
  await Promise.all([contest.giveUp(), contest.take(other)]);
  await old.refused();
  const goOn = lab.parts.programs.agent.stop();
  const target = new RpcClient(aoe.target.v1.Target, aoe.target.v1, lab.parts.targetSocket);
  await target.call('setAccess', { uid: lab.volume.uid, access: { anyone: true } });
  target.close();
  await old.writesAgain();
  goOn();
  for (const { node } of [old, contest.holder]) contest.endWriters(node);
  const rules = new Set(check(contest.answered(), contest.disk()).map(({ rule }) => rule));
  if (!rules.has('twice')) throw new Error(`two hosts wrote, and the rules found only: ${[...rules].join(', ') || 'nothing'}`);
  if (lab.rights.violations.length === 0) throw new Error('two hosts wrote, and nothing was seen on the cable');
  console.log(`every host admitted: found ${[...rules].join(', ')}; ${lab.rights.violations[0]}`);
}

async function main(): Promise<number> {
  const seed = Number(SEED);
  await using lab = await ProcessLab.start(seed);
  const contest = new LabContest(lab);
  try {
    await history(lab, contest, seed, Number(STEPS));
    if (CAN_FAIL) await canFail(lab, contest);
    return 0;
  } catch (error) {
    console.log(error);
    return 1;
  } finally {
    contest.close();
  }
}

// Not by returning: after thousands of connections that were cut, Node 24 may wait for a handle for ever.
process.exit(await main());
