import { parseAddress } from '../../../api/address.ts';
import { type AoEVolume, claimNameOf, type Initiators, serialOf } from '../../../api/volume.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { loop } from '../../../run/loop.ts';
import { Semaphore } from '../../../run/semaphore.ts';
import type { Deps } from '../deps.ts';
import { oneRightDisk, type Surveyed } from '../disk/identity.ts';
import { isLockUnbroken } from '../lock/continuity.ts';
import { ownerOf, type StagedVolume } from '../record/staged-volumes.ts';

/** Interval of the checks. While all disks are up, a check reads only the records of staged volumes and sysfs. */
const CHECK_MS = 10_000;
/** An outage that goes on is reported again after this time: the API server keeps an event for an hour. */
const REMIND_MS = 600_000;
/** Disks that are handled at a time, and the limit for one of them. Each step has a limit of its own. */
const AT_ONCE = 4;
const HANDLE_MS = 60_000;

type Parts = Pick<Deps, 'nodeName' | 'nodeUID' | 'localDisk' | 'wire' | 'volumes' | 'staged' | 'jobs' | 'log'>;

export type OutageReason = 'DiskDown' | 'DiskRevived' | 'RemountNeeded' | 'DiskNotRevived';

export interface DownDisksOptions {
  /** MAC addresses of this node. */
  readonly macs: () => Promise<readonly string[]>;
  /** aoe_deadsecs of the kernel's module, in seconds; undefined when it cannot be read. */
  readonly deadSeconds: () => Promise<number | undefined>;
  readonly emit: (volume: AoEVolume, type: 'Normal' | 'Warning', reason: OutageReason, message: string) => void;
}

/** What was found about a disk that is down. */
type Finding =
  /** The disk is used as a raw block device only, and nobody else can have written to it: the kernel may use it again. */
  | { readonly kind: 'revivable'; readonly surveyed: Surveyed }
  | { readonly kind: Exclude<OutageReason, 'DiskRevived'>; readonly message: string };

interface Outage {
  readonly address: string;
  /** When the disk was found down (Date.now()). */
  readonly since: number;
  reported: string;
  reportedAt: number;
  /** Of the volume; undefined until its AoEVolume was read. */
  claim?: { readonly namespace: string; readonly name: string } | undefined;
}

/** A disk that is down now. */
export interface DownDisk {
  readonly volumeId: string;
  readonly claim: { readonly namespace: string; readonly name: string } | undefined;
  /** How long it has been known, in seconds. */
  readonly seconds: number;
}

/**
 * Watches for disks that the kernel has given up because their target did not answer for aoe_deadsecs. The kernel takes such a disk back
 * by itself only when nobody has it open (drivers/block/aoe/aoecmd.c, aoecmd_cfg_rsp). A disk that pods use as a raw block device is
 * revived here, once the target answers with the same serial number and the same lock. A file system that was mounted from it has lost
 * writes and stays as it is: only a new mount, with a check before, makes it sound again. Events say what happened and what to do.
 */
export class DownDisks {
  readonly #parts: Parts;
  readonly #options: DownDisksOptions;
  /** By volume. */
  readonly #outages = new Map<string, Outage>();

  constructor(parts: Parts, options: DownDisksOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const failed = (error: unknown) => this.#parts.log.warn({ error: messageOf(error) }, 'the check for disks that are down failed');
    await loop((stop) => this.check(stop), { everyMs: CHECK_MS, jitter: 0.25, signal, failed });
  }

  /** The disks that are down now. A disk that was staged again since the last check is not among them. */
  async down(): Promise<DownDisk[]> {
    const known = [...this.#outages].map(async ([volumeId, { address, since, claim }]) => {
      const seconds = Math.round((Date.now() - since) / 1000);
      return (await this.#parts.localDisk(address).isDown()) ? [{ volumeId, claim, seconds }] : [];
    });
    return (await Promise.all(known)).flat();
  }

