import { reservedCapacity } from '../../api/capacity.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { AOE_SNAPSHOTS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import { type AoESnapshot, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoEVolume, type AoEVolumeStatus, movesOf, serialNumber, VOLUME_FINALIZER, VolumeCondition } from '../../api/volume.ts';
import { Informer, type Kube, KubeError, setCondition } from '../../kube/mod.ts';
import { FakeGroups } from './fake-groups.ts';

/**
 * Plays the agents of all storage nodes: reports each placed volume as created and exported at once, and releases deleted volumes. It
 * takes snapshots, too, which are gone as soon as they are deleted.
 */
export class FakeAgent {
  readonly #kube: Kube;
  readonly volumes: Informer<AoEVolume>;
  readonly #snapshots: Informer<AoESnapshot>;
  /** The agents' work on groups. */
  readonly groups: FakeGroups;
  /** Agents of these nodes are down. */
  readonly down = new Set<string>();
  /** Volumes with a stranger at their address. */
  readonly conflicts = new Set<string>();
  /** Volumes for which a backend turns out to be full. */
  readonly full = new Set<string>();
  /** Volumes whose data is being copied, with the MAC address with which their node reads it. */
  readonly copying = new Map<string, string>();
  /** Why no snapshot can be taken: reason and message of the condition. */
  snapshotRefusal: { reason: string; message: string } | undefined;
  /** Errors of this fake. */
  readonly errors: unknown[] = [];
  readonly #written = new Map<string, string>();
  readonly #turns = new Map<string, Promise<void>>();

  constructor(kube: Kube) {
    this.#kube = kube;
    this.volumes = new Informer<AoEVolume>(kube, AOE_VOLUMES);
    this.#snapshots = new Informer<AoESnapshot>(kube, AOE_SNAPSHOTS);
    this.groups = new FakeGroups(kube);
  }

