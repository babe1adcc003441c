import { pino } from 'pino';
import { MacMemory } from '../../agent/access/mac-memory.ts';
import type { CopySource } from '../../agent/copier/api.ts';
import { StaleJobs } from '../../agent/copier/stale-jobs.ts';
import { OneAtATime } from '../../agent/move/one-at-a-time.ts';
import { MoveReconciler } from '../../agent/move/reconciler.ts';
import { FakeBackend } from '../../agent/testing/fake-backend.ts';
import { FakeCopier } from '../../agent/testing/fake-copier.ts';
import { FakeTarget } from '../../agent/testing/fake-target.ts';
import { VolumeReconciler as AgentsReconciler } from '../../agent/volume/reconciler.ts';
import { sameAddress } from '../../api/address.ts';
import type { AoEPool } from '../../api/pool.ts';
import { MiB } from '../../api/quantity.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import { type AoEVolume, isCopiedAway, MOVE_TO, VOLUME_FINALIZER } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { Life } from './life.ts';
import { linkTo } from './link.ts';
import { poolOf, storesOf, volumeOperator } from './parts.ts';
import { type Process, Programs } from './programs.ts';

const log = pino({ level: 'silent' });
export const UID = 'bbbbbbbb-2222-3333-4444-555555555555';
const SIZE = 4 * MiB;
const HOST_MAC = '02:00:00:00:09:01';

export const PROGRAMS = ['operator', 'a', 'b'] as const;
export type Program = (typeof PROGRAMS)[number];
type Storage = 'a' | 'b';
const MACS: Record<Storage, string> = { a: '02:00:00:00:05:01', b: '02:00:00:00:05:02' };

/** A storage node: its target and its pools, which outlive its agent. */
class StorageNode {
  readonly target = new FakeTarget();
  readonly pools = new Map<string, FakeBackend>(['p', 'q'].map((name) => [name, new FakeBackend()]));
  readonly copier: FakeCopier;

  constructor(disks: Map<string, number[]>, read: (source: CopySource) => readonly number[] | undefined) {
    this.copier = new FakeCopier(disks, read);
    for (const pool of this.pools.values()) pool.unwiped = true;
  }
}