  /** Checks all volumes that are staged here, once. A disk is handled from the second check in a row on that finds it down. */
  async check(signal: AbortSignal): Promise<void> {
    const { staged, localDisk, log } = this.#parts;
    const records = new Map<string, StagedVolume>();
    for (const volumeId of await staged.list()) {
      const record = await staged.get(volumeId);
      if (record) records.set(volumeId, record);
    }
    for (const volumeId of this.#outages.keys()) if (!records.has(volumeId)) this.#outages.delete(volumeId);
    const addresses = Map.groupBy(records.values(), ({ address }) => address);
    const places = new Semaphore(AT_ONCE);
    const checks = [...records].map(async ([volumeId, record]) => {
      // The address was reused: nobody can say whose the disk is, so it is not revived for either volume.
      if ((addresses.get(record.address)?.length ?? 0) > 1) return void this.#outages.delete(volumeId);
      if (!(await localDisk(record.address).isDown())) return void this.#outages.delete(volumeId);
      if (this.#outages.has(volumeId)) {
        await places.run(() => this.#handle(volumeId, record, AbortSignal.any([signal, AbortSignal.timeout(HANDLE_MS)])), signal);
        return;
      }
      log.warn({ volume: volumeId, address: record.address }, 'the kernel has given up a disk: its target was silent too long');
      this.#outages.set(volumeId, { address: record.address, since: Date.now(), reported: '', reportedAt: 0 });
    });
    await Promise.all(checks);
  }

  async #handle(volumeId: string, record: StagedVolume, signal: AbortSignal): Promise<void> {
    const { volumes, jobs, log } = this.#parts;
    try {
      const volume = await volumes.get(volumeId, signal);
      // The check for lost volumes cleans up what belongs to an AoEVolume that is gone.
      if (!volume || volume.metadata.uid !== record.volumeUID) return;
      const outage = this.#outages.get(volumeId);
      if (outage) outage.claim = claimNameOf(volume);
      const found = await this.#assess(volumeId, volume, record, signal);
      if (!found) return;
      if (found.kind === 'revivable') await jobs.run(volumeId, 'revival of a disk', () => this.#revive(volumeId, signal));
      else this.#report(volumeId, volume, found.kind, found.message);
    } catch (error) {
      // The API server does not answer, or a call of the kubelet is under way: the next check tries again.
      log.info({ volume: volumeId, error: messageOf(error) }, 'a disk that is down was not handled');
    }
  }

  /** Asks everything again, now that the kubelet's calls for this volume have to wait. */
  async #revive(volumeId: string, signal: AbortSignal): Promise<void> {
    const { nodeName, staged, volumes, localDisk, log } = this.#parts;
    const record = await staged.get(volumeId);
    const volume = record && (await volumes.get(volumeId, signal));
    if (!record || volume?.metadata.uid !== record.volumeUID || (await staged.successor(volumeId, record.address))) return;
    const found = await this.#assess(volumeId, volume, record, signal);
    if (found?.kind !== 'revivable') return;
    await localDisk(record.address).revive(nameOf(volumeId, record, nodeName), found.surveyed, signal);
    log.warn({ volume: volumeId, address: record.address }, 'a disk that was down works again');
    const message = `node ${nodeName}: ${await this.#story(record)}. Its target answers again, and the raw block device works again; programs had I/O errors meanwhile`;
    this.#options.emit(volume, 'Normal', 'DiskRevived', message);
    this.#outages.delete(volumeId);
  }

  /** Undefined when nothing of the volume is published here: the next stage sees to its disk. */
  async #assess(volumeId: string, volume: AoEVolume, record: StagedVolume, signal: AbortSignal): Promise<Finding | undefined> {
    const { nodeName, localDisk, wire } = this.#parts;
    const mounts = await localDisk(record.address).liveMounts();
    if (mounts.length === 0) return undefined;
    const hasFilesystem = mounts.some(({ kind }) => kind === 'filesystem');
    const story = `node ${nodeName}: ${await this.#story(record)}`;
    const remedy = hasFilesystem
      ? 'The file system mounted from it gives I/O errors until it is mounted again: delete the pods on this node that use the volume'
      : 'Its users have I/O errors until the target is back';
    const serial = serialOf(volume);
    try {
      const survey = await wire.survey(parseAddress(record.address), signal);
      const surveyed = oneRightDisk(nameOf(volumeId, record, nodeName), survey, { serial, external: record.external });
      if (hasFilesystem) return { kind: 'RemountNeeded', message: `${story}. Its target answers again. ${remedy}` };
      const obstacle = await this.#obstacle(volume, record, () => isLockUnbroken(survey.configs, ownerOf(this.#parts, record), record));
      if (serial !== undefined && !obstacle) return { kind: 'revivable', surveyed };
      const why = obstacle ?? 'its serial number is not known';
      return { kind: 'DiskNotRevived', message: `${story}. It is not revived: ${why}. Delete the pods on this node that use the volume` };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === Code.FAILED_PRECONDITION)
        return { kind: 'DiskNotRevived', message: `${story}. It is not revived: ${error.message}` };
      const why = error.message.replace(/[^.?]$/, '$&.');
      return { kind: 'DiskDown', message: `${story}, and it cannot be used yet: ${why} ${remedy}` };
    }
  }

  /** Why the disk may hold what others have written, or cannot be used here as it is; undefined when neither is so. */
  async #obstacle(
    { spec, status }: AoEVolume,
    { access, external, authenticated }: StagedVolume,
    isLocked: () => boolean,
  ): Promise<string | undefined> {
    const own = await this.#options.macs();
    const admits = (hosts: Initiators | undefined): boolean =>
      hosts?.nodes?.includes(this.#parts.nodeName) === true || hosts?.macs?.some((mac) => own.includes(mac)) === true;
    if (!admits(spec.initiators) || (!external && !admits(status?.initiators))) return 'this node may not use the volume any more';
    if (access === 'Exclusive' && !isLocked()) return 'this node has lost its lock meanwhile, so another host may have written to it';
    // drivers/md/dm-integrity.c, dm_integrity_io_error: after a write to its journal has failed, all I/O fails until it is made again.
    if (authenticated) return 'after such an outage a volume with authenticated encryption must be opened again';
    return undefined;
  }

  async #story({ address }: StagedVolume): Promise<string> {
    const seconds = await this.#options.deadSeconds();
    return `disk ${address} is down, because its target did not answer for longer than aoe_deadsecs${seconds === undefined ? '' : ` (${seconds} s)`}`;
  }

  #report(volumeId: string, volume: AoEVolume, reason: OutageReason, message: string): void {
    const outage = this.#outages.get(volumeId);
    const now = Date.now();
    if (!outage || (outage.reported === message && now - outage.reportedAt < REMIND_MS)) return;
    outage.reported = message;
    outage.reportedAt = now;
    this.#options.emit(volume, 'Warning', reason, message);
  }
}

function nameOf(volumeId: string, { address }: StagedVolume, nodeName: string): string {
  return `volume ${volumeId} (${address}) on node ${nodeName}`;
}
