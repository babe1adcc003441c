import { setImmediate as tick } from 'node:timers/promises';
import { pino } from 'pino';
import { GroupReconciler as AgentGroups } from '../../agent/group/reconciler.ts';
import { SnapshotReconciler } from '../../agent/snapshot/reconciler.ts';
import { SnapshotRecords } from '../../agent/snapshot/records.ts';
import { FakeCopier } from '../../agent/testing/fake-copier.ts';
import { FakeSnapshots } from '../../agent/testing/fake-snapshots.ts';
import { FakeTarget } from '../../agent/testing/fake-target.ts';
import { NO_FREEZE } from '../../agent/testing/no-freeze.ts';
import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../../api/volume.ts';
import { type KubeObject, TimeoutError } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { GroupReconciler as OperatorGroups } from '../../operator/group/reconciler.ts';
import { SnapshotCopies } from '../../operator/snapshot/copies.ts';
import { reconcileSnapshot } from '../../operator/snapshot/reconciler.ts';

const log = pino({ level: 'silent' });
/** Which node has which volume. */
const VOLUMES = { a: 'n1', b: 'n2', c: 'n1' } as const;
export type Volume = keyof typeof VOLUMES;
export const NODES = ['n1', 'n2'] as const;
export type Node = (typeof NODES)[number];

/** Lets the next step happen: the order of steps is drawn. */
export type Schedule = <R>(what: string, work: () => Promise<R>) => Promise<R>;

/**
 * Operator and agents of two nodes with an API server in memory. Three volumes have a number each, which dependent writers count up: `b`
 * follows `a`, and `c` follows `b`. A snapshot has the number of its volume.
 */
export class World {
  readonly api = new FakeApi();
  readonly targets: Record<Node, FakeTarget> = { n1: new FakeTarget(), n2: new FakeTarget() };
  readonly disks: Record<Node, FakeSnapshots> = { n1: new FakeSnapshots(), n2: new FakeSnapshots() };
  readonly numbers: Record<Volume, number> = { a: 0, b: 0, c: 0 };
  /** The number in each snapshot, by UID of the AoESnapshot. */
  readonly copies = new Map<string, number>();
  readonly errors: unknown[] = [];
  readonly #schedule: Schedule;
  /** Milliseconds. */
  #now = Date.parse('2026-11-28T08:00:00Z');
  #operator: Process;
  readonly #agents: Record<Node, Process>;

  private constructor(schedule: Schedule) {
    this.#schedule = schedule;
    this.#operator = this.#startOperator();
    this.#agents = { n1: this.#startAgent('n1'), n2: this.#startAgent('n2') };
  }

  static async start(schedule: Schedule): Promise<World> {
    const world = new World(schedule);
    await world.#fill();
    return world;
  }

  async #fill(): Promise<void> {
    const put = (kind: string, name: string, rest: object) => this.api.put({ kind, metadata: { name }, ...rest } as never);
    put('AoEPool', 'thin', { spec: { backend: 'lvm-thin' } });
    for (const node of NODES) {
      put('AoENode', node, { spec: {} });
      put('Node', node, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
      this.disks[node].meanwhile = async (volumeUID, uid) => {
        this.copies.set(uid, this.numbers[volumeUID as Volume]);
        await tick();
      };
    }
    for (const [index, [name, nodeName]] of Object.entries(VOLUMES).entries()) {
      const metadata = { name, uid: name, finalizers: [VOLUME_FINALIZER] };
      this.api.put({ kind: 'AoEVolume', metadata, spec: { nodeName, pool: 'thin' }, status: { capacity: '1Mi' } } as never);
      const exported = {
        uid: name,
        shelf: 1,
        slot: index,
        path: '/x',
        serial: name,
        readOnly: false,
        bytes: 0,
        macs: [],
        writesNeedLock: false,
      };
      await this.targets[nodeName].export(exported);
    }
  }

