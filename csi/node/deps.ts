import type { Log } from '../../kube/mod.ts';
import type { BusyVolumes } from '../busy-volumes.ts';
import type { Driver, Filesystems, Mounter, Volumes, Wire } from './contracts.ts';
import type { StagedVolumes } from './record/staged-volumes.ts';
import type { DepartedDisks } from './upkeep/departed-disks.ts';

/** What the operations of the node service share. */
export interface Deps {
  readonly nodeName: string;
  /** metadata.uid of the Node: a node that was made anew under the same name does not own the old one's locks. */
  readonly nodeUID: string;
  readonly driver: Driver;
  readonly filesystems: Filesystems;
  readonly mounter: Mounter;
  readonly wire: Wire;
  readonly volumes: Volumes;
  readonly staged: StagedVolumes;
  readonly departed: Pick<DepartedDisks, 'add'>;
  readonly busy: BusyVolumes;
  /** Names of the AoE interfaces at this moment. */
  readonly interfaces: () => Promise<readonly string[]>;
  readonly log: Log;
}
