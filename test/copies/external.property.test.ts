import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { ExternalWorld, PROGRAMS, UID, VOLUME_BLOCKS } from './external-world.ts';

const SECOND = 1000;
const ANSWERS = ['at once', 'late', 'not'] as const;

const death = fc.record({ calls: fc.nat(14), hasEffect: fc.boolean() });
const perhaps = (weight: number) => fc.oneof({ weight: 10 - weight, arbitrary: fc.constant(null) }, { weight, arbitrary: death });

/**
 * Steps of the history. `crash`: the program dies after so many calls to others; `copierDies`: the copier does. `silentRounds`: the agent finds the source
 * silent so many times, with so many seconds in between.
 */
const calm = [
  { weight: 20, arbitrary: fc.constant({ copy: true as const }) },
  { weight: 24, arbitrary: fc.record({ program: fc.constant('agent' as const), crash: perhaps(3), copierDies: perhaps(1) }) },
  { weight: 8, arbitrary: fc.record({ program: fc.constant('operator' as const), crash: perhaps(3) }) },
  { weight: 1, arbitrary: fc.constant({ copier: 'down' as const }) },
  { weight: 6, arbitrary: fc.constant({ copier: 'up' as const }) },
  { weight: 8, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 4, arbitrary: fc.record({ source: fc.constantFrom(...ANSWERS) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      silentRounds: fc.integer({ min: 1, max: 8 }),
      seconds: fc.constantFrom(5, 5, 12, 35),
      answersThen: fc.constantFrom(...ANSWERS),
    }),
  },
];
const write = fc.record({ at: fc.nat(3), value: fc.constantFrom(0, 0, 2, 3) });

/** What others do: each history has a few kinds of it. `losesJobs`: the copier does, at the same time. `visit`: a node has the disk while these run. */
const rough = [
  { weight: 4, arbitrary: fc.record({ write }) },
  { weight: 6, arbitrary: fc.record({ lock: fc.constantFrom('', 'net.corvus') }) },
  { weight: 4, arbitrary: fc.record({ attach: fc.boolean() }) },
  { weight: 10, arbitrary: fc.record({ visit: fc.subarray([...PROGRAMS]), afterwards: fc.subarray([...PROGRAMS]) }) },
  { weight: 4, arbitrary: fc.record({ stranger: fc.constantFrom('at once' as const, 'not' as const) }) },
  { weight: 2, arbitrary: fc.record({ resize: fc.constantFrom(4, 4, 5, VOLUME_BLOCKS + 1) }) },
  { weight: 6, arbitrary: fc.record({ write, losesJobs: fc.constant(true as const) }) },
];
const calmStep = fc.oneof(...calm);
const anyStep = fc.oneof(...calm, ...rough);
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

const roughSteps = (maxLength: number) =>
  fc
    .subarray(rough, { minLength: 1, maxLength: 3 })
    .chain((kinds) => fc.array(fc.oneof(...calm, ...kinds) as fc.Arbitrary<Step>, { maxLength, size: 'max' }));

const options = fc.record({
  keepsAddress: fc.boolean(),
  namesSerial: fc.boolean(),
  unwiped: fc.boolean(),
  answers: fc.constantFrom(...ANSWERS),
});

/** What a user would notice, from one step to the next. */
class Watcher {
  readonly #world: ExternalWorld;
  #progress = 0;
  #wasServed = false;
  #shown: readonly number[] | undefined;

  constructor(world: ExternalWorld) {
    this.#world = world;
  }

  /** Whether the volume has been served. */
  get wasServed(): boolean {
    return this.#shown !== undefined;
  }

