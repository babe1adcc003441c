import type { ExternalDisk } from '../../agent/address/probe.ts';
import { type CopierApi, CopierError, type CopySource } from '../../agent/copier/api.ts';
import { FakeBackend } from '../../agent/testing/fake-backend.ts';
import { FakeCopier } from '../../agent/testing/fake-copier.ts';
import { FakeTarget } from '../../agent/testing/fake-target.ts';
import { type Address, sameAddress } from '../../api/address.ts';
import { MiB } from '../../api/quantity.ts';
import { AOE_VOLUMES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { Life } from './life.ts';
import { volumeAgent, volumeOperator } from './parts.ts';
import { type Process, Programs } from './programs.ts';

const MAC = '02:00:00:00:05:02';
export const UID = 'bbbbbbbb-2222-3333-4444-555555555555';
const PATH = `/dev/fake/${UID}`;
const ADDRESS: Address = { shelf: 7, slot: 3 };
/** Blocks of the volume: more than the source has. */
export const VOLUME_BLOCKS = 6;

export const PROGRAMS = ['operator', 'agent'] as const;
export type Program = (typeof PROGRAMS)[number];

/** A target outside this project, such as vblade, at the address. */
export interface Outsider {
  readonly mac: string;
  readonly serial: string;
  /** A number for each block. */
  blocks: number[];
  /** The config string: a host that respects it has the disk. */
  lock: string;
  /** `late`: its host is busy, and only who waits for a second gets an answer. */
  answers: 'at once' | 'late' | 'not';
}

type Job = NonNullable<ReturnType<FakeCopier['jobs']['get']>>;

/** Which disk a copy was begun from. */
interface Begun {
  serial: string;
  blocks: number;
}

interface Options {
  /** The volume is to have the address of the source. */
  keepsAddress: boolean;
  /** The spec has the serial number of the source. */
  namesSerial: boolean;
  /** New backing volumes have old data, and are wiped. */
  unwiped: boolean;
  /** The source at first. */
  answers: Outsider['answers'];
}

/**
 * The disk of a target outside this project, which is copied into a volume: operator, agent and a fake copier, with an API server in memory. A clock
 * that the test moves. When the volume gets an address of its own, there is an AoEVolume `outside` for the disk, too, which can be attached.
 */
export class ExternalWorld {
  readonly api = new FakeApi();
  readonly target = new FakeTarget();
  readonly backend = new FakeBackend();
  readonly disks = new Map<string, number[]>();
  readonly copier = new FakeCopier(this.disks, (source) => this.#read(source));
  readonly source: Outsider = { mac: '02:00:00:00:06:06', serial: 'S1', blocks: [4, 0, 7, 1], lock: '', answers: 'at once' };
  readonly stranger: Outsider = { mac: '02:00:00:00:07:07', serial: 'S2', blocks: [5, 5, 0, 5], lock: '', answers: 'not' };
  readonly options: Options;
  /** Milliseconds. */
  now = 0;
  /** When somebody else last answered us at the address, and the probes since then. */
  heardAt = Number.NEGATIVE_INFINITY;
  silentProbes: number[] = [];
  /** Whether the agent was told that a host has the disk, since this was last set to false. */
  sawHolder = false;
  /** Jobs of which the copier has read something else the second time. */
  readonly changed = new Set<Job>();
  /** Jobs that somebody may have written since they began. */
  readonly #spoilt = new Set<Job>();
  /** Jobs that the agent has let go on, although it was to let all be copied again. */
  spoiltThatGoOn: Job[] = [];
  /** By job and block, what the copier has read so far. */
  readonly reads = new Map<string, number[][]>();
  /** Undefined while there is no backing volume. */
  begun: Begun | undefined;
  readonly #stop = new AbortController();
  readonly #programs = new Programs<Program>((program) =>
    program === 'operator' ? volumeOperator(this.api, ['v', 'outside']) : this.#agent(),
  );
  #copierLife = new Life();

  constructor(options: Options) {
    this.options = options;
    const { keepsAddress, namesSerial, unwiped, answers } = options;
    this.backend.unwiped = unwiped;
    this.source.answers = answers;
    const put = (kind: string, name: string, rest: object) => this.api.put({ kind, metadata: { name }, ...rest } as never);
    const nodes = [{ name: 'b', ready: true, size: '1Gi', granularity: '1Mi' }];
    put('AoEPool', 'thick', { spec: { backend: 'lvm' }, status: { nodes } });
    put('AoENode', 'b', { spec: {}, status: { interfaces: [{ name: 'eth1', mac: MAC, mtu: 9000 }] } });
    put('Node', 'b', { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    const common = { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete' };
    if (!keepsAddress) put('AoEVolume', 'outside', { spec: { ...common, external: ADDRESS } });
    const external = { ...ADDRESS, ...(namesSerial ? { serial: this.source.serial } : {}) };
    put('AoEVolume', 'v', {
      metadata: { name: 'v', uid: UID },
      spec: {
        ...common,
        pool: 'thick',
        capacity: `${VOLUME_BLOCKS}Mi`,
        source: { external },
        ...(keepsAddress ? { address: ADDRESS } : {}),
      },
    });
  }

  get volume(): AoEVolume | undefined {
    return this.api.read<AoEVolume & KubeObject>({ kind: 'AoEVolume' }, 'v');
  }

  get errors(): readonly unknown[] {
    return this.#programs.errors;
  }

  /** What the volume shows where it is served; undefined when it is not. */
  get served(): readonly number[] | undefined {
    const { path } = this.target.volumes.get(UID)?.volume ?? {};
    return path === undefined ? undefined : (this.disks.get(path) ?? []);
  }

  /** Whether the agent is done with the copy. */
  get isWhole(): boolean {
    const data = this.backend.volumes.get(UID);
    return data !== undefined && data.copy === undefined && !data.unwiped;
  }

  /** Bytes that are copied and compared. */
  get progress(): number {
    if (this.isWhole) return Number.POSITIVE_INFINITY;
    return Math.max(0, ...[...this.copier.jobs.values()].map(({ state }) => state.copied + state.verified));
  }

  /** Differs when something has changed. */
  get state(): string {
    return `${this.volume?.metadata.resourceVersion} ${this.progress} ${this.isWhole} ${this.copier.jobs.size} ${this.target.volumes.size}`;
  }

  /** Whether operator or agent say that somebody has the disk, so that it is copied from its beginning. */
  get saysInUse(): boolean {
    const { conditions = [] } = this.volume?.status ?? {};
    return conditions.some(({ type, reason }) => reason === 'SourceInUse' && (type === 'Placed' || type === 'Provisioned'));
  }

  /** Whether the AoEVolume that stands for the disk is attached. */
  get isAttached(): boolean {
    const outside = this.api.read<AoEVolume & KubeObject>({ kind: 'AoEVolume' }, 'outside');
    return (outside?.spec.initiators.nodes ?? []).length > 0;
  }

  /** Others that answer at the address, to those who wait for long. */
  get outsiders(): Outsider[] {
    return [this.source, this.stranger].filter(({ answers }) => answers !== 'not');
  }

  async attach(isAttached: boolean): Promise<void> {
    if (this.options.keepsAddress) return;
    await this.api.patch(AOE_VOLUMES, 'outside', { spec: { initiators: { nodes: isAttached ? ['w'] : null } } });
  }

  async delete(): Promise<void> {
    await this.api.delete(AOE_VOLUMES, 'v');
  }

  /** The copier dies after so many calls of the agent. It keeps what it has on its disk. */
  endCopierAfter(calls: number, hasEffect: boolean): void {
    this.#copierLife.endAfter(calls, hasEffect);
  }

  startCopier(): void {
    this.#copierLife = new Life();
    this.copier.up = true;
  }

  /** The disk on which the copier has its jobs is lost. */
  loseJobs(): void {
    this.copier.jobs.clear();
    if (!this.isWhole) this.reads.clear();
  }

  /** The copier copies or compares a block. */
  copy(): void {
    if (!this.copier.up) return;
    const before = new Map([...this.copier.jobs].map(([id, { state }]) => [id, { ...state }]));
    for (const [id, { job, state }] of this.copier.jobs) {
      if (state.phase === 'stopped' || state.phase === 'verified') continue;
      const { serial } = job.source as Extract<CopySource, { kind: 'aoe' }>;
      const wrong = this.outsiders.find((each) => each.serial !== serial || each.blocks.length * MiB !== job.bytes);
      if (wrong) this.copier.fail(id, `the disk at the address is ${wrong.serial}, and not the one that the job means`, new Date(0));
    }
    this.copier.advance();
    for (const [id, entry] of this.copier.jobs) {
      const { state } = entry;
      const { copied = 0, verified = 0 } = before.get(id) ?? {};
      const at = state.verified > verified ? verified / MiB : state.copied > copied ? copied / MiB : undefined;
      if (at === undefined) continue;
      this.heardAt = this.now;
      this.silentProbes = [];
      const reads = at === 0 && state.verified === 0 ? [] : (this.reads.get(id) ?? []);
      this.reads.set(id, reads);
      const read = this.outsiders[0]?.blocks[at] ?? Number.NaN;
      if (state.verified > verified && reads[at]?.[0] !== read) this.changed.add(entry);
      reads[at] = [...(reads[at] ?? []), read];
    }
  }

  /** As {@link Programs.round}. Who has seen that somebody has the disk lets all be copied again, unless it was killed. */
  async round(...args: Parameters<Programs<Program>['round']>): Promise<void> {
    const { isWhole, sawHolder } = this;
    this.sawHolder = false;
    const isAlive = await this.#programs.round(...args);
    const sees = args[0] === 'agent' ? this.sawHolder : this.isAttached && this.volume?.spec.nodeName !== undefined;
    if (isAlive && sees && !isWhole) this.spoil();
    this.sawHolder ||= sawHolder;
    if (!isAlive || args[0] !== 'agent' || !this.copier.up) return;
    this.spoiltThatGoOn = [...this.copier.jobs.values()].filter((each) => this.#spoilt.has(each) && each.state.repaired === 0);
  }

  /** What was copied so far does not count. */
  spoil(): void {
    this.reads.clear();
    for (const each of this.copier.jobs.values()) this.#spoilt.add(each);
  }

  stop(): void {
    this.#stop.abort();
  }

  #read(source: CopySource): readonly number[] | undefined {
    if (source.kind !== 'aoe' || !sameAddress(source, ADDRESS)) return undefined;
    return this.outsiders[0]?.blocks;
  }

  #survey(): ExternalDisk[] {
    this.#noteAnswers(this.outsiders.length > 0);
    this.sawHolder ||= this.outsiders.some(({ lock }) => lock !== '');
    return this.outsiders.map(({ mac, serial, blocks, lock }) => {
      const configString = new TextEncoder().encode(lock);
      return { mac, interface: 'eth1', configString, serial, bytes: blocks.length * MiB };
    });
  }

  #noteAnswers(isAnswered: boolean): void {
    if (isAnswered) this.heardAt = this.now;
    this.silentProbes = isAnswered ? [] : [...this.silentProbes, this.now];
  }

  /** The copier, which dies at one of its calls when the test says so. */
  #copierCalls(): CopierApi {
    const calls = (['list', 'start', 'remove', 'get', 'stop'] as const).map((name) => [
      name,
      async (...args: unknown[]) => {
        const life = this.#copierLife;
        const call = life.wrap(this.copier, [name])[name] as (...args: unknown[]) => Promise<unknown>;
        try {
          return await call(...args);
        } catch (error) {
          if (!life.isOver) throw error;
          this.copier.up = false;
          throw new CopierError('unavailable', 'the copier has died');
        }
      },
    ]);
    return Object.fromEntries(calls);
  }

  async #agent(): Promise<Process> {
    const { api, target, backend, disks } = this;
    const agent = await volumeAgent({
      ...{
        api,
        target,
        backend,
        disks,
        node: 'b',
        volume: 'v',
        path: PATH,
        mac: MAC,
        copier: this.#copierCalls(),
        signal: this.#stop.signal,
      },
      survey: async () => this.#survey(),
      probe: async (address, _signal, { isPatient = false } = {}) => {
        if (!sameAddress(address, ADDRESS)) return undefined;
        const found = this.outsiders.find(({ answers }) => isPatient || answers === 'at once');
        this.#noteAnswers(found !== undefined);
        return found && { mac: found.mac, interface: 'eth1' };
      },
      schedule: { now: () => this.now, random: () => 0.5 },
    });
    const round = async (): Promise<void> => {
      const [disk] = this.outsiders;
      const had = this.backend.volumes.get(UID);
      await agent.round().finally(() => {
        const has = this.backend.volumes.get(UID);
        if (!has) this.begun = undefined;
        else if (has.copy?.split('/')[1] !== had?.copy?.split('/')[1] && has.copy)
          this.begun = disk && { serial: disk.serial, blocks: disk.blocks.length };
      });
    };
    return { life: agent.life, round };
  }
}
