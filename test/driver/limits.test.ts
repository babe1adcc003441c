import { join } from 'node:path';
import type { TargetInitiatorStats } from '../../agent/target/api.ts';
import { GrpcTarget } from '../../agent/target/grpc.ts';
import { type LimitNumbers, limitNumbers } from '../../api/limits/limits.ts';
import { DEVICE, DriverLab, whyNoLab } from './driver-lab.ts';

const MIB = 1 << 20;
const BLOCK = 4096;
/** 2 MiB a second. */
const BLOCKS_OF_BYTES = 512;
/** LIMITS=all, as `make test-long` sets it: all that docs/performance.md tells, on a machine that does nothing else. */
const IS_WHOLE = process.env.LIMITS === 'all';
const SECONDS = IS_WHOLE ? 10 : 5;
/** How much less than the limit may be done. A busy machine takes its time from the load. */
const SHORTFALL = IS_WHOLE ? 0.1 : 0.25;
const NEIGHBOUR = '/dev/etherd/e7.4';
const READER = join(import.meta.dirname, 'read-latency-inside.ts');
/** What is not good is measured so often: a busy machine stands still for a second now and then. */
const TRIES = IS_WHOLE ? 1 : 5;
/** Ends the load. */
const ENOUGH = '/tmp/enough';
/** Writes to the disk in eight places at once, past the cache, until {@link ENOUGH} is there. */
const LOAD = `rm -f ${ENOUGH}; for i in 0 1 2 3 4 5 6 7; do
  (while :; do dd if=/dev/zero of=${DEVICE} bs=4k count=2048 seek=$((i * 2048)) oflag=direct conv=notrunc 2>/dev/null; done) &
done; trap 'kill $(jobs -p)' EXIT; until [ -e ${ENOUGH} ]; do sleep 0.1; done`;

interface Counts {
  blocks: number;
  repeats: number;
  throttled: number;
}

/** Changes limits as an agent does, and reads the target's counters. */
class Measured {
  readonly #lab: DriverLab;
  readonly #target: GrpcTarget;
  readonly #mac: string;
  readonly #signal = AbortSignal.timeout(1_100_000);

  constructor(lab: DriverLab, mac: string) {
    this.#lab = lab;
    this.#mac = mac;
    this.#target = new GrpcTarget(lab.socket);
  }

