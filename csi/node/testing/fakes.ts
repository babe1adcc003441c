import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatLock, type LockOwner, type TargetAddress } from '../../../aoe/mod.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Content, Disk, DiskState, Driver, Mapping, Mounter, MountPoint, VolumeClient, Wire } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { LocalDisk } from '../disk/local-disk.ts';
import { mountAt } from '../disk/mountinfo.ts';
import { type StagedVolume, StagedVolumes } from '../record/staged-volumes.ts';
import { VolumeJobs } from '../volume-jobs.ts';
import { FakeEncryption } from './fake-encryption.ts';
import { FakeFilesystems } from './fake-filesystems.ts';

/** A target and its disk. */
export interface FakeTarget {
  serial: string;
  bytes: number;
  mac: string;
  holder?: LockOwner & { since: string };
  otherString?: string;
  content: Content;
  blank: boolean;
  /** The LUKS header of a disk that has one, and what is in plain text behind it. */
  luks?: { uuid: string; passphrase: string; inside: Pick<FakeTarget, 'content' | 'blank' | 'bytes'>; zeroed?: number };
}

/** The targets on a segment, by address. */
export class FakeSegment {
  readonly targets = new Map<string, FakeTarget[]>();
  at(address: string): FakeTarget[] {
    return this.targets.get(address) ?? [];
  }
}

const format = ({ shelf, slot }: TargetAddress): string => `e${shelf}.${slot}`;

export class FakeWire implements Wire {
  readonly #segment: FakeSegment;
  readonly calls: string[] = [];
  constructor(segment: FakeSegment) {
    this.#segment = segment;
  }

  async survey(address: TargetAddress) {
    const targets = this.#segment.at(format(address));
    const path = (each: FakeTarget) => ({ interfaceName: 'eth0', mac: each.mac });
    return {
      configs: targets.map((each) => ({
        ...path(each),
        ...address,
        error: 0,
        string: stringOf(each),
        bufferCount: 16,
        firmware: 1,
        sectors: 2,
      })),
      identities: targets.map((each) => ({
        ...path(each),
        error: 0,
        identity: { serial: each.serial, firmware: '', model: '', sectors: each.bytes / 512 },
      })),
    };
  }

  async configs(address: TargetAddress) {
    return (await this.survey(address)).configs;
  }

  async acquire(address: TargetAddress, owner: LockOwner, since: string) {
    this.calls.push('acquire');
    const [target] = this.#segment.at(format(address));
    if (!target) return { outcome: 'unanswered' } as const;
    if (target.otherString) return { outcome: 'occupied', holder: { lock: undefined, raw: target.otherString } } as const;
    if (target.holder && target.holder.node !== owner.node)
      return { outcome: 'occupied', holder: { lock: target.holder, raw: '' } } as const;
    target.holder = { ...owner, since };
    return { outcome: 'held', lock: target.holder, raw: 'raw' } as const;
  }

  async release(address: TargetAddress, owner: LockOwner) {
    this.calls.push('release');
    const [target] = this.#segment.at(format(address));
    if (!target) return { outcome: 'unanswered' } as const;
    if (target.holder?.node === owner.node && target.holder.nodeUID === owner.nodeUID) delete target.holder;
    return { outcome: 'released' } as const;
  }
}

function stringOf({ holder, otherString }: FakeTarget): Uint8Array {
  return holder ? formatLock(holder) : new TextEncoder().encode(otherString ?? '');
}

/** What the fake kernel knows of a disk. `busy`: an exclusive user has it; `openedBy`: programs that merely have it open. */
interface KnownDisk {
  serial: string;
  disk: Disk;
  state: DiskState;
  busy: boolean;
  openedBy: string[];
  /** Absent: this kernel does not tell. */
  madeAt?: number;
}

/** A kernel that knows the disks that answered a discovery, and does not notice when they change. */
export class FakeDriver implements Driver {
  readonly #segment: FakeSegment;
  readonly known = new Map<string, KnownDisk>();
  /** The open mapping of a disk, by address: see FakeEncryption. */
  readonly mapped = new Map<string, Mapping>();
  readonly flushed: string[] = [];
  readonly cacheDropped: string[] = [];
  prepared: readonly string[] = [];
  /** It does not take new sizes. */
  deaf = false;
  /** The mount table: a mounted disk is claimed. */
  mounts: () => readonly MountPoint[] = () => [];
  #minor = 0;

  constructor(segment: FakeSegment) {
    this.#segment = segment;
  }

  async prepare(names: readonly string[]): Promise<void> {
    this.prepared = names;
  }

