import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { CONTENT, PROGRAMS, SNAPSHOT_UID, VOLUME_UID, World } from './world.ts';

/** A step of the history. `crash`: the program dies after so many calls to others. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ copy: true as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      program: fc.constantFrom(...PROGRAMS),
      crash: fc.option(fc.record({ calls: fc.nat(12), hasEffect: fc.boolean() })),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom({ copier: 'down' as const }, { copier: 'up' as const }) },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What must be true at any time. */
function check(world: World): void {
  const exported = world.target.volumes.get(VOLUME_UID);
  if (exported) {
    expect(world.backend.volumes.get(VOLUME_UID)?.copy, 'half a copy is exported').toBeUndefined();
    expect(world.disks.get(exported.volume.path), 'what is exported is not the snapshot').toStrictEqual(CONTENT);
  }
  const served = world.sourceTarget.volumes.get(`snap-${SNAPSHOT_UID}`)?.volume;
  const { copyAddress, copyServed } = world.snapshot?.status ?? {};
  if (served) {
    const { shelf, slot } = served;
    expect([copyAddress, copyServed], 'the operator could give this address to a volume').toStrictEqual([
      { shelf, slot },
      { shelf, slot },
    ]);
  }
}

async function settled(world: World): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await tick();
  check(world);
}

async function finish(world: World, isDone: () => boolean): Promise<void> {
  world.copier.up = true;
  for (let round = 0; round < 60 && !isDone(); round++) {
    for (const program of PROGRAMS) await world.round(program).then(() => settled(world));
    world.copier.advance();
  }
  const state = { volume: world.volume?.status, snapshot: world.snapshot?.status, jobs: [...world.copier.jobs], errors: world.errors };
  expect(isDone(), JSON.stringify(state, undefined, 1)).toBe(true);
}

const isServed = (world: World) => () =>
  world.target.volumes.has(VOLUME_UID) &&
  world.sourceTarget.volumes.size === 0 &&
  world.snapshot?.status?.copyAddress === undefined &&
  world.copier.jobs.size === 0;

async function play(steps: readonly Step[], world: World): Promise<void> {
  for (const each of steps) {
    if ('copy' in each) world.copier.advance();
    else if ('copier' in each) world.copier.up = each.copier === 'up';
    else await world.round(each.program, each.crash?.calls, each.crash?.hasEffect);
    await settled(world);
  }
}

describe('a copy to another node', () => {
  it('is whole or not there, whichever programs die at whichever step', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 90 }), async (steps) => {
        const world = await World.start();
        await play(steps, world);
        await finish(world, isServed(world));
        expect(world.disks.get(`/dev/fake/${VOLUME_UID}`)).toStrictEqual(CONTENT);
        expect(world.volume?.status?.conditions?.find(({ type }) => type === 'Exported')?.status).toBe('True');
        expect(world.errors).toStrictEqual([]);
        world.stop();
      }),
      { numRuns: 100 },
    );
  });

  it('ends when the volume is deleted, at whichever step, and leaves nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.array(step, { maxLength: 20 }), async (before, after) => {
        const world = await World.start();
        await play(before, world);
        world.delete('AoEVolume', 'v');
        world.delete('AoESnapshot', 's');
        await play(after, world);
        const isGone = () => !world.volume && !world.snapshot && world.copier.jobs.size === 0;
        await finish(world, isGone);
        expect([
          world.backend.volumes.size,
          world.target.volumes.size,
          world.sourceTarget.volumes.size,
          world.snapshots.whole.size,
        ]).toStrictEqual([0, 0, 0, 0]);
        world.stop();
      }),
      { numRuns: 40 },
    );
  });

  it('keeps its snapshot, which is deleted meanwhile, until it is whole', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), async (steps) => {
        const world = await World.start();
        // The operator has seen the copy by then.
        await world.round('operator');
        world.delete('AoESnapshot', 's');
        await play(steps, world);
        await finish(world, () => isServed(world)() && !world.snapshot);
        world.stop();
      }),
      { numRuns: 40 },
    );
  });
});