/** A volume on node a, in pool p, that people move: operator, two agents and fake copiers, with an API server in memory. */
export class MoveWorld {
  readonly api = new FakeApi();
  /** By node, pool and UID: a number for each block. */
  readonly disks = new Map<string, number[]>();
  /** What the volume must show: hosts write it. */
  content = [4, 0, 7, 1];
  readonly storage: Record<Storage, StorageNode>;
  readonly #stop = new AbortController();
  readonly #programs = new Programs<Program>((program) =>
    program === 'operator' ? volumeOperator(this.api, ['v']) : this.#agent(program),
  );

  constructor() {
    const of = (node: Storage) => new StorageNode(this.disks, (source) => this.#read(node, source));
    this.storage = { a: of('a'), b: of('b') };
    const put = (kind: string, name: string, rest: object) => this.api.put({ kind, metadata: { name }, ...rest } as never);
    const entries = ['a', 'b'].map((name) => ({ name, ready: true, size: '1Gi', granularity: '1Mi' }));
    for (const pool of ['p', 'q']) put('AoEPool', pool, { spec: { backend: 'lvm' }, status: { nodes: entries } });
    for (const node of ['a', 'b', 'w']) {
      const interfaces = [{ name: 'eth1', mac: node === 'w' ? HOST_MAC : MACS[node as Storage], mtu: 9000 }];
      put('AoENode', node, { spec: {}, status: { interfaces } });
      put('Node', node, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    }
    put('AoEVolume', 'v', {
      metadata: { name: 'v', uid: UID, finalizers: [VOLUME_FINALIZER] },
      spec: {
        ...{ pool: 'p', nodeName: 'a', address: { shelf: 1, slot: 3 }, capacity: '4Mi' },
        ...{ access: 'Shared', initiators: {}, deletionPolicy: 'Delete' },
      },
    });
  }

  get volume(): AoEVolume | undefined {
    return this.api.read<AoEVolume & KubeObject>({ kind: 'AoEVolume' }, 'v');
  }

  /** A person asks for a move, or takes that back. */
  async annotate(to: string | null): Promise<void> {
    if (this.volume) await this.api.patch(AOE_VOLUMES, 'v', { metadata: { annotations: { [MOVE_TO]: to } } });
  }

  /** As the API server allows it: not while the data is copied away. */
  async attach(nodes: string[]): Promise<void> {
    const { volume } = this;
    if (volume && !(nodes.length > 0 && isCopiedAway(volume))) await this.api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes } } });
  }

  /** The host writes a block, where a target lets it. */
  write(value: number): void {
    for (const { target } of Object.values(this.storage)) {
      const { volume } = target.volumes.get(UID) ?? {};
      if (!volume || volume.readOnly || !volume.macs.includes(HOST_MAC)) continue;
      this.content = [value, ...this.content.slice(1)];
      this.disks.set(volume.path, [...this.content]);
    }
  }

  /** A storage node is off, and a person deletes its Node. */
  lose(node: Storage): void {
    for (const kind of ['Node', 'AoENode']) this.api.remove({ kind }, node);
  }

  delete(): void {
    const { volume } = this;
    if (volume) this.api.put({ ...volume, kind: 'AoEVolume', metadata: { ...volume.metadata, deletionTimestamp: '2026-11-28T09:00:00Z' } });
  }

  #read(node: Storage, source: CopySource): readonly number[] | undefined {
    if (source.kind === 'local') {
      const { volume } = this.storage[node].target.volumes.get(UID) ?? {};
      return volume?.path === source.path ? undefined : this.disks.get(source.path);
    }
    for (const { target } of Object.values(this.storage)) {
      const found = [...target.volumes.values()].find(({ volume }) => sameAddress(volume, source));
      if (found?.volume.forCopies && found.volume.serial === source.serial && found.volume.macs.includes(MACS[node]))
        return this.disks.get(found.volume.path);
    }
    return undefined;
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

  async #agent(node: Storage): Promise<Process> {
    const life = new Life();
    const stores = storesOf(this.api);
    const { target, copier: disk } = this.storage[node];
    const link = await linkTo(target, life, this.#stop.signal);
    const kube = life.wrap(this.api, ['get', 'list', 'apply', 'patch']) as never;
    const copier = life.wrap(disk, ['list', 'start', 'remove', 'get', 'stop']);
    const backends = new Map(
      [...this.storage[node].pools].map(([pool, backend]) => [
        pool,
        poolOf(life, backend, { path: `/${node}/${pool}/${UID}`, disks: this.disks }),
      ]),
    );
    const oneAtATime = new OneAtATime();
    const copies = {
      copier,
      interfaces: () => [{ name: 'eth1', mac: MACS[node] }],
      expose: async () => undefined,
      survey: async () => [],
      bytesPerSecond: 0,
    };
    const common = {
      ...{ node, kube, target: link, signal: life.signal, log },
      backendOf: ({ metadata: { name } }: AoEPool) => backends.get(name) as never,
    };
    const moves = new MoveReconciler({ ...common, ...copies, moves: stores.volumes, pools: stores.pools, oneAtATime });
    const work = new AgentsReconciler({
      ...{ ...common, ...stores, events: this.api, statusDelayMs: 0 },
      probe: async () => undefined,
      macs: new MacMemory(),
      copies: { ...copies, oneAtATime: oneAtATime.run.bind(oneAtATime) },
    });
    const of = (is: (volume: AoEVolume) => boolean) => ({ list: () => stores.volumes.list().filter(is) });
    const stale = new StaleJobs({
      ...{ copier, log, snapshots: { list: () => [] } },
      volumes: of(({ spec }) => spec.nodeName === node),
      moves: of(({ spec }) => spec.move?.nodeName === node),
    });
    const round = async (): Promise<void> => {
      await stale.reconcile(life.signal);
      await work.reconcile('v', life.signal);
      await work.idle();
      await moves.reconcile('v', life.signal);
      await moves.idle();
      // As OrphanedExports does, which is not part of this world.
      const { volume } = this;
      if (!life.isOver && target.volumes.has(UID) && volume && volume.spec.nodeName !== node) await link.unexport(UID, life.signal);
    };
    return { life, round };
  }
}
export { SIZE };
