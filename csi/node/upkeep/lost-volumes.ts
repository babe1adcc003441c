import { parseAddress } from '../../../api/address.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { loop } from '../../../run/loop.ts';
import type { Deps } from '../deps.ts';
import { removeDisk, unmountEverywhere } from '../disk/take-down.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';

/** Between two looks, more or less, so that nodes do not ask the API server in step: each look reads every staged volume. */
const LOOK_MS = 60_000;
const JITTER = 0.25;
/** To the second look at a suspect. The kubelet goes first: what it knows it takes down itself, in order, within seconds of its return. */
const AGAIN_MS = 15_000;
/** For one volume: each step in it has a limit of its own. */
const CLEAN_MS = 120_000;

type Parts = Pick<Deps, 'nodeName' | 'nodeUID' | 'driver' | 'mounter' | 'wire' | 'volumes' | 'staged' | 'departed' | 'busy' | 'log'>;

export interface StaleSweepOptions {
  /** MAC addresses of this node. */
  readonly macs: () => Promise<readonly string[]>;
  /** Tells of a volume that was cleaned up. */
  readonly tell: (volume: AoEVolume, message: string) => void;
}

/**
 * Cleans up what is left of volumes that this node lost: it was silent, or its attachment was taken by force, and meanwhile
 * somebody else may have them. The target refuses it by then; here its dead mounts and disk go. What may still be used, or is
 * not known for certain, is left alone: only a volume that was lost at two looks in a row goes.
 */
export class StaleSweep {
  readonly #parts: Parts;
  readonly #options: StaleSweepOptions;
  #suspects = new Set<string>();

  constructor(parts: Parts, options: StaleSweepOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const again = (): number | undefined => (this.#suspects.size > 0 ? AGAIN_MS : undefined);
    const failed = (error: unknown): number | undefined => {
      this.#parts.log.warn({ error: messageOf(error) }, 'search for lost volumes failed');
      return again();
    };
    await loop((stop) => this.look(stop).then(again), { everyMs: LOOK_MS, jitter: JITTER, signal, failed });
  }

  /** One look at all volumes that are staged here. */
  async look(signal: AbortSignal): Promise<void> {
    const { staged, volumes, busy, log } = this.#parts;
    const suspects = new Set<string>();
    for (const volumeId of await staged.list()) {
      try {
        const record = await staged.get(volumeId);
        if (!record || !(await this.#lost(volumeId, record, signal))) continue;
        suspects.add(volumeId);
        if (!this.#suspects.has(volumeId)) continue;
        const limit = AbortSignal.any([signal, AbortSignal.timeout(CLEAN_MS)]);
        await busy.run(volumeId, 'clean-up of a lost volume', () => this.#clean(volumeId, limit));
      } catch (error) {
        // The API server away, an operation of the kubelet's under way, or a program that holds the disk: next time.
        log.warn({ volume: volumeId, error: messageOf(error) }, 'volume that this node lost is not cleaned up yet');
      }
    }
    this.#suspects = suspects;
    for (const volumeId of await staged.listLost()) {
      if (!(await volumes.get(volumeId, signal))) await busy.run(volumeId, 'clean-up of a lost volume', () => staged.delete(volumeId));
    }
  }

  /** The volume as it is now, or why there is none, when this node may not use it; undefined when it may. */
  async #lost(volumeId: string, { volumeUID, external }: StagedVolume, signal: AbortSignal): Promise<AoEVolume | 'deleted' | undefined> {
    const { nodeName, volumes } = this.#parts;
    const volume = await volumes.get(volumeId, signal);
    if (!volume || volume.metadata.uid !== volumeUID) return 'deleted';
    const { initiators } = volume.spec;
    // Others' targets shut nobody out: there, what is asked for is all there is.
    const inForce = external ? undefined : volume.status?.initiators;
    if (initiators.nodes?.includes(nodeName) || inForce?.nodes?.includes(nodeName)) return undefined;
    const own = await this.#options.macs();
    return [...(initiators.macs ?? []), ...(inForce?.macs ?? [])].some((mac) => own.includes(mac)) ? undefined : volume;
  }

  async #clean(volumeId: string, signal: AbortSignal): Promise<void> {
    const { nodeName, staged, departed, wire, log } = this.#parts;
    const record = await staged.get(volumeId);
    // Again, now that the kubelet cannot begin anything with it.
    const lost = record && (await this.#lost(volumeId, record, signal));
    if (!record || !lost) return;
    const { address, stagingPath, access, external } = record;
    // Another volume has the address by now: then only the mount below our own path can be this one's.
    const successor = await staged.successor(volumeId, address);
    const removed = await unmountEverywhere(this.#parts, { address, stagingPath }, successor !== undefined, signal);
    if (!successor) await removeDisk(this.#parts, address, signal);
    // Of ours the agent has taken it away. Nothing happens to another's.
    if (external && access === 'Exclusive' && !successor) {
      const { outcome } = await wire.release(parseAddress(address), ownerOf(this.#parts, record), signal);
      // Nobody else clears it there: with the record it would be forgotten.
      if (outcome !== 'released') throw new Error(`the lock at ${address} is not released (${outcome})`);
    }
    await (lost === 'deleted' ? staged.delete(volumeId) : staged.lose(volumeId));
    if (!successor) departed.add(volumeId, address);
    log.warn({ volume: volumeId, address, unmounted: removed }, 'cleaned up a volume that this node lost');
    if (lost === 'deleted') return;
    const mounts = removed.length === 1 ? 'mount' : 'mounts';
    this.#options.tell(
      lost,
      `node ${nodeName}, which may not use the volume any more, has removed ${removed.length} ${mounts} and the disk`,
    );
  }
}
