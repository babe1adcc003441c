import { parseQuantity } from '../../../api/quantity.ts';
import { type AoEVolume, LUKS_HEADER_BYTES } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import { growStaged } from '../calls/expand.ts';
import type { Disk } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import type { LocalDisk } from '../disk/local-disk.ts';
import { canGrow } from '../filesystem/grow.ts';
import type { StagedVolume } from '../record/staged-volumes.ts';

/** Limit for one volume. What has begun goes on, and the next check asks for its result. */
const WAIT_MS = 30_000;

type Parts = Parameters<typeof growStaged>[0] & Pick<Deps, 'log'>;

/**
 * Makes disks on this node larger when their AoEVolume has grown without a call to this plugin: by hand, or while another node was the one
 * that was asked. Also ends a growth that a restart of this plugin has cut short. One volume is checked at a time, and its calls from the
 * kubelet have to wait only when there is something to grow.
 */
export class GrownDisks {
  readonly #parts: Parts;
  readonly #emit: (volume: AoEVolume, message: string) => void;
  /** Sizes of the disks, in bytes, for which nothing is left to do. */
  readonly #done = new Map<string, number>();
  readonly #busy = new Set<string>();
  readonly #oneByOne = new Semaphore(1);

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
      const least = parseQuantity(volume.status.capacity);
      await this.#oneByOne.run(() => this.#grow(volumeId, record, volume, least));
    } catch (error) {
      // A call of the kubelet is under way, or the target is silent: the next check tries again.
      this.#parts.log.info({ volume: volumeId, error: messageOf(error) }, 'the size of a disk cannot be checked now');
    } finally {
      this.#busy.delete(volumeId);
    }
  }

  async #grow(volumeId: string, record: StagedVolume, volume: AoEVolume, least: number): Promise<void> {
    const { localDisk, nodeName } = this.#parts;
    const disk = localDisk(record.address);
    const before = await disk.device();
    // Not while the disk is being attached, or is down.
    if (!before || (await disk.health()) !== 'up') return;
    const signal = AbortSignal.timeout(WAIT_MS);
    if (before.bytes >= least) {
      if (this.#done.get(volumeId) === before.bytes) return;
      if (!(await this.#hasRoom(disk, before, record, signal))) return this.#finish(volumeId, before.bytes);
    }
    await growStaged(this.#parts, volumeId, { least, most: 0 }, signal);
    const { bytes } = (await disk.device()) ?? before;
    await this.#finish(volumeId, bytes);
    if (bytes > before.bytes) this.#emit(volume, `disk on node ${nodeName} has grown from ${before.bytes} to ${bytes} bytes`);
  }

  /** Remembers that nothing is left to do at this size, in bytes. Forgets the volumes that are not staged here any more. */
  async #finish(volumeId: string, bytes: number): Promise<void> {
    const staged = new Set(await this.#parts.staged.list());
    for (const known of this.#done.keys()) if (!staged.has(known)) this.#done.delete(known);
    this.#done.set(volumeId, bytes);
  }

  /** Whether the mapping, or the file system that is mounted at the staging path, can grow. */
  async #hasRoom(
    disk: LocalDisk,
    device: Disk,
    { encrypted, authenticated, stagingPath }: StagedVolume,
    signal: AbortSignal,
  ): Promise<boolean> {
    const usable = encrypted ? await disk.mapping() : device;
    if (!usable) return false;
    if (encrypted && !authenticated && usable.bytes + LUKS_HEADER_BYTES < device.bytes) return true;
    const mount = await disk.filesystemAt(stagingPath);
    return mount !== undefined && canGrow(this.#parts.filesystems, usable, mount, signal);
  }
}
