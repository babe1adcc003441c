import { pino } from 'pino';
import type { CopySource } from '../../agent/copier/api.ts';
import { CopyExport } from '../../agent/snapshot/copy-export.ts';
import { SnapshotReconciler } from '../../agent/snapshot/reconciler.ts';
import { SnapshotRecords } from '../../agent/snapshot/records.ts';
import { FakeBackend } from '../../agent/testing/fake-backend.ts';
import { FakeCopier } from '../../agent/testing/fake-copier.ts';
import { FakeSnapshots } from '../../agent/testing/fake-snapshots.ts';
import { FakeTarget } from '../../agent/testing/fake-target.ts';
import { NO_FREEZE } from '../../agent/testing/no-freeze.ts';
import { sameAddress } from '../../api/address.ts';
import { MiB } from '../../api/quantity.ts';
import { type AoESnapshot, SNAPSHOT_FINALIZER } from '../../api/snapshot.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { SnapshotCopies, sourceOf } from '../../operator/snapshot/copies.ts';
import { reconcileSnapshot } from '../../operator/snapshot/reconciler.ts';
import { Life } from './life.ts';
import { linkTo } from './link.ts';
import { storesOf, volumeAgent } from './parts.ts';
import { type Process, Programs } from './programs.ts';

const log = pino({ level: 'silent' });
const MAC = '02:00:00:00:05:01';
export const SNAPSHOT_UID = 'aaaaaaaa-2222-3333-4444-555555555555';
export const VOLUME_UID = 'bbbbbbbb-2222-3333-4444-555555555555';
const PATH = `/dev/fake/${VOLUME_UID}`;
/** What the snapshot holds: a number for each block. */
export const CONTENT = [4, 0, 7, 1];
const SIZE = CONTENT.length * MiB;

export const PROGRAMS = ['operator', 'source', 'destination'] as const;
export type Program = (typeof PROGRAMS)[number];

/** A snapshot on one storage node, of which a volume is made on another one: operator, both agents and a fake copier, with an API server in memory. */
export class World {
  readonly api = new FakeApi();
  readonly sourceTarget = new FakeTarget();
  readonly target = new FakeTarget();
  readonly snapshots = new FakeSnapshots();
  readonly backend = new FakeBackend();
  readonly disks = new Map<string, number[]>();
  readonly copier = new FakeCopier(this.disks, (source) => this.#read(source));
  readonly #stop = new AbortController();
  #nextSlot = 0;
  readonly #programs = new Programs<Program>((program) => this.#start(program));

  static async start(): Promise<World> {
    const world = new World();
    world.#fill();
    return world;
  }

  #fill(): void {
    const put = (kind: string, name: string, rest: object) => this.api.put({ kind, metadata: { name }, ...rest } as never);
    put('AoEPool', 'thin', { spec: { backend: 'lvm-thin' } });
    put('AoEPool', 'thick', { spec: { backend: 'lvm' } });
    for (const node of ['a', 'b']) {
      put('AoENode', node, { spec: {} });
      put('Node', node, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    }
    const createdAt = '2026-11-28T08:00:00Z';
    this.snapshots.whole.set(SNAPSHOT_UID, { uid: SNAPSHOT_UID, snapshot: 's', name: 'fake/s', bytes: SIZE, createdAt });
    put('AoESnapshot', 's', {
      metadata: { name: 's', uid: SNAPSHOT_UID, finalizers: [SNAPSHOT_FINALIZER] },
      spec: { volumeName: 'origin', deletionPolicy: 'Delete' },
      status: { phase: 'Ready', nodeName: 'a', pool: 'thin', volumeUID: 'o', capacity: '4Mi', createdAt },
    });
    put('AoEVolume', 'v', {
      metadata: { name: 'v', uid: VOLUME_UID, finalizers: [VOLUME_FINALIZER] },
      spec: {
        ...{ pool: 'thick', nodeName: 'b', address: { shelf: 7, slot: 3 }, capacity: '4Mi', source: { snapshot: 's' } },
        ...{ access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete' },
      },
    });
    this.backend.unwiped = true;
    this.copier.isFlawed = true;
  }

  get snapshot(): AoESnapshot | undefined {
    return this.api.read<AoESnapshot & KubeObject>({ kind: 'AoESnapshot' }, 's');
  }

  get volume(): AoEVolume | undefined {
    return this.api.read<AoEVolume & KubeObject>({ kind: 'AoEVolume' }, 'v');
  }

  delete(kind: 'AoESnapshot' | 'AoEVolume', name: string): void {
    const now = this.api.read<KubeObject & { kind: string }>({ kind }, name);
    if (now) this.api.put({ ...now, kind, metadata: { ...now.metadata, deletionTimestamp: '2026-11-28T09:00:00Z' } });
  }

  /** What the copier reads: as the target of the other node serves it, for this node. */
  #read(source: CopySource): readonly number[] | undefined {
    if (source.kind !== 'aoe') return undefined;
    const found = [...this.sourceTarget.volumes.values()].find(({ volume }) => sameAddress(volume, source));
    const isServed = found?.volume.forCopies && found.volume.serial === source.serial && found.volume.macs.includes(MAC);
    return isServed && this.snapshots.whole.has(SNAPSHOT_UID) && this.snapshots.exposed.has(SNAPSHOT_UID) ? CONTENT : undefined;
  }

  get errors(): readonly unknown[] {
    return this.#programs.errors;
  }

  /** As {@link Programs.round}. */
  async round(...args: Parameters<Programs<Program>['round']>): Promise<void> {
    await this.#programs.round(...args);
  }

  stop(): void {
    this.#stop.abort();
  }

  #start(program: Program): Promise<Process> {
    if (program === 'operator') return this.#operator();
    return program === 'source' ? this.#source() : this.#destination();
  }

