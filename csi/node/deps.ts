import type { Log } from '../../kube/mod.ts';
import type { Driver, Encryption, Filesystems, Mounter, VolumeClient, Wire } from './contracts.ts';
import type { LocalDisk } from './disk/local-disk.ts';
import type { FreezeSessions } from './freeze/sessions.ts';
import type { StagedVolumes } from './record/staged-volumes.ts';
import type { RemovedDisks } from './upkeep/removed-disks.ts';
import type { VolumeJobs } from './volume-jobs.ts';

/** What the calls of the node service share. */
export interface Deps {
  readonly nodeName: string;
  /** metadata.uid of the Node: a Node that was deleted and created again under the same name does not own the locks of the old one. */
  readonly nodeUID: string;
  readonly driver: Pick<Driver, 'disks' | 'prepare' | 'stack' | 'state'>;
  /** The disk at an address, such as `e7.3`, whether it exists or not. */
  readonly localDisk: (address: string) => LocalDisk;
  readonly encryption: Encryption;
  readonly filesystems: Filesystems;
  readonly mounter: Mounter;
  readonly wire: Wire;
  readonly volumes: VolumeClient;
  readonly staged: StagedVolumes;
  readonly removedDisks: Pick<RemovedDisks, 'add' | 'cancel'>;
  /** Bytes of a file system, by the address of its disk, that a run that gives free space back has taken for a while. */
  readonly reclaiming: (address: string) => number;
  readonly freezes: Pick<FreezeSessions, 'end'>;
  readonly jobs: VolumeJobs;
  /** Names of the AoE interfaces that are up at this moment. */
  readonly interfaces: () => Promise<readonly string[]>;
  readonly log: Log;
}