  async limit(limits: Partial<LimitNumbers>): Promise<void> {
    const definition = { uid: 'e7.3', shelf: 7, slot: 3, path: this.#lab.disk, serial: 'DRIVER', readOnly: false, bytes: 0 };
    const access = { macs: [this.#mac], writesNeedLock: false };
    await this.#target.export({ ...definition, ...access, limits: { ...limitNumbers(undefined), ...limits } }, this.#signal);
  }

  async counts(): Promise<Counts> {
    const { volumes } = await this.#target.getStats(this.#signal);
    const initiators = volumes.filter(({ uid }) => uid === 'e7.3').flatMap((volume): TargetInitiatorStats[] => volume.initiators);
    const sum = (of: (each: TargetInitiatorStats) => number): number => initiators.reduce((total, each) => total + of(each), 0);
    const blocks = sum(({ requests }) => (requests.read?.bytes ?? 0) + (requests.write?.bytes ?? 0)) / BLOCK;
    return { blocks, repeats: sum(({ repeats }) => repeats), throttled: sum(({ throttled }) => throttled) };
  }

  /** What happens in some seconds after the first one, while the guest writes as fast as it can. */
  async load(seconds = SECONDS): Promise<Counts> {
    const writing = this.#lab.guest.exec(LOAD, { timeoutMs: (seconds + 60) * 1000 });
    await new Promise((resolve) => setTimeout(resolve, 2000));
    // From before it is asked: an answer that comes late must not make the time shorter in which all this was done.
    const began = performance.now();
    const from = await this.counts();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const to = await this.counts();
    const time = (performance.now() - began) / 1000;
    await this.#lab.guest.exec(`touch ${ENOUGH}`);
    await writing;
    return {
      blocks: (to.blocks - from.blocks) / time,
      repeats: to.repeats - from.repeats,
      throttled: (to.throttled - from.throttled) / time,
    };
  }

  /** The first counts that are good, or the last of some. `check` throws when counts are not even possible. */
  async good(
    isGood: (counts: Counts) => boolean,
    { seconds = SECONDS, check }: { seconds?: number; check?: (counts: Counts) => void } = {},
  ): Promise<Counts> {
    for (let attempt = 1; ; attempt++) {
      const counts = await this.load(seconds);
      check?.(counts);
      if (isGood(counts) || attempt === TRIES) return counts;
    }
  }

  close(): void {
    this.#target.close();
  }
}

describe.skipIf(whyNoLab())('limits, with the Linux driver', () => {
  for (const mtu of IS_WHOLE ? [1500, 9000] : [1500]) {
    it(`hold at MTU ${mtu}, and hardly a request is sent again because of them`, async () => {
      await using lab = await DriverLab.boot({ mtu, bytes: 64 * MIB, neighbour: true });
      const mac = (await lab.guest.exec('cat /sys/class/net/vec0/address')).trim();
      const measured = new Measured(lab, mac);
      const p99 = async (): Promise<number> =>
        Number(await lab.guest.exec(`'${process.execPath}' '${READER}' ${NEIGHBOUR} ${SECONDS / 2}`, { timeoutMs: 60_000 }));
      await lab.guest.exec(`until [ -b ${NEIGHBOUR} ]; do echo > /dev/etherd/discover; sleep 0.1; done`, { timeoutMs: 20_000 });
      const alone = IS_WHOLE ? await p99() : 0;
      const { blocks: full, repeats: usual } = await measured.load(5);
      const report = [`MTU ${mtu}: ${full.toFixed(0)} blocks of 4 KiB a second without a limit, ${usual} sent again`];
      console.log(report[0]);
      for (const iops of IS_WHOLE ? [50, 100, 1000, Math.floor(full / 4), Math.floor(full / 2)] : [100, 1000]) {
        if (iops > full / 2) continue;
        const tolerance = iops === 50 ? 0.2 : 0.1;
        await measured.limit({ iops });
        const least = 1 - Math.max(tolerance, SHORTFALL);
        // On a busy machine guest and target stand still now and then; the driver then sends all again that it has under way.
        const mostRepeats = (blocks: number): number => Math.max(3, usual, (blocks * SECONDS) / 100);
        const { blocks, repeats, throttled } = await measured.good(
          (seen) => seen.blocks / iops >= least && seen.repeats <= mostRepeats(seen.blocks) && seen.throttled > 0.3,
          {
            check: (seen) => {
              const share = (seen.blocks / iops).toFixed(3);
              report.push(`${iops}: ${share} of it, ${seen.repeats} sent again, throttled ${seen.throttled.toFixed(2)} of the time`);
              console.log(report.at(-1));
              expect(seen.blocks / iops, report.join('\n')).toBeLessThanOrEqual(1 + tolerance);
            },
          },
        );
        expect(blocks / iops, report.join('\n')).toBeGreaterThanOrEqual(least);
        expect(repeats, report.join('\n')).toBeLessThanOrEqual(mostRepeats(blocks));
        expect(throttled).toBeGreaterThan(0.3);
      }
      const ofBytes = ({ blocks }: Counts): number => blocks / BLOCKS_OF_BYTES;
      if (BLOCKS_OF_BYTES <= full / 2) {
        await measured.limit({ bytesPerSecond: BLOCKS_OF_BYTES * BLOCK });
        const share = await measured.good((seen) => ofBytes(seen) >= 1 - SHORTFALL, {
          check: (seen) => {
            report.push(`2 MiB a second: ${ofBytes(seen).toFixed(3)} of it`);
            expect(ofBytes(seen), report.join('\n')).toBeLessThanOrEqual(1.1);
          },
        });
        expect(ofBytes(share), report.join('\n')).toBeGreaterThanOrEqual(1 - SHORTFALL);
      }
      if (IS_WHOLE) {
        await measured.limit({ iops: 200 });
        const writing = lab.guest.exec(LOAD, { timeoutMs: 60_000 });
        const beside = await p99();
        await lab.guest.exec(`touch ${ENOUGH}`);
        await writing;
        report.push(`p99 of a neighbour: ${(beside / alone).toFixed(2)} of what it is alone (${alone.toFixed(2)} ms)`);
        expect(beside, report.join('\n')).toBeLessThan(alone * 2 + 2);
      }
      console.log(report.join('\n'));
      await measured.limit({});
      const again = (await measured.good(({ blocks }) => blocks > full / 2, { seconds: 5 })).blocks;
      expect(again, `${again} blocks a second after the limit was taken away`).toBeGreaterThan(full / 2);
      measured.close();
    });
  }
});
