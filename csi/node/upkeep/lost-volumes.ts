import { setTimeout as delay } from 'node:timers/promises';
import { parseAddress } from '../../../api/address.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import type { Deps } from '../deps.ts';
import { DiskInUseError } from '../disk/local-disk.ts';
import { forgetHolder } from '../lock/holder.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';

/** Interval of the checks, each of which reads every staged volume. The jitter keeps nodes from asking the API server in step. */
const CHECK_MS = 60_000;
const JITTER = 0.25;
/** Time to the second check of a suspect. The kubelet comes first: it unmounts in order what it knows of, within seconds of its return. */
const RECHECK_MS = 15_000;
/** Limit for the clean-up of one volume. Each step in it has a limit of its own. */
const CLEAN_MS = 120_000;

type Parts = Pick<Deps, 'nodeName' | 'nodeUID' | 'localDisk' | 'wire' | 'volumes' | 'staged' | 'removedDisks' | 'freezes' | 'jobs' | 'log'>;

export interface LostVolumesOptions {
  /** MAC addresses of this node. */
  readonly macs: () => Promise<readonly string[]>;
  /** Called at each check with a volume that is staged here and that this node may use. */
  readonly onUsable?: (volumeId: string, record: StagedVolume, volume: AoEVolume) => void;
  /** Emits a warning about a volume. */
  readonly emit: (volume: AoEVolume, reason: 'StaleMountRemoved' | 'StaleDiskInUse', message: string) => void;
}

/**
 * Cleans up volumes that this node has lost: it was silent, or its attachment was deleted by force, and other hosts may have the volume
 * now. The target does not admit this node any more; here, the stale mounts and the disk are removed. A volume is cleaned up only when
 * two checks in a row found it lost. One that this node may still use, or about which nothing certain is known, stays as it is.
 */
export class LostVolumes {
  readonly #parts: Parts;
  readonly #options: LostVolumesOptions;
  #suspects = new Set<string>();

  constructor(parts: Parts, options: LostVolumesOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.check(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#parts.log.warn({ error: messageOf(error) }, 'the check for lost volumes failed');
      });
      const pause = this.#suspects.size > 0 ? RECHECK_MS : CHECK_MS * (1 + JITTER * (2 * Math.random() - 1));
      await delay(pause, undefined, { signal }).catch(() => {});
    }
  }

  /** Checks all volumes that are staged here, once. */
  async check(signal: AbortSignal): Promise<void> {
    const { staged, volumes, jobs, log } = this.#parts;
    const suspects = new Set<string>();
    for (const volumeId of await staged.list()) {
      try {
        const record = await staged.get(volumeId);
        if (!record) continue;
        const volume = await volumes.get(volumeId, signal);
        if (!(await this.#lossOf(volume, record))) {
          if (volume) this.#options.onUsable?.(volumeId, record, volume);
          continue;
        }
        suspects.add(volumeId);
        if (!this.#suspects.has(volumeId)) continue;
        // The target has cut this node off, but e2fsck or mkfs may run for hours. Once it has ended, the next check cleans up.
        if (jobs.cancel(volumeId, 'NodeStageVolume', 'this node may not use the volume any more')) continue;
        const limit = AbortSignal.any([signal, AbortSignal.timeout(CLEAN_MS)]);
        await jobs.run(volumeId, 'clean-up of a lost volume', () => this.#clean(volumeId, limit));
      } catch (error) {
        // The API server does not answer, a call of the kubelet is under way, or a program has the disk open: the next check tries again.
        log.warn({ volume: volumeId, error: messageOf(error) }, 'a volume that this node has lost is not cleaned up yet');
      }
    }
    this.#suspects = suspects;
    for (const volumeId of await staged.listLost()) {
      // Its clean-up has not ended.
      if (await staged.get(volumeId)) continue;
      if (!(await volumes.get(volumeId, signal))) await jobs.run(volumeId, 'clean-up of a lost volume', () => staged.delete(volumeId));
    }
  }

  /** The AoEVolume when this node may not use it any more, or 'deleted' when there is none; undefined when this node may use it. */
  async #lossOf(volume: AoEVolume | undefined, { volumeUID, external }: StagedVolume): Promise<AoEVolume | 'deleted' | undefined> {
    const { nodeName } = this.#parts;
    if (!volume || volume.metadata.uid !== volumeUID) return 'deleted';
    const { initiators } = volume.spec;
    // External targets refuse nobody, so there only the spec counts.
    const admitted = external ? undefined : volume.status?.initiators;
    if (initiators.nodes?.includes(nodeName) || admitted?.nodes?.includes(nodeName)) return undefined;
    const own = await this.#options.macs();
    return [...(initiators.macs ?? []), ...(admitted?.macs ?? [])].some((mac) => own.includes(mac)) ? undefined : volume;
  }

  async #clean(volumeId: string, signal: AbortSignal): Promise<void> {
    const { nodeName, staged, volumes, removedDisks, log } = this.#parts;
    const record = await staged.get(volumeId);
    // Asked again, now that the kubelet's calls for this volume have to wait.
    const lost = record && (await this.#lossOf(await volumes.get(volumeId, signal), record));
    if (!record || !lost) return;
    const { address } = record;
    const disk = this.#parts.localDisk(address);
    // Another volume that is staged here has the address now: only the mount at our own staging path can be this one's.
    const successor = await staged.successor(volumeId, address);
    // Its disk may not answer any longer: then the mount goes all the same, and the thaw is tried until the disk is gone.
    await this.#parts.freezes.end(volumeId, 'this node has lost the volume', signal).catch((error: unknown) => {
      signal.throwIfAborted();
      log.warn({ volume: volumeId, error: messageOf(error) }, 'a file system is unmounted although it may be frozen');
    });
    // This node may get the volume again before the clean-up has ended. Then it must be staged again: a mount that the kubelet counts on may be gone.
    await staged.markLost(volumeId);
    let unmounted: string[];
    try {
      unmounted = await disk.unmountAll({ at: record.stagingPath, onlyThere: successor !== undefined }, signal);
      if (!successor) await disk.remove(signal);
    } catch (error) {
      if (error instanceof DiskInUseError && lost !== 'deleted')
        this.#options.emit(
          lost,
          'StaleDiskInUse',
          `node ${nodeName}, which may not use the volume any more, cannot remove it: ${error.message}`,
        );
      throw error;
    }
    if (!successor) await this.#releaseExternal(volumeId, record, signal);
    await (lost === 'deleted' ? staged.delete(volumeId) : staged.lose(volumeId));
    if (!successor) removedDisks.add(volumeId, address);
    log.warn({ volume: volumeId, address, unmounted }, 'cleaned up a volume that this node had lost');
    if (lost === 'deleted') return;
    // Without their number: an earlier attempt may have removed some. The disk of a successor stays.
    const removed = successor === undefined ? 'its mounts and the disk' : 'its mount';
    const message = `node ${nodeName}, which may not use the volume any more, has removed ${removed}`;
    this.#options.emit(lost, 'StaleMountRemoved', message);
  }

  /** Releases this node's lock on an external target. On the cluster's own targets the agent has cleared it. */
  async #releaseExternal(volumeId: string, record: StagedVolume, signal: AbortSignal): Promise<void> {
    const { external, access, address } = record;
    if (!external || access !== 'Exclusive') return;
    const { outcome } = await this.#parts.wire.release(parseAddress(address), ownerOf(this.#parts, record), signal);
    // Nobody else clears it there, and without the record it would be forgotten.
    if (outcome !== 'released') throw new Error(`the lock at ${address} is not released (${outcome})`);
    await forgetHolder(this.#parts, volumeId, signal);
  }
}
