import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { NODES, type Schedule, World } from './world.ts';

/** What happens between two steps of the programs. */
const event = fc.oneof(
  { weight: 80, arbitrary: fc.constant('step' as const) },
  { weight: 15, arbitrary: fc.constant('write' as const) },
  { weight: 1, arbitrary: fc.constantFrom('operator' as const, 'n1' as const, 'n2' as const) },
  // A target that was started again, and a time in which the limit of all holds is over.
  { weight: 1, arbitrary: fc.constantFrom('holds n1' as const, 'holds n2' as const) },
  { weight: 2, arbitrary: fc.constant('pause' as const) },
  { weight: 1, arbitrary: fc.constant('late' as const) },
);

/** Steps that wait to be done, one at a time, in an order that is drawn. */
class Steps {
  readonly #waiting: (() => void)[] = [];

  readonly schedule: Schedule = (_what, work) =>
    new Promise((resolve, reject) => {
      this.#waiting.push(() => void work().then(resolve, reject));
    });

  get length(): number {
    return this.#waiting.length;
  }

  async next(choice: number): Promise<void> {
    const [step] = this.#waiting.splice(choice % Math.max(1, this.#waiting.length), 1);
    step?.();
    await settle();
  }
}

/** All holds end by themselves, and the writers go on. */
function pause(world: World): void {
  for (const node of NODES) world.endHolds(node);
  for (let write = 0; write < 7; write++) world.write();
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await tick();
}

/** Whether somebody could use a member although its group is not committed. */
function isUsable(world: World): boolean {
  if (world.group('g')?.status?.stage === 'Committed') return false;
  return world.members('g').some(({ status }) => status?.phase === 'Ready' || status?.committed === true);
}

async function finish(world: World, steps: Steps, isDone: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !isDone(); round++) {
    world.round();
    await settle();
    while (steps.length > 0) await steps.next(0);
    world.write();
    if (round % 40 === 39) world.advance(20_000);
  }
  expect(
    isDone(),
    JSON.stringify([world.group('g'), world.members('g').map(({ metadata, status }) => [metadata, status]), world.data]),
  ).toBe(true);
}

const ended = (world: World) => () => ['Committed', 'Failed'].includes(world.group('g')?.status?.stage ?? '');

function checkCommitted(world: World): void {
  const members = world.members('g');
  expect(members).toHaveLength(3);
  const [a = -1, b = -1, c = -1] = ['a', 'b', 'c'].map((volume) => {
    const uid = members.find(({ spec }) => spec.volumeName === volume)?.metadata.uid ?? '';
    expect(world.data).toContain(uid);
    return world.copies.get(uid);
  });
  expect([a, b, c]).toStrictEqual([expect.any(Number), expect.any(Number), expect.any(Number)]);
  expect(a >= b && b >= c && c >= a - 1, `${a} ${b} ${c}`).toBe(true);
  expect(new Set(members.map(({ status }) => status?.createdAt)).size).toBe(1);
}

test('nothing disturbs it: the group is committed', async () => {
  const steps = new Steps();
  const world = await World.start(steps.schedule);
  world.request('g');
  await finish(world, steps, ended(world));
  expect(world.group('g')?.status?.stage).toBe('Committed');
  checkCommitted(world);
  await finish(world, steps, () => world.members('g').every(({ status }) => status?.phase === 'Ready'));
  expect([...world.targets.n1.holds, ...world.targets.n2.holds]).toStrictEqual([]);
});

test('whatever is killed and whenever, a group is at one instant or there is nothing of it', async () => {
  const outcomes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(event, fc.nat(20)), { minLength: 150, maxLength: 400, size: 'max' }), async (events) => {
      const steps = new Steps();
      const world = await World.start(steps.schedule);
      world.request('g');
      for (const [what, choice] of events) {
        world.round();
        if (what === 'step') await steps.next(choice);
        else if (what === 'write') world.write();
        else if (what === 'operator') world.restartOperator();
        else if (what === 'pause') pause(world);
        else if (what === 'late') world.advance(12_000);
        else if (what === 'n1' || what === 'n2') world.restartAgent(what);
        else world.endHolds(what === 'holds n1' ? 'n1' : 'n2');
        await settle();
        expect(isUsable(world)).toBe(false);
      }
      // The target's limit.
      for (const node of NODES) world.endHolds(node);
      await finish(world, steps, ended(world));
      const stage = world.group('g')?.status?.stage ?? '';
      outcomes.set(stage, (outcomes.get(stage) ?? 0) + 1);
      if (stage === 'Committed') checkCommitted(world);
      else await finish(world, steps, () => world.members('g').length === 0);
      if (stage === 'Failed') expect(world.data).toStrictEqual([]);
      await world.api.delete({ kind: 'AoESnapshotGroup' } as never, 'g');
      await finish(world, steps, () => world.group('g') === undefined);
      expect([world.members('g'), world.data]).toStrictEqual([[], []]);
      expect(
        world.errors.filter((error) => !(error instanceof Error && /409|modified|404|there is no/.test(`${error.message}`))),
      ).toStrictEqual([]);
    }),
    { numRuns: Number(process.env.RUNS ?? 30), endOnFailure: true },
  );
  expect(Math.min(outcomes.get('Committed') ?? 0, outcomes.get('Failed') ?? 0), JSON.stringify([...outcomes])).toBeGreaterThan(2);
}, 180_000);
