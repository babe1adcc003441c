import type { NodeHealth } from '../../api/eligibility.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { EventRecorder, Informer, Kube, Log, Sums } from '../../kube/mod.ts';
import type { CallContext } from '../../rpc/mod.ts';
import type { BusyVolumes } from '../busy-volumes.ts';
import type { UnplacedVolumes } from './unplaced.ts';

/** What the controller's calls share. */
export interface Deps {
  readonly kube: Pick<Kube, 'get' | 'list' | 'create' | 'patch' | 'delete'>;
  readonly volumes: Pick<Informer<AoEVolume>, 'get' | 'list' | 'waitFor'>;
  /** What placed volumes take, by reservationOf. */
  readonly reserved: Pick<Sums<AoEVolume>, 'total'>;
  readonly snapshots: Pick<Informer<AoESnapshot>, 'get' | 'list' | 'waitFor'>;
  readonly groups: Pick<Informer<AoESnapshotGroup>, 'get' | 'waitFor'>;
  readonly pools: Pick<Informer<AoEPool>, 'get' | 'list'>;
  readonly nodes: Pick<Informer<AoENode>, 'get' | 'list'>;
  readonly health: NodeHealth;
  /** Whether automatic takeover is on: otherwise a volume with a time for it would wait for nothing. */
  readonly hasAutomaticTakeover: boolean;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly busy: BusyVolumes;
  readonly unplaced: UnplacedVolumes;
  readonly log: Pick<Log, 'warn'>;
}

/** A call: `deadline` is when the caller gives up, in milliseconds as Date.now() counts them. */
export type Call = CallContext;

/** Field manager of what the controller writes. */
export const FIELD_MANAGER = 'aoe-csi-controller';