  async attach(address: string): Promise<Disk | undefined> {
    const [target] = this.#segment.at(address);
    if (target && !this.known.has(address)) {
      this.#minor += 16;
      const disk = { path: `/dev/etherd/${address}`, device: `152:${this.#minor}`, bytes: target.bytes };
      this.known.set(address, { serial: target.serial, disk, state: 'up', busy: false, openedBy: [] });
    }
    return this.disk(address);
  }

  async grow(address: string, { bytes }: { bytes: number }): Promise<Disk | undefined> {
    const [known, [target]] = [this.known.get(address), this.#segment.at(address)];
    if (!known || !target || this.deaf) return undefined;
    known.disk = { ...known.disk, bytes: target.bytes };
    return target.bytes >= bytes ? known.disk : undefined;
  }

  async serial(address: string): Promise<string> {
    return this.known.get(address)?.serial ?? '';
  }
  async state(address: string): Promise<DiskState> {
    return this.known.get(address)?.state ?? 'absent';
  }
  async disk(address: string): Promise<Disk | undefined> {
    return this.known.get(address)?.disk;
  }
  async disks(): Promise<string[]> {
    return [...this.known.keys()];
  }
  async dropCache(address: string): Promise<void> {
    this.cacheDropped.push(address);
  }
  async madeAt(address: string): Promise<number | undefined> {
    return this.known.get(address)?.madeAt;
  }
  async isClaimed(address: string): Promise<boolean> {
    const known = this.known.get(address);
    return (
      known !== undefined && (known.busy || this.mapped.has(address) || this.mounts().some((each) => each.device === known.disk.device))
    );
  }
  async stack(address: string): Promise<string[]> {
    const known = this.known.get(address);
    return [...(known ? [known.disk.device] : []), ...[this.mapped.get(address)].flatMap((each) => each?.device ?? [])];
  }
  async openers(address: string): Promise<string[]> {
    const mapped = this.mapped.get(address);
    return [
      ...(this.known.get(address)?.openedBy ?? []),
      ...(mapped ? [`/dev/${mapped.node} (a device that is stacked on the disk)`] : []),
    ];
  }
  async flush(address: string): Promise<void> {
    const known = this.known.get(address);
    if (known && (known.openedBy.length > 0 || known.state === 'closewait' || (await this.isClaimed(address))))
      throw new Error('kernel: use after free, an open disk was flushed');
    this.flushed.push(address);
    this.known.delete(address);
  }
}

export class FakeMounter implements Mounter {
  readonly #driver: FakeDriver;
  mounts: MountPoint[] = [];
  #id = 0;
  readonly calls: string[] = [];
  /** Targets whose unmount fails as busy. */
  readonly stuck = new Set<string>();

  constructor(driver: FakeDriver) {
    this.#driver = driver;
    driver.mounts = () => this.mounts;
  }

  #nextId(): string {
    return String(++this.#id);
  }

  async list(): Promise<MountPoint[]> {
    return [...this.mounts];
  }

