import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Cluster } from '../../testbed/cluster.ts';
import { ROOT } from '../../testbed/paths.ts';
import { CLUSTER_FAULTS, type Disturbance } from '../model/cluster-faults.ts';
import { check, type Disk } from '../model/history.ts';
import { describeStep, plan } from '../model/plan.ts';
import { ClusterContest } from './contest.ts';
import { play } from './play.ts';

const SEED = Number(process.env.SEED ?? 33716);
const STEPS = Number(process.env.STEPS ?? 5);
const ONLY = process.env.ONLY as Disturbance['kind'] | undefined;
const FIRST = 'worker-1';

/** Promises 1 (answered means durable), 2 (exclusive means exclusive) and 6 (I/O survives us), by what hosts saw and what the disk has. */
describe('faults', () => {
  let cluster: Cluster;
  let contest: ClusterContest;
  beforeAll(async () => {
    cluster = await Cluster.attach();
    contest = await ClusterContest.create(cluster);
  });
  afterAll(async () => {
    await contest?.delete();
  });

  it(
    `seed ${SEED}, ${STEPS} steps: no record is lost, none comes late, no two hosts write`,
    async () => {
      const steps = plan({ seed: SEED, steps: STEPS, first: FIRST, faults: CLUSTER_FAULTS, only: ONLY });
      let disk: Disk | undefined;
      try {
        await contest.take(FIRST);
        await play(cluster, contest, steps, console.log);
        await contest.endWriters(contest.holder.node);
        disk = await contest.disk();
        const answered = contest.answered();
        console.log(`${answered.length} answered records of ${contest.holder.epoch} epochs`);
        assert.ok(answered.length > STEPS * 10);
        expect(check(answered, disk)).toStrictEqual([]);
      } catch (error) {
        // Also when a step did not get through: what was written until then must be right.
        disk ??= await contest.disk().catch(() => undefined);
        if (disk) console.log('found:', check(contest.answered(), disk));
        const folder = join(ROOT, `dist/logs/faults-${SEED}-${Date.now()}`);
        contest.keep(folder, disk ?? [], steps.map(describeStep));
        const only = ONLY ? ` ONLY=${ONLY}` : '';
        console.log(`what each host noted is in ${folder}; again: make test-faults SEED=${SEED} STEPS=${STEPS}${only}`);
        throw error;
      }
    },
    1_800_000 + STEPS * 300_000,
  );

  it('finds the second writer once the target admits every host: the check can fail', async () => {
    const old = contest.holder.node === FIRST ? 'storage-2' : FIRST;
    await contest.release();
    await contest.take(old);
    const lost = contest.holder.epoch;
    const cont: (() => Promise<unknown>)[] = [];
    try {
      // It would take the disk from the old host as soon as it sees that it is lost. The kubelet would start it again after two minutes.
      cont.push(await contest.stop(old, 'kubelet'));
      cont.push(await contest.stop(old, 'node'));
      await contest.giveUp();
      await contest.take('storage-1');
      await contest.refused(lost);
      cont.push(await contest.stop('storage-1', 'agent'));
      await contest.admitEveryone();
      await contest.writesAgain(lost);
    } finally {
      for (const go of cont) await go();
      await contest.endWriters(old);
    }
    await contest.endWriters('storage-1');
    const violations = check(contest.answered(), await contest.disk()).map(({ rule }) => rule);
    expect(violations, 'records of the new host are overwritten').toContain('lost');
    expect(violations, 'both hosts had the same write answered').toContain('twice');
    await contest.takeBack(old);
  });
});