  request(name: string): void {
    const members = Object.keys(VOLUMES).map((volumeName) => ({ volumeName }));
    this.api.put({ kind: 'AoESnapshotGroup', metadata: { name, uid: name }, spec: { members } } as never);
  }

  /** The next of the dependent writes, unless its volume is held. */
  write(): void {
    const { a, b, c } = this.numbers;
    const next = a === b && b === c ? 'a' : b === c ? 'b' : 'c';
    if (!this.targets[VOLUMES[next]].holds.has(next)) this.numbers[next]++;
  }

  /** Holds end by themselves, and the target serves on. */
  endHolds(node: Node): void {
    this.targets[node].holds.clear();
  }

  advance(ms: number): void {
    this.#now += ms;
  }

  restartOperator(): void {
    this.#operator.kill();
    this.#operator = this.#startOperator();
  }

  restartAgent(node: Node): void {
    this.#agents[node].kill();
    this.#agents[node] = this.#startAgent(node);
  }

  /** Reconciles everything once, without waiting for the end. */
  round(): void {
    for (const process of [this.#operator, ...Object.values(this.#agents)]) process.round();
  }

  get isIdle(): boolean {
    return [this.#operator, ...Object.values(this.#agents)].every((process) => process.isIdle);
  }

  group(name: string): AoESnapshotGroup | undefined {
    return this.api.read<AoESnapshotGroup & KubeObject>({ kind: 'AoESnapshotGroup' }, name);
  }

  members(name: string): AoESnapshot[] {
    return this.api.all<AoESnapshot & KubeObject>('AoESnapshot').filter(({ spec }) => spec.group?.name === name);
  }

  /** Names of everything that is on the disks of the nodes. */
  get data(): string[] {
    return NODES.flatMap((node) => [...this.disks[node].whole.keys(), ...this.disks[node].half]);
  }

  #startOperator(): Process {
    const process = new Process(this.#schedule, 'operator', this.errors);
    const { api } = this;
    const stores = {
      groups: api.store<AoESnapshotGroup>('AoESnapshotGroup'),
      snapshots: api.store<AoESnapshot>('AoESnapshot'),
      volumes: api.store<AoEVolume>('AoEVolume'),
      nodes: api.store<AoENode>('AoENode'),
      kubeNodes: api.store<KubeNode>('Node'),
    };
    const kube = process.wrap(api, ['get', 'apply', 'patch', 'create', 'delete']);
    const copies = new SnapshotCopies({ ...stores, pools: { get: () => undefined }, bySource: { get: () => [] } });
    const parts = { kube, events: api, ...stores, copies, newCopyAddress: () => ({ shelf: 9, slot: 0 }) };
    const groups = new OperatorGroups({ kube, ...stores, log, now: () => this.#now });
    const { signal } = process;
    process.work = () => [
      ...stores.groups.list().map(({ metadata: { name } }) => [`group ${name}`, () => groups.reconcile(name, signal)] as const),
      ...stores.snapshots
        .list()
        .map(({ metadata: { name } }) => [`snapshot ${name}`, () => reconcileSnapshot(parts, name, signal)] as const),
    ];
    return process;
  }

  #startAgent(node: Node): Process {
    const process = new Process(this.#schedule, node, this.errors);
    const { api } = this;
    const snapshots = api.store<AoESnapshot>('AoESnapshot');
    const groups = api.store<AoESnapshotGroup>('AoESnapshotGroup');
    const kube = process.wrap(api, ['get', 'apply', 'patch']);
    const target = process.wrap(this.targets[node], ['hold', 'release']);
    const disk = this.disks[node];
    const records = new SnapshotRecords({ node, kube: kube as never, snapshots, log });
    const holder = {
      connected: true,
      problem: '',
      state: (uid: string) => this.targets[node].volumes.get(uid),
      supports: () => true,
      hold: (uid: string) => target.hold(uid),
      release: (uid: string, hold: number) => target.release(uid, hold),
    };
    const own = {
      serial: new FakeSnapshots().serial,
      ...process.wrap(disk, ['find', 'list', 'remove', 'retain']),
      prepare: async (...args: Parameters<typeof disk.prepare>) =>
        (await disk.prepare(...args)).map((each) => ({ ...each, ...process.wrap(each, ['make', 'finish', 'discard']) })),
    };
    const context = {
      node,
      records,
      volumes: api.store<AoEVolume>('AoEVolume'),
      pools: api.store<AoEPool>('AoEPool'),
      backendOf: () => ({ snapshots: own, find: async () => undefined }) as never,
      target: holder,
      log,
    };
    const waitFor = waiting<AoESnapshotGroup>(groups);
    const { signal } = process;
    const groupWork = new AgentGroups({ ...context, groups: { ...groups, waitFor } });
    const copyExport = { reconcile: async () => ({ report: { served: undefined, exported: undefined } }) };
    const work = new SnapshotReconciler({
      ...context,
      copyExport,
      copyOut: { copier: new FakeCopier(), bytesPerSecond: 0 },
      freeze: NO_FREEZE,
      endGroup: (uid) => groupWork.end(uid),
      signal,
    });
    process.work = () => [
      ...groups.list().map(({ metadata: { name } }) => [`group ${name}`, () => groupWork.reconcile(name, signal)] as const),
      ...snapshots.list().map(({ metadata: { name } }) => [`snapshot ${name}`, () => work.reconcile(name, signal)] as const),
    ];
    return process;
  }
}

/** A program that can be killed between two of its steps: whatever it waits for never comes. */
class Process {
  work: () => (readonly [string, () => Promise<unknown>])[] = () => [];
  readonly #schedule: Schedule;
  readonly #name: string;
  readonly #errors: unknown[];
  readonly #stop = new AbortController();
  readonly #running = new Set<string>();
  #isDead = false;

  constructor(schedule: Schedule, name: string, errors: unknown[]) {
    this.#schedule = schedule;
    this.#name = name;
    this.#errors = errors;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get isIdle(): boolean {
    return this.#running.size === 0;
  }

  kill(): void {
    this.#isDead = true;
  }

  /** The object with these methods as steps of this program. */
  wrap<T extends object, K extends keyof T & string>(object: T, methods: K[]): Pick<T, K> {
    return Object.fromEntries(
      methods.map((method) => [
        method,
        async (...args: unknown[]) => {
          if (this.#isDead) return never();
          const work = object[method] as (...args: unknown[]) => Promise<unknown>;
          const step = async () =>
            this.#isDead ? { isDead: true } : { result: await work.apply(object, args).catch((error: unknown) => ({ error })) };
          const done = await this.#schedule(`${this.#name} ${method}`, step);
          if (this.#isDead || !('result' in done)) return never();
          const { result } = done;
          if (result && typeof result === 'object' && 'error' in result && Object.keys(result).length === 1) throw result.error;
          return result;
        },
      ]),
    ) as unknown as Pick<T, K>;
  }

  round(): void {
    for (const [key, work] of this.work()) {
      if (this.#isDead || this.#running.has(key)) continue;
      this.#running.add(key);
      void work()
        .catch((error: unknown) => this.#errors.push(error))
        .finally(() => this.#running.delete(key));
    }
  }
}

function never<R>(): Promise<R> {
  return new Promise<R>(() => {});
}

/** As Informer.waitFor, by asking at each turn of the event loop; a time limit is over when nothing happens for long. */
function waiting<T extends KubeObject>(store: { get(name: string): T | undefined }) {
  const TURNS = 3_000;
  return async <R>(
    name: string,
    predicate: (object: T | undefined) => R | undefined | false,
    { signal }: { signal?: AbortSignal | undefined; timeoutMs: number },
  ): Promise<R> => {
    for (let turns = 0; turns < TURNS; turns++) {
      signal?.throwIfAborted();
      const result = predicate(store.get(name));
      if (result !== undefined && result !== false) return result;
      await tick();
    }
    throw new TimeoutError('it did not happen');
  };
}