  async mount(source: string, target: string, { type, options }: { type?: string; options: readonly string[] }): Promise<void> {
    this.calls.push(`mount ${[...options].join(',')} ${source} ${target}`);
    const readOnly = options.includes('ro') ? 'ro' : 'rw';
    const devices = [...[...this.#driver.known.values()].map(({ disk }) => disk), ...this.#driver.mapped.values()];
    const known = devices.find(({ path }) => path === source);
    const below = mountAt(this.mounts, source);
    if (options.includes('remount')) {
      this.mounts = this.mounts.map((each) => (each.target === target ? { ...each, options: [readOnly] } : each));
    } else if (below) {
      this.mounts.push({ ...below, id: this.#nextId(), target, options: [readOnly] });
    } else if (options.includes('bind')) {
      this.mounts.push({
        id: this.#nextId(),
        device: '0:5',
        root: source.replace('/dev', ''),
        target,
        options: [readOnly],
        type: 'devtmpfs',
        source: 'devtmpfs',
        superOptions: [],
      });
    } else {
      this.mounts.push({
        id: this.#nextId(),
        device: known?.device ?? '0:0',
        root: '/',
        target,
        options: [readOnly],
        type: type ?? '',
        source,
        superOptions: [readOnly],
      });
    }
  }

  async unmount(target: string, { lazy = false }: { lazy?: boolean } = {}): Promise<void> {
    this.calls.push(`umount${lazy ? ' -l' : ''} ${target}`);
    if (this.stuck.has(target) && !lazy)
      throw new RpcError(Code.INTERNAL, `unmount of ${target} failed, it is still mounted: target is busy`);
    const index = this.mounts.findLastIndex((each) => each.target === target);
    if (index >= 0) this.mounts.splice(index, 1);
  }
}

export class FakeVolumeClient implements VolumeClient {
  readonly items = new Map<string, AoEVolume>();

  async get(name: string): Promise<AoEVolume | undefined> {
    return structuredClone(this.items.get(name));
  }

  async record({ metadata }: AoEVolume, status: object, _signal?: AbortSignal, isStillValid?: (now: AoEVolume) => boolean): Promise<void> {
    const volume = this.items.get(metadata.name);
    if (!volume || volume.metadata.uid !== metadata.uid) throw new RpcError(Code.INTERNAL, 'conflict');
    if (isStillValid?.(volume) === false) throw new RpcError(Code.ABORTED, 'given to another');
    volume.status = mergePatch({ ...volume.status, ...status });
  }
}

/** Without what is null. A field of the status is always written whole, but for what was taken away. */
function mergePatch<T extends object>(fields: T): T {
  const kept = Object.entries(fields).filter(([, value]) => value !== null);
  return Object.fromEntries(kept.map(([key, value]) => [key, isPlain(value) ? mergePatch(value) : value])) as T;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const DIRECTORIES: string[] = [];
process.once('exit', () => {
  for (const directory of DIRECTORIES) rmSync(directory, { recursive: true, force: true });
});

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** A node with one volume, `v1` at e7.3, whose disk is empty. */
export class FakeNode {
  readonly segment = new FakeSegment();
  readonly wire = new FakeWire(this.segment);
  readonly driver = new FakeDriver(this.segment);
  readonly mounter = new FakeMounter(this.driver);
  readonly filesystems = new FakeFilesystems(this.segment);
  readonly encryption = new FakeEncryption(this.segment, this.driver);
  readonly volumes = new FakeVolumeClient();
  readonly directory = mkdtempSync(join(tmpdir(), 'aoe-node-'));
  /** What the end of a freeze does. */
  endFreeze: (volumeId: string, why: string) => Promise<void> = async () => {};
  /** Addresses of the disks that were given to RemovedDisks. */
  readonly removed: string[] = [];
  /** Addresses at which this program was to end its own use of the file system. */
  readonly ownUseEnded: string[] = [];
  /** As LocalDisk calls it. */
  endOwnUse: (address: string) => Promise<void> = async () => {};
  /** Bytes that a run that gives free space back has taken. */
  reclaiming: (address: string) => number = () => 0;
  readonly deps: Deps;
  readonly target: FakeTarget;

  constructor(nodeName = 'worker-1') {
    DIRECTORIES.push(this.directory);
    this.target = { serial: 'S1', bytes: 64 << 20, mac: '02:00:00:00:00:01', content: { kind: 'nothing' }, blank: true };
    this.segment.targets.set('e7.3', [this.target]);
    this.volumes.items.set('v1', {
      apiVersion: 'aoe.dev/v1alpha1',
      kind: 'AoEVolume',
      metadata: { name: 'v1', uid: 'uid-1' },
      spec: {
        access: 'Exclusive',
        pool: 'p',
        capacity: '64Mi',
        address: { shelf: 7, slot: 3 },
        initiators: { nodes: [nodeName] },
        deletionPolicy: 'Delete',
      },
    });
    this.deps = {
      nodeName,
      nodeUID: `uid-of-${nodeName}`,
      driver: this.driver,
      localDisk: (address) => {
        const endOwnUse = async (at: string): Promise<void> => {
          this.ownUseEnded.push(at);
          await this.endOwnUse(at);
        };
        const { driver, encryption, mounter } = this;
        return new LocalDisk({ driver, encryption, mounter, endOwnUse, log: silent, settleMs: 0 }, address);
      },
      encryption: this.encryption,
      filesystems: this.filesystems,
      mounter: this.mounter,
      wire: this.wire,
      volumes: this.volumes,
      staged: new StagedVolumes(join(this.directory, 'volumes')),
      removedDisks: { add: (_volumeId, address) => this.removed.push(address), cancel: async () => {} },
      reclaiming: (address) => this.reclaiming(address),
      freezes: { end: (volumeId, why) => this.endFreeze(volumeId, why) },
      jobs: new VolumeJobs(nodeName),
      interfaces: async () => ['eth0'],
      log: silent,
    };
  }
  /** The node has staged `v1`, with these differences. */
  recordStaged(differences: Partial<StagedVolume> = {}): Promise<void> {
    return this.deps.staged.put('v1', {
      version: 1,
      volumeUID: 'uid-1',
      address: 'e7.3',
      access: 'Exclusive',
      external: false,
      stagingPath: '/staging/v1',
      ...differences,
    });
  }
}
