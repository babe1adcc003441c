import { parseQuantity } from '../../../api/quantity.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { growStaged } from '../calls/expand.ts';
import type { Deps } from '../deps.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';

/** Limit for one volume. What has begun goes on, and the next check asks for its result. */
const WAIT_MS = 30_000;

type Parts = Parameters<typeof growStaged>[0] & Pick<Deps, 'log'>;

/**
 * Makes disks on this node larger when their AoEVolume has grown without a call to this plugin: by hand, or while another node was the one
 * that was asked. Also ends a growth that a restart of this plugin has cut short.
 */
export class GrownDisks {
  readonly #parts: Parts;
  readonly #emit: (volume: AoEVolume, message: string) => void;
  /** Sizes of the disks, in bytes, for which nothing is left to do. */
  readonly #done = new Map<string, number>();
  readonly #busy = new Set<string>();

  /** @param emit emits an Event of a volume whose disk has grown */
  constructor(parts: Parts, emit: (volume: AoEVolume, message: string) => void) {
    this.#parts = parts;
    this.#emit = emit;
  }

  /** Looks at a volume that is staged here and that this node may use. Never rejects; a check of a volume that is busy does nothing. */
  async check(volumeId: string, record: StagedVolume, volume: AoEVolume): Promise<void> {
    if (record.external || volume.status?.capacity === undefined || this.#busy.has(volumeId)) return;
    this.#busy.add(volumeId);
    try {
      await this.#grow(volumeId, record, volume, parseQuantity(volume.status.capacity));
    } catch (error) {
      // A call of the kubelet is under way, or the target is silent: the next check tries again.
      this.#parts.log.info({ volume: volumeId, error: messageOf(error) }, 'the size of a disk cannot be checked now');
    } finally {
      this.#busy.delete(volumeId);
    }
  }

  async #grow(volumeId: string, { address }: StagedVolume, volume: AoEVolume, least: number): Promise<void> {
    const { localDisk, nodeName } = this.#parts;
    const disk = localDisk(address);
    const before = await disk.device();
    // Not while the disk is being attached, or is down.
    if (!before || (await disk.health()) !== 'up') return;
    if (before.bytes >= least && this.#done.get(volumeId) === before.bytes) return;
    await growStaged(this.#parts, volumeId, { least, most: 0 }, AbortSignal.timeout(WAIT_MS));
    const { bytes } = (await disk.device()) ?? before;
    this.#done.set(volumeId, bytes);
    if (bytes > before.bytes)
      this.#emit(volume, `disk and file system on node ${nodeName} have grown from ${before.bytes} to ${bytes} bytes`);
  }
}