  async #operator() {
    const life = new Life();
    const stores = storesOf(this.api);
    const kube = life.wrap(this.api, ['get', 'apply', 'patch', 'delete']);
    const bySource = {
      get: (name: string) => stores.volumes.list().flatMap((each) => (sourceOf(each)[0] === name ? [each.metadata.name] : [])),
    };
    const copies = new SnapshotCopies({ ...stores, bySource });
    const parts = { kube, events: this.api, ...stores, copies, newCopyAddress: () => ({ shelf: 9, slot: this.#nextSlot++ }) };
    const round = async () => {
      await reconcileSnapshot(parts, 's', life.signal);
    };
    return { life, round };
  }

  async #source() {
    const life = new Life();
    const stores = storesOf(this.api);
    const link = await linkTo(this.sourceTarget, life, this.#stop.signal);
    const kube = life.wrap(this.api, ['get', 'apply', 'patch']);
    const disk = life.wrap(this.snapshots, ['find', 'list', 'expose', 'conceal', 'remove', 'retain']);
    const records = new SnapshotRecords({ node: 'a', kube: kube as never, snapshots: stores.snapshots, log });
    const work = new SnapshotReconciler({
      ...{ node: 'a', records, ...stores, target: link, signal: life.signal, log },
      copyExport: new CopyExport({ node: 'a', target: link, probe: async () => undefined }),
      copyOut: { copier: new FakeCopier(), bytesPerSecond: 0 },
      freeze: NO_FREEZE,
      backendOf: () => ({ snapshots: disk, measure: async () => ({ volumes: [] }) }) as never,
    });
    return {
      life,
      round: async () => {
        await work.reconcile('s', life.signal);
        await work.idle();
      },
    };
  }

  #destination(): Promise<Process> {
    const { api, target, backend, copier, disks } = this;
    const { signal } = this.#stop;
    return volumeAgent({ api, target, backend, copier, disks, signal, node: 'b', volume: 'v', path: PATH, mac: MAC });
  }
}
