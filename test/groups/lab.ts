import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RawSocket } from '../../aoe/mod.ts';
import {
  AOE_NODES,
  AOE_POOLS,
  AOE_SNAPSHOT_GROUPS,
  AOE_SNAPSHOTS,
  AOE_VOLUMES,
  API_VERSION,
  NODES as MACHINES,
} from '../../api/resources.ts';
import type { AoESnapshot } from '../../api/snapshot.ts';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube } from '../../kube/mod.ts';
import { volume } from '../apiserver/objects.ts';
import { type FakeDisk, FakeHost } from '../faults/fast/fake-host.ts';
import { Parts } from '../faults/fast/parts.ts';
import { Switch } from '../faults/fast/switch.ts';
import { STORAGE } from '../faults/model/plan.ts';
import { random } from '../faults/model/random.ts';
import { Rights } from '../faults/model/rights.ts';
import { poll } from '../testbed/process/shell.ts';

const HOST_MAC = '02:00:5e:00:53:0b';
const TARGET_MAC = '02:00:5e:00:53:01';
/** In the order in which they are written. */
const VOLUMES = ['a', 'b', 'c'];
const BLOCK = 4096;
const READY_MS = 60_000;
const END_MS = 90_000;

/** What came of a group. */
export interface Attempt {
  stage: string;
  reason: string;
  /** The numbers in the members, in the order of the volumes; empty when the group has failed. */
  numbers: number[];
  /** Until it was known, in milliseconds. */
  tookMs: number;
  /** The longest that a write took meanwhile, in milliseconds. */
  longestWriteMs: number;
}

/**
 * Real programs with a pool of files on XFS, and a fake host that counts up a number in three volumes: in each only when the volume before has
 * answered. It must run in network, mount and process namespaces of its own.
 */
export class GroupLab implements AsyncDisposable {
  readonly parts: Parts;
  readonly kube: Kube;
  readonly #pool: string;
  readonly #disks: FakeDisk[] = [];
  #host: FakeHost | undefined;
  #socket: RawSocket | undefined;
  #writing: Promise<void> | undefined;
  #isOver = false;
  #longestWriteMs = 0;
  /** The number that is written now. */
  written = 0;

  private constructor(parts: Parts, pool: string) {
    this.parts = parts;
    this.kube = parts.api.kube();
    this.#pool = pool;
  }

