// Groups of snapshots in the lab, for one run that lab.test.ts starts. In the environment: SNAPSHOT_GROUPS, how many, and SEED. Exit code 0:
// everything was right.
import { setTimeout as delay } from 'node:timers/promises';
import { random } from '../faults/model/random.ts';
import { GroupLab } from './lab.ts';

const KILLED = [undefined, 'target', 'agent', 'operator'] as const;
const count = Number(process.env.SNAPSHOT_GROUPS ?? 12);
const next = random(Number(process.env.SEED ?? 1));

await using lab = await GroupLab.start();
const outcomes = new Map<string, number>();
const stalls: number[] = [];
let usualMs = 500;
for (let index = 0; index < count; index++) {
  const part = KILLED[index % KILLED.length];
  const name = `group-${index}`;
  const atMs = next() * usualMs * 1.1;
  const { stage, reason, numbers, tookMs, longestWriteMs } = await lab.take(name, async () => {
    if (!part) return;
    await delay(atMs);
    await lab.parts.programs[part].kill();
    lab.parts.programs[part].start();
  });
  if (!part && stage === 'Committed') {
    usualMs = tookMs;
    stalls.push(Math.round(longestWriteMs));
  }
  const [a = Number.NaN, b = Number.NaN, c = Number.NaN] = numbers;
  const what = `${name}, ${part ?? 'nothing'} killed after ${atMs.toFixed(0)} ms: ${stage} ${numbers.join(' ') || reason}`;
  console.log(what);
  if (stage === 'Committed' && !(a >= b && b >= c && c >= a - 1)) throw new Error(`not one instant: ${what}`);
  const left = await lab.remove(name);
  if (left.length > 0) throw new Error(`left in the pool: ${left.join(' ')}, of ${what}`);
  await lab.goesOn();
  const outcome = `${part ?? 'nothing'} killed: ${stage}`;
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
}
console.log([...outcomes].map(([outcome, times]) => `${outcome} ${times}`).join(', '));
console.log(
  `longest write while a group was taken and nothing killed: ${stalls.toSorted((x, y) => x - y).join(' ')} ms; ${lab.written} numbers written`,
);
console.log(`${count} groups: right`);