  /** What must be true at any time. @param isLost the copier has just lost what it knew */
  check({ isLost = false } = {}): void {
    const world = this.#world;
    // What is said to be copied from its beginning counts from there.
    if (world.saysInUse && !world.isWhole) world.spoil();
    expect(world.spoiltThatGoOn, 'a copy goes on that was begun before somebody had the disk').toStrictEqual([]);
    const isDeleted = world.volume?.metadata.deletionTimestamp !== undefined || !world.volume;
    const mayBeginAgain = isLost || isDeleted || world.sawHolder || world.saysInUse;
    // What is done stays done.
    if (!mayBeginAgain) expect(world.progress, 'what was copied is copied again').toBeGreaterThanOrEqual(this.#progress);
    this.#progress = world.progress;
    world.sawHolder = world.saysInUse;
    const jobs = [...world.copier.jobs.values()];
    const isOther = jobs.some(({ job }) => job.source.kind === 'aoe' && job.source.serial !== world.source.serial);
    expect(world.options.namesSerial && isOther, 'a disk with another serial number than the spec has is copied').toBe(false);
    const unfounded = jobs.filter((each) => each.state.repaired > 0 && !world.changed.has(each));
    expect(unfounded, 'a change of the source is found that was none').toStrictEqual([]);
    const { served } = world;
    if (served && !this.#wasServed) this.#begins(served);
    if (served) expect(served, 'what is served has changed').toStrictEqual(this.#shown);
    this.#wasServed = served !== undefined;
  }

  /** The volume was not served before. */
  #begins(served: readonly number[]): void {
    const world = this.#world;
    expect(world.isWhole, 'half a copy is served').toBe(true);
    const isFirst = this.#shown === undefined;
    if (isFirst) {
      expect(served).toHaveLength(VOLUME_BLOCKS);
      const copied = (reads: number[][]): number[] => served.flatMap((_, at) => (at < reads.length ? (reads[at] ?? [Number.NaN]) : [0, 0]));
      const twice = served.flatMap((block) => [block, block]);
      expect([...world.reads.values()].map(copied), 'what is served was not read twice').toContainEqual(twice);
      this.#shown = [...served];
    }
    if (!world.options.keepsAddress) return;
    expect(
      world.outsiders.filter(({ answers }) => isFirst || answers === 'at once'),
      'another target has the address',
    ).toStrictEqual([]);
    if (!isFirst) return;
    const [first = Number.POSITIVE_INFINITY] = world.silentProbes;
    expect(world.now - first, 'the other target was not silent for half a minute').toBeGreaterThanOrEqual(30 * SECOND);
    expect(world.silentProbes.length, 'only few probes found nobody').toBeGreaterThanOrEqual(4);
  }
}

/** The volume has a node and an address. */
async function begin(how: ConstructorParameters<typeof ExternalWorld>[0]): Promise<[ExternalWorld, Watcher]> {
  const world = new ExternalWorld(how);
  await world.round('operator');
  return [world, new Watcher(world)];
}

async function settled(watcher: Watcher): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await tick();
  watcher.check();
}

async function play(steps: readonly Step[], world: ExternalWorld, watcher: Watcher): Promise<void> {
  for (const each of steps) {
    if ('copy' in each) world.copy();
    else if ('wait' in each) world.now += each.wait * SECOND;
    else if ('source' in each) world.source.answers = each.source;
    else if ('silentRounds' in each) {
      world.source.answers = 'not';
      for (let round = 0; round <= each.silentRounds; round++) {
        if (round === each.silentRounds) world.source.answers = each.answersThen;
        await world.round('agent').then(() => settled(watcher));
        world.now += each.seconds * SECOND;
      }
    } else if ('lock' in each) world.source.lock = each.lock;
    else if ('attach' in each) await world.attach(each.attach);
    else if ('visit' in each) {
      await world.attach(true);
      for (const program of each.visit) await world.round(program).then(() => settled(watcher));
      await world.attach(false);
      for (const program of each.afterwards) await world.round(program).then(() => settled(watcher));
    } else if ('stranger' in each) world.stranger.answers = each.stranger;
    else if ('resize' in each) world.source.blocks = Array.from({ length: each.resize }, (_, at) => world.source.blocks[at] ?? 3);
    else if ('copier' in each) {
      if (each.copier === 'up') world.startCopier();
      else world.copier.up = false;
    } else if ('write' in each) {
      world.source.blocks = world.source.blocks.with(each.write.at, each.write.value);
      if ('losesJobs' in each) world.loseJobs();
    } else {
      const { copierDies } = 'copierDies' in each ? each : { copierDies: null };
      if (copierDies) world.endCopierAfter(copierDies.calls, copierDies.hasEffect);
      await world.round(each.program, each.crash?.calls, each.crash?.hasEffect);
      await settled(watcher);
    }
    watcher.check({ isLost: 'losesJobs' in each });
  }
}

/** All programs run, and nothing else happens, until it is done or nothing changes any more: an address is probed after 75 seconds at the latest. */
async function rest(world: ExternalWorld, watcher: Watcher, isDone: () => boolean = () => false, everyMs = 10 * SECOND): Promise<void> {
  let before = '';
  for (let still = 0; still * everyMs < 80 * SECOND && !isDone(); still++) {
    for (const program of PROGRAMS) await world.round(program).then(() => settled(watcher));
    world.copy();
    watcher.check();
    world.now += everyMs;
    const { state } = world;
    if (state !== before) still = 0;
    before = state;
  }
}

const readiness = (world: ExternalWorld) => world.volume?.status?.conditions?.find(({ type }) => type === 'Ready');
const isReady = (world: ExternalWorld) => (): boolean => readiness(world)?.status === 'True';

/** What keeps the volume from being Ready, each as its message says it; nothing when it is to be Ready. */
function obstacles(world: ExternalWorld): RegExp[] {
  const { source, stranger, outsiders, begun, copier } = world;
  const found: RegExp[] = [];
  const is = (isTrue: boolean, message: RegExp): void => {
    if (isTrue) found.push(message);
  };
  if (world.isWhole) {
    is(world.options.keepsAddress && outsiders.length > 0, /answers at e7\.3/);
    return found;
  }
  const hasChanged = [...copier.jobs.values()].some(({ state }) => state.repaired > 0);
  const isLocked = outsiders.some(({ lock }) => lock !== '');
  const isAnother =
    begun !== undefined && outsiders.some(({ serial, blocks }) => serial !== begun.serial || blocks.length !== begun.blocks);
  is(hasChanged, /was not the same/);
  is(isLocked, /is in use: its config string was set/);
  is(world.isAttached, /is used by w/);
  is(!copier.up, /copier/);
  is(outsiders.length === 0, /no target answers at e7\.3/);
  is(outsiders.length > 1, /two disks answer/);
  is(isAnother, /begun from another disk/);
  is(outsiders.includes(stranger) && world.options.namesSerial, /instead of S1/);
  is(!begun && outsiders.includes(source) && source.blocks.length > VOLUME_BLOCKS, /more than the 6Mi of the volume/);
  return found;
}

/** It is Ready, or says why not. */
function expectVerdict(world: ExternalWorld, watcher: Watcher): void {
  const expected = obstacles(world);
  const { status, message } = readiness(world) ?? {};
  const { volume, copier, errors } = world;
  const state = JSON.stringify({ volume, jobs: [...copier.jobs.values()], errors: errors.map(String) }, undefined, 1);
  // Once the volume was served, a target that answers late is found when it is not busy.
  const mayMiss = world.isWhole && watcher.wasServed && world.outsiders.every(({ answers }) => answers === 'late');
  if (mayMiss && status === 'True') return;
  if (expected.length === 0) expect([status, message], state).toStrictEqual(['True', 'exported by b']);
  else expect(message, state).toMatch(new RegExp(expected.map(({ source }) => source).join('|')));
}

describe('a copy of the disk of another target', () => {
  it('becomes a volume at the address of the disk within a minute after the other target fell silent, and not before', async () => {
    const world = new ExternalWorld({ keepsAddress: true, namesSerial: true, unwiped: true, answers: 'at once' });
    const watcher = new Watcher(world);
    await rest(world, watcher);
    expect([world.volume?.status?.phase, readiness(world)?.reason]).toStrictEqual(['Pending', 'AnsweredBySource']);
    world.source.answers = 'not';
    const silentAt = world.now;
    await rest(world, watcher, isReady(world), 5 * SECOND);
    expect(world.served).toStrictEqual([4, 0, 7, 1, 0, 0]);
    expect(world.now - silentAt).toBeLessThanOrEqual(60 * SECOND);
    world.source.answers = 'at once';
    await rest(world, watcher);
    expect([world.volume?.status?.phase, world.served]).toStrictEqual(['Failed', undefined]);
    expectVerdict(world, watcher);
    world.stop();
  });

  it('becomes Ready, and nothing is copied twice, whichever programs die at whichever step, and while its target falls silent', async () => {
    await fc.assert(
      fc.asyncProperty(
        options,
        fc.array(calmStep, { maxLength: 40, size: 'max' }),
        fc.array(calmStep, { maxLength: 40, size: 'max' }),
        async (how, first, then) => {
          const [world, watcher] = await begin(how);
          await play(first, world, watcher);
          world.startCopier();
          world.source.answers = 'at once';
          await rest(world, watcher, () => world.isWhole);
          await play(then, world, watcher);
          world.startCopier();
          if (how.keepsAddress) world.source.answers = 'not';
          await rest(world, watcher, () => world.served !== undefined && isReady(world)() && world.copier.jobs.size === 0);
          expectVerdict(world, watcher);
          expect(world.served).toStrictEqual([4, 0, 7, 1, 0, 0]);
          expect([world.errors, world.copier.jobs.size]).toStrictEqual([[], 0]);
          world.stop();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is what was read twice or not there, and says why it waits, whoever writes, takes the disk or answers instead', async () => {
    await fc.assert(
      fc.asyncProperty(options, roughSteps(80), async (how, steps) => {
        const [world, watcher] = await begin(how);
        await play(steps, world, watcher);
        await rest(world, watcher);
        expectVerdict(world, watcher);
        world.startCopier();
        Object.assign(world.source, { answers: 'at once', lock: '' });
        world.stranger.answers = 'not';
        await world.attach(false);
        await rest(world, watcher);
        expectVerdict(world, watcher);
        world.source.answers = 'not';
        await rest(world, watcher);
        expectVerdict(world, watcher);
        expect(world.errors).toStrictEqual([]);
        world.stop();
      }),
      { numRuns: 100 },
    );
  });

  it('ends when the volume is deleted, at whichever step, and leaves nothing', async () => {
    await fc.assert(
      fc.asyncProperty(options, roughSteps(60), roughSteps(20), async (how, before, after) => {
        const [world, watcher] = await begin(how);
        await play(before, world, watcher);
        await world.delete();
        await play(after, world, watcher);
        world.startCopier();
        await rest(world, watcher, () => !world.volume && world.copier.jobs.size === 0);
        expect([world.volume, world.errors]).toStrictEqual([undefined, []]);
        expect([world.backend.volumes.size, world.target.volumes.has(UID), world.copier.jobs.size]).toStrictEqual([0, false, 0]);
        world.stop();
      }),
      { numRuns: 40 },
    );
  });
});