  static async start(): Promise<GroupLab> {
    const directory = join(tmpdir(), 'lab');
    const pool = join(directory, 'pool');
    mkdirSync(pool, { recursive: true });
    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', ...`link add target0 address ${TARGET_MAC} mtu 9000 type veth peer name segment0 mtu 9000`.split(' '));
    for (const name of ['target0', 'segment0']) run('ip', 'link', 'set', name, 'up');
    const image = join(directory, 'xfs.img');
    run('truncate', '-s', '1G', image);
    run('mkfs.xfs', '-q', image);
    run('mount', '-o', 'loop', image, pool);
    const lab = new GroupLab(await Parts.start(directory), pool);
    try {
      await lab.parts.startPrograms();
      await lab.#makeVolumes();
      lab.#beginToWrite();
      await lab.goesOn();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes a group, and waits until it is committed or has failed. @param meanwhile is begun when the group is there */
  async take(name: string, meanwhile: () => Promise<void>): Promise<Attempt> {
    this.#longestWriteMs = 0;
    const since = performance.now();
    const spec = { members: VOLUMES.map((volumeName) => ({ volumeName })) };
    await this.kube.create<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, {
      apiVersion: API_VERSION,
      kind: 'AoESnapshotGroup',
      metadata: { name },
      spec,
    });
    const disturbing = meanwhile();
    const read = () => this.kube.get<AoESnapshotGroup>(AOE_SNAPSHOT_GROUPS, name);
    const { status } = await this.#until(`the end of group ${name}`, async () => {
      const group = await read();
      return group?.status?.stage === 'Committed' || group?.status?.stage === 'Failed' ? group : undefined;
    });
    const tookMs = performance.now() - since;
    await disturbing;
    const isCommitted = status?.stage === 'Committed';
    return {
      stage: status?.stage ?? '',
      reason: status?.conditions?.[0]?.message ?? '',
      numbers: isCommitted ? await Promise.all((status.members ?? []).map((member) => this.#numberIn(member.name))) : [],
      tookMs,
      longestWriteMs: this.#longestWriteMs,
    };
  }

  /** Deletes a group. @returns what of it is left in the pool */
  async remove(name: string): Promise<string[]> {
    await this.kube.delete(AOE_SNAPSHOT_GROUPS, name);
    await this.#until(`group ${name} to be gone`, async () => ((await this.kube.get(AOE_SNAPSHOT_GROUPS, name)) ? undefined : true));
    return readdirSync(this.#pool).filter((file) => file.startsWith('snap-'));
  }

  /** Fulfilled when the host has written some more. */
  async goesOn(): Promise<void> {
    const { written } = this;
    await this.#until('the host to go on', async () => (this.written > written + 3 ? true : undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#host?.forget();
    await this.#writing;
    this.#socket?.close();
    await this.parts[Symbol.asyncDispose]();
    run('umount', '--lazy', this.#pool);
  }

  async #makeVolumes(): Promise<void> {
    const { kube } = this;
    const options = { fieldManager: 'aoe-csi-node', force: true };
    await kube.apply(MACHINES, { metadata: { name: STORAGE, labels: { 'aoe.dev/segment': 'default' } } }, options);
    await kube.apply(AOE_NODES, { metadata: { name: STORAGE }, spec: { maintenance: false } }, options);
    await kube.apply(AOE_NODES, { metadata: { name: STORAGE }, status: { segment: 'default' } }, { ...options, subresource: 'status' });
    const pool = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name: 'default' } };
    await kube.create(AOE_POOLS, { ...pool, spec: { backend: 'file', directory: this.#pool } } as never);
    const spec = { capacity: '32Mi', nodeName: STORAGE, access: 'Shared', initiators: { macs: [HOST_MAC] } } as const;
    await Promise.all(VOLUMES.map((name) => kube.create(AOE_VOLUMES, volume(name, { ...spec, initiators: { macs: [HOST_MAC] } }))));
    for (const name of VOLUMES) {
      const { spec: placed } = await this.#until(`volume ${name} to be Ready`, async () => {
        const found = await kube.get<AoEVolume>(AOE_VOLUMES, name);
        return found?.status?.phase === 'Ready' ? found : undefined;
      });
      this.#disks.push({ address: placed.address ?? { shelf: 0, slot: 0 }, mac: TARGET_MAC });
    }
  }

  #beginToWrite(): void {
    this.#socket = RawSocket.open('segment0', { everything: true });
    const host = new FakeHost('storage-2', new Switch(new Rights(), random(1)).connect(HOST_MAC, this.#socket), BLOCK / 512);
    this.#host = host;
    const write = async (): Promise<void> => {
      while (!this.#isOver) {
        this.written++;
        const data = Buffer.alloc(BLOCK);
        data.write(`${this.written}\n`);
        for (const disk of this.#disks) {
          const since = performance.now();
          await host.write(disk, 0, data);
          this.#longestWriteMs = Math.max(this.#longestWriteMs, performance.now() - since);
        }
      }
    };
    // At the end the host forgets what it waits for.
    this.#writing = write().catch((error: unknown) => {
      if (!this.#isOver) throw error;
    });
  }

  async #numberIn(member: string): Promise<number> {
    const snapshot = await this.kube.get<AoESnapshot>(AOE_SNAPSHOTS, member);
    return Number.parseInt(readFileSync(join(this.#pool, `snap-${snapshot?.metadata.uid}.img`)).toString('latin1', 0, 16), 10);
  }

  #until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
    const explain = () => Object.values(this.parts.programs).map((part) => part.tail(2_000));
    return poll(ask, { timeoutMs: Math.max(READY_MS, END_MS), intervalMs: 10, what, explain: () => explain().join('\n') });
  }
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args);
}
