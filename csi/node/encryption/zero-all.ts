import { formatQuantity, MiB, roundDown } from '../../../api/quantity.ts';
import type { StageJob } from '../calls/stage-job.ts';
import type { Encryption, Mapping } from '../contracts.ts';

/** One program writes so much, and its end is the progress that can be gone on from. */
const PART_BYTES = 64 * MiB;
/** How often the progress is recorded. So much is done again at most when this plugin is killed. */
const RECORD_MS = 20_000;

/**
 * Writes zeros to all of a new mapping with authentication, in order: what was never written has no tag, and cannot be read.
 * @param from where an earlier call had come to, in bytes; recorded only once what lies before it is durable
 * @param record writes down how far it is; throws when the volume is another node's by now
 * @throws RpcError INTERNAL
 */
export async function zeroAll(
  encryption: Pick<Encryption, 'zero'>,
  { progress, signal }: Pick<StageJob, 'progress' | 'signal'>,
  { mapping, from, record }: { mapping: Mapping; from: number; record: (zeroed: string) => Promise<void> },
): Promise<void> {
  let recordedAt = Number.NEGATIVE_INFINITY;
  for (let start = Math.min(from, mapping.bytes); ; ) {
    if (performance.now() - recordedAt >= RECORD_MS) {
      await record(formatQuantity(start));
      recordedAt = performance.now();
    }
    if (start >= mapping.bytes) return;
    const percent = Math.floor((start / mapping.bytes) * 100);
    progress(`first writing of the disk with zeros, ${percent} % of ${formatQuantity(roundDown(mapping.bytes, MiB))},`);
    const length = Math.min(PART_BYTES, mapping.bytes - start);
    await encryption.zero(mapping, { start, length }, signal);
    start += length;
  }
}