  async run(signal: AbortSignal): Promise<void> {
    this.volumes.subscribe(({ type, object }) => {
      if (type === 'applied') this.#inTurn(object.metadata.name, signal);
    });
    this.#snapshots.subscribe(({ type, object }) => {
      if (type === 'applied') this.#take(object).catch((error: unknown) => signal.aborted || this.errors.push(error));
    });
    await Promise.all([this.volumes.run(signal), this.#snapshots.run(signal), this.groups.run(signal)]);
  }

  /** One write of a volume after the other, as a real agent does: a late one would undo the next. */
  #inTurn(name: string, signal: AbortSignal): void {
    const serve = async (): Promise<void> => {
      const volume = this.volumes.get(name);
      if (volume) await this.#serve(volume).catch((error: unknown) => signal.aborted || this.errors.push(error));
    };
    this.#turns.set(name, (this.#turns.get(name) ?? Promise.resolve()).then(serve));
  }

  /** The agent of a node comes back: it checks all volumes. */
  async up(node: string): Promise<void> {
    this.down.delete(node);
    await Promise.all(this.volumes.list().map((each) => this.#serve(each)));
  }

  async #serve({ metadata, spec, status }: AoEVolume): Promise<void> {
    const { name, uid = '', generation = 0, finalizers = [], resourceVersion } = metadata;
    if (!spec.nodeName || this.down.has(spec.nodeName) || !finalizers.includes(VOLUME_FINALIZER)) return;
    const { nodes = [] } = spec.initiators;
    if (metadata.deletionTimestamp && nodes.length === 0) {
      const patch = { metadata: { resourceVersion, finalizers: finalizers.filter((each) => each !== VOLUME_FINALIZER) } };
      await this.#write(() => this.#kube.patch(AOE_VOLUMES, name, patch));
      return;
    }
    const condition = (type: string) =>
      setCondition(status?.conditions, { type, status: 'True', reason: 'Fake', message: 'fake', observedGeneration: generation });
    if (this.full.has(name)) {
      const full = { type: VolumeCondition.Provisioned, status: 'False', reason: 'PoolFull', message: 'vg0 has nothing free' } as const;
      return this.#report(name, uid, { conditions: [setCondition(status?.conditions, { ...full, observedGeneration: generation })] });
    }
    if (this.conflicts.has(name)) {
      const conflict = {
        type: VolumeCondition.Exported,
        status: 'False',
        reason: 'AddressConflict',
        message: 'a stranger answers',
      } as const;
      const exported = setCondition(status?.conditions, { ...conflict, observedGeneration: generation });
      return this.#report(name, uid, { conditions: [condition(VolumeCondition.Provisioned), exported] });
    }
    const mac = this.copying.get(name);
    if (mac !== undefined) {
      const copying = { type: VolumeCondition.Provisioned, status: 'False', reason: 'Copying', message: '0 of 1Gi copied' } as const;
      const conditions = [setCondition(status?.conditions, { ...copying, observedGeneration: generation })];
      return this.#report(name, uid, { copy: { phase: 'Copying', bytesDone: 0, bytesTotal: 2 ** 30, macs: [mac] }, conditions });
    }
    const bytes = Math.min(
      parseQuantity(spec.capacity ?? '0'),
      parseQuantity(reservedCapacity({ spec, ...(status ? { status } : {}) }) ?? '0'),
    );
    await this.#report(name, uid, {
      capacity: formatQuantity(Math.max(Math.ceil(bytes / GRAIN) * GRAIN, parseQuantity(status?.capacity ?? '0'))),
      serial: serialNumber(uid, movesOf({ spec })),
      ...(spec.moves === undefined ? {} : { moves: spec.moves }),
      initiators: { observedGeneration: generation, nodes },
      ...(spec.limits ? { limits: { observedGeneration: generation, ...spec.limits } } : {}),
      conditions: [condition(VolumeCondition.Provisioned), condition(VolumeCondition.Exported)],
    });
  }

  /** Takes a snapshot of a volume that has data. CSI asks for no other. */
  async #take({ metadata: { name, uid, deletionTimestamp }, spec, status }: AoESnapshot): Promise<void> {
    if (spec.group || deletionTimestamp || status?.nodeName !== undefined) return;
    const volume = await this.#kube.get<AoEVolume>(AOE_VOLUMES, spec.volumeName);
    if (!volume || volume.status?.capacity === undefined || status?.assignedNode !== volume.spec.nodeName) return;
    const refusal = this.snapshotRefusal && { ...this.snapshotRefusal, status: 'False' as const };
    const verdict = refusal ?? { status: 'True' as const, reason: 'Taken', message: 'fake' };
    const report: AoESnapshot['status'] = {
      nodeName: volume.spec.nodeName,
      pool: volume.spec.pool,
      volumeUID: volume.metadata.uid,
      ...(refusal ? {} : { capacity: volume.status.capacity, createdAt: new Date().toISOString() }),
      conditions: [setCondition(undefined, { type: SnapshotCondition.Taken, ...verdict })],
    };
    const object = { apiVersion: API_VERSION, kind: AOE_SNAPSHOTS.kind, metadata: { name, uid }, status: report };
    await this.#write(() =>
      this.#kube.apply(AOE_SNAPSHOTS, object as never, { fieldManager: 'aoe-csi-agent', force: true, subresource: 'status' }),
    );
  }

  async #report(name: string, uid: string, status: AoEVolumeStatus): Promise<void> {
    const print = JSON.stringify([
      uid,
      status.capacity,
      status.moves,
      status.initiators,
      status.limits,
      status.conditions?.map(({ reason, observedGeneration }) => [reason, observedGeneration]),
    ]);
    if (this.#written.get(name) === print) return;
    this.#written.set(name, print);
    const object = { apiVersion: API_VERSION, kind: AOE_VOLUMES.kind, metadata: { name, uid }, status };
    const isWritten = await this.#write(() =>
      this.#kube.apply(AOE_VOLUMES, object as never, { fieldManager: 'aoe-csi-agent', force: true, subresource: 'status' }),
    );
    if (!isWritten) this.#written.delete(name);
  }

  /** @returns whether it was written */
  async #write(write: () => Promise<unknown>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (error) {
      // It was changed or deleted meanwhile: the watch delivers that.
      if (!(error instanceof KubeError) || (error.code !== 404 && error.code !== 409)) throw error;
      return false;
    }
  }
}

/** The unit in which the fake pools make volumes. */
export const GRAIN = 4 * 1024 * 1024;
