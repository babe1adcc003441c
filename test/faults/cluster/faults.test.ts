import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Cluster } from '../../testbed/cluster.ts';
import { ROOT } from '../../testbed/paths.ts';
import { CLUSTER_FAULTS, type Disturbance } from '../model/cluster-faults.ts';
import { check, type Disk } from '../model/history.ts';
import { describeStep, plan } from '../model/plan.ts';
import { World } from './contest.ts';
import { play } from './play.ts';

const SEED = Number(process.env.SEED ?? 33716);
const STEPS = Number(process.env.STEPS ?? 8);
const ONLY = process.env.ONLY as Disturbance['kind'] | undefined;
const FIRST = 'worker-1';

/** Promises 1 (answered means durable), 2 (exclusive means exclusive) and 6 (I/O survives us), by what hosts saw and what the disk has. */
describe('faults', () => {
  let cluster: Cluster;
  let world: World;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    world = await World.create(cluster);
  });
  afterAll(async () => {
    await world?.delete();
  });

  it(
    `seed ${SEED}, ${STEPS} steps: no record is lost, none comes late, no two hosts write`,
    async () => {
      const steps = plan({ seed: SEED, steps: STEPS, first: FIRST, faults: CLUSTER_FAULTS, only: ONLY });
      let disk: Disk | undefined;
      try {
        await world.take(FIRST);
        await play(cluster, world, steps, console.log);
        await world.endWriters(world.holder.node);
        disk = await world.disk();
        const answered = world.answered();
        console.log(`${answered.length} answered records of ${world.holder.epoch} epochs`);
        assert.ok(answered.length > STEPS * 10);
        expect(check(answered, disk)).toStrictEqual([]);
      } catch (error) {
        // Also when a step did not get through: what was written until then must be right.
        disk ??= await world.disk().catch(() => undefined);
        if (disk) console.log('found:', check(world.answered(), disk));
        const folder = join(ROOT, `dist/logs/faults-${SEED}-${Date.now()}`);
        world.keep(folder, disk ?? [], steps.map(describeStep));
        const only = ONLY ? ` ONLY=${ONLY}` : '';
        console.log(`what each host noted is in ${folder}; again: make test-faults SEED=${SEED} STEPS=${STEPS}${only}`);
        throw error;
      }
    },
    600_000 + STEPS * 120_000,
  );

  it('finds the second writer once the target lets anybody in: the check can fail', async () => {
    const old = world.holder.node === FIRST ? 'storage-2' : FIRST;
    await world.release();
    await world.take(old);
    const lost = world.holder.epoch;
    const cont: (() => Promise<unknown>)[] = [];
    try {
      // It would take the disk from the old host as soon as it sees that it is lost.
      cont.push(await world.stop(old, 'node'));
      await world.giveUp();
      await world.take('storage-1');
      await world.refused(lost);
      cont.push(await world.stop('storage-1', 'agent'));
      await world.letAnybodyIn();
      await world.writesAgain(lost);
    } finally {
      for (const go of cont) await go();
      await world.endWriters(old);
    }
    await world.endWriters('storage-1');
    const violations = check(world.answered(), await world.disk()).map(({ rule }) => rule);
    expect(violations, 'records of the new host are overwritten').toContain('lost');
    expect(violations, 'both hosts had the same write answered').toContain('twice');
    await world.takeBack(old);
  }, 600_000);
});
