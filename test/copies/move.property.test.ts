import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { serialNumber } from '../../api/volume.ts';
import { MoveWorld, PROGRAMS, type Program, UID } from './move-world.ts';

const STORAGE = ['a', 'b'] as const;

/** A step of the history. `crash`: the program dies after so many calls to others. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.constant({ copy: true as const }) },
  {
    weight: 12,
    arbitrary: fc.record({
      program: fc.constantFrom(...PROGRAMS),
      crash: fc.option(fc.record({ calls: fc.nat(12), hasEffect: fc.boolean() })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ moveTo: fc.constantFrom('b/q', 'b/p', 'a/q', 'a/p', 'nonsense', null) }) },
  { weight: 1, arbitrary: fc.record({ attach: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ write: fc.integer({ min: 10, max: 99 }) }) },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What must be true at any time. */
function check(world: MoveWorld): void {
  let writable = 0;
  for (const node of STORAGE) {
    const { volume } = world.storage[node].target.volumes.get(UID) ?? {};
    if (!volume || volume.forCopies) continue;
    if (volume.macs.length > 0) {
      writable++;
      expect(world.disks.get(volume.path), 'a host gets other data than it wrote').toStrictEqual(world.content);
      expect(volume.serial).toBe(serialNumber(UID, world.volume?.spec.moves ?? 0));
    }
    for (const [pool, backend] of world.storage[node].pools)
      if (volume.path === `/${node}/${pool}/${UID}`) expect(backend.volumes.get(UID)?.copy, 'half a copy is exported').toBeUndefined();
  }
  expect(writable, 'hosts are served in two places').toBeLessThan(2);
  const copies = STORAGE.flatMap((node) =>
    [...world.storage[node].pools].filter(
      ([pool, { volumes }]) => volumes.has(UID) && String(world.disks.get(`/${node}/${pool}/${UID}`)) === String(world.content),
    ),
  );
  expect(copies.length, 'the data is gone').toBeGreaterThan(0);
}

async function settled(world: MoveWorld): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await tick();
  check(world);
}

async function rounds(world: MoveWorld, isDone: () => boolean, programs: readonly Program[] = PROGRAMS): Promise<void> {
  for (let round = 0; round < 80 && !isDone(); round++) {
    for (const program of programs) await world.round(program).then(() => settled(world));
    for (const node of STORAGE) world.storage[node].copier.advance();
  }
  const { volume, errors } = world;
  expect(isDone(), JSON.stringify({ volume, errors, events: world.api.events.slice(-4) }, undefined, 1)).toBe(true);
}

const ready = (world: MoveWorld): boolean =>
  world.volume?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
const placeOf = (world: MoveWorld): string => `${world.volume?.spec.nodeName}/${world.volume?.spec.pool}`;
const backings = (world: MoveWorld): string[] =>
  STORAGE.flatMap((node) => [...world.storage[node].pools].flatMap(([pool, { volumes }]) => (volumes.has(UID) ? [`${node}/${pool}`] : [])));

async function begun(): Promise<MoveWorld> {
  const world = new MoveWorld();
  world.disks.set(`/a/p/${UID}`, [0, 0, 0, 0]);
  world.content = [0, 0, 0, 0];
  world.storage.a.pools.get('p')?.volumes.set(UID, { uid: UID, volume: 'v', name: 'fake/v', bytes: 4 << 20 });
  await rounds(world, () => ready(world));
  world.content = [4, 0, 7, 1];
  world.disks.set(`/a/p/${UID}`, [...world.content]);
  for (const node of STORAGE) world.storage[node].copier.isFlawed = true;
  return world;
}

async function play(steps: readonly Step[], world: MoveWorld): Promise<void> {
  for (const each of steps) {
    if ('copy' in each) for (const node of STORAGE) world.storage[node].copier.advance();
    else if ('moveTo' in each) await world.annotate(each.moveTo);
    else if ('attach' in each) await world.attach(each.attach ? ['w'] : []);
    else if ('write' in each) world.write(each.write);
    else await world.round(each.program, each.crash?.calls, each.crash?.hasEffect);
    await settled(world);
  }
}

/** Nobody asks for a move, nothing of one is left, and the volume is served. */
const isAtRest = (world: MoveWorld) => (): boolean =>
  ready(world) && !world.volume?.spec.move && !world.volume?.status?.move && backings(world).join() === placeOf(world);

describe('a move with a copy', () => {
  for (const to of ['b/q', 'a/q'])
    it(`gives the volume place ${to}, another address and another serial number, and removes the data at the old one`, async () => {
      const world = await begun();
      await world.annotate(to);
      await rounds(world, () => placeOf(world) === to && isAtRest(world)());
      const [node, pool] = to.split('/') as ['a' | 'b', string];
      expect(world.volume?.spec).toMatchObject({ moves: 1, address: { shelf: 1, slot: 4 } });
      expect(world.volume?.metadata.finalizers).toStrictEqual(['aoe.dev/backing-volume']);
      expect(world.volume?.metadata.annotations ?? {}).toStrictEqual({});
      expect(world.disks.get(`/${node}/${pool}/${UID}`)).toStrictEqual(world.content);
      expect(world.storage[node].target.volumes.get(UID)?.volume.serial).toBe(serialNumber(UID, 1));
      expect(world.api.events.map(({ reason }) => reason)).toStrictEqual(expect.arrayContaining(['Moving', 'Moved']));
      await world.annotate('a/p');
      await rounds(world, () => placeOf(world) === 'a/p' && isAtRest(world)());
      expect(world.volume?.spec.moves).toBe(2);
      expect(world.errors).toStrictEqual([]);
      world.stop();
    });

  it('is ended when the annotation is taken away: the half copy goes, and the volume is served as before', async () => {
    const world = await begun();
    await world.annotate('b/q');
    await rounds(world, () => world.volume?.status?.move?.phase === 'Copying');
    expect(world.volume?.status).toMatchObject({ phase: 'Pending' });
    await world.annotate(null);
    await rounds(world, isAtRest(world));
    expect([placeOf(world), world.volume?.spec.moves]).toStrictEqual(['a/p', undefined]);
    expect(world.storage.b.copier.jobs.size).toBe(0);
    world.stop();
  });

  it('goes back to the old data when the new node is lost before it serves the volume', async () => {
    const world = await begun();
    await world.annotate('b/q');
    await rounds(world, () => world.volume?.status?.move?.phase === 'Verified');
    for (let round = 0; round < 3 && placeOf(world) !== 'b/q'; round++) await world.round('operator');
    expect(placeOf(world)).toBe('b/q');
    world.lose('b');
    await world.annotate('a/p');
    await rounds(world, () => ready(world) && !world.volume?.spec.move, ['operator', 'a']);
    expect([placeOf(world), world.volume?.spec.moves]).toStrictEqual(['a/p', 2]);
    await rounds(world, () => world.storage.b.target.volumes.size === 0);
    expect(world.storage.a.pools.get('p')?.volumes.get(UID)).toMatchObject({ moves: 2 });
    expect(world.errors).toStrictEqual([]);
    world.stop();
  });

  it('never loses data, serves it in one place, and ends, whichever programs die at whichever step', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
        const world = await begun();
        await world.annotate('b/q');
        await play(steps, world);
        await world.attach([]);
        await world.annotate(null);
        await rounds(world, isAtRest(world));
        expect(world.errors).toStrictEqual([]);
        world.stop();
      }),
      { numRuns: 100 },
    );
  });
});
