import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RawSocket } from '../../../aoe/mod.ts';
import { INITIATOR_END, localMac } from '../../../api/local-link.ts';
import { GROUP, VERSION } from '../../../api/meta.ts';
import { NodeCondition } from '../../../api/node.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, API_VERSION, NODES as MACHINES } from '../../../api/resources.ts';
import type { AoEVolume } from '../../../api/volume.ts';
import { sendHeartbeats } from '../../../csi/node/heartbeat/heartbeat.ts';
import { SILENT } from '../../../kube/client/types.ts';
import { type Kube, type KubeObject, setCondition } from '../../../kube/mod.ts';
import { volume } from '../../apiserver/objects.ts';
import { poll } from '../../testbed/process/shell.ts';
import { NODES, type NodeName, STORAGE } from '../model/plan.ts';
import { random } from '../model/random.ts';
import { Rights } from '../model/rights.ts';
import { FakeHost } from './fake-host.ts';
import { Parts } from './parts.ts';
import { Switch } from './switch.ts';

/** The other end of the target's cable. */
const SEGMENT = 'segment0';
const TARGET = 'target0';
const TARGET_MAC = '02:00:5e:00:53:01';
const MTU = 9000;
/** Hosts on the segment. One has jumbo frames, and writes a record in one; the other has not, and needs four. */
const SEGMENT_HOSTS = [
  { name: 'storage-2', mac: '02:00:5e:00:53:0b', mtu: 9000, sectors: 8 },
  { name: 'worker-1', mac: '02:00:5e:00:53:0c', mtu: 1500, sectors: 2 },
] as const satisfies { name: NodeName; mac: string; mtu: number; sectors: number }[];
const VOLUME = 'faults';
const CAPACITY = '2Gi';
/** As in the chart. */
const HEARTBEAT_SECONDS = 5;
/** The shortest that there is. */
const TAKEOVER_AFTER = '20s';
const READY_MS = 30_000;

/**
 * The lab of processes: all our programs are real, and so are API server and etcd. The hosts are fakes in this process, and
 * so is the switch between them and the target. It must run in network and process namespaces of its own: see run-lab.ts.
 */
export class ProcessLab implements AsyncDisposable {
  readonly parts: Parts;
  readonly kube: Kube;
  readonly rights = new Rights();
  readonly hosts = new Map<NodeName, FakeHost>();
  readonly #sockets: RawSocket[] = [];
  readonly #ended = new AbortController();
  readonly #pool: string;
  #volume: AoEVolume | undefined;

  private constructor(parts: Parts, pool: string) {
    this.parts = parts;
    this.kube = parts.api.kube();
    this.#pool = pool;
  }

  /** @param seed decides what the weather does to which frame */
  static async start(seed: number): Promise<ProcessLab> {
    const directory = join(tmpdir(), 'lab');
    mkdirSync(directory);
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', TARGET, 'address', TARGET_MAC, 'mtu', `${MTU}`, 'type', 'veth', 'peer', 'name', SEGMENT, 'mtu', `${MTU}`);
    for (const name of [TARGET, SEGMENT]) ip('link', 'set', name, 'up');
    const lab = new ProcessLab(await Parts.start(directory), join(directory, 'pool'));
    try {
      await lab.parts.startPrograms();
      lab.#makeHosts(seed);
      await lab.#makeObjects();
      await lab.#makeVolume();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  get volume(): { name: string; uid: string; address: { shelf: number; slot: number }; serial: string; bytes: number; file: string } {
    const { metadata, spec, status } = this.#volume ?? {};
    const { name = '', uid = '' } = metadata ?? {};
    const address = spec?.address ?? { shelf: 0, slot: 0 };
    return { name, uid, address, serial: status?.serial ?? '', bytes: 2 * 1024 ** 3, file: join(this.#pool, `${uid}.img`) };
  }

  host(name: NodeName): FakeHost {
    const host = this.hosts.get(name);
    if (!host) throw new Error(`there is no host ${name}`);
    return host;
  }

  /** Registers a node, as its kubelet and its node plugin do. */
  async addNode(name: NodeName): Promise<void> {
    const labels = { 'aoe.dev/segment': 'default' };
    const machine = { apiVersion: 'v1', kind: MACHINES.kind, metadata: { name, labels } };
    const node = await this.kube.apply<KubeObject>(MACHINES, machine, { fieldManager: 'kubelet', force: true });
    const options = { fieldManager: 'aoe-csi-node', force: true };
    const object = { apiVersion: `${GROUP}/${VERSION}`, kind: AOE_NODES.kind, metadata: { name } };
    await this.kube.apply(AOE_NODES, { ...object, spec: { maintenance: false } } as never, options);
    const { mac, mtu } = SEGMENT_HOSTS.find((each) => each.name === name) ?? { mac: TARGET_MAC, mtu: MTU };
    const ready = { type: NodeCondition.InitiatorReady, status: 'True', reason: 'DriverLoaded', message: 'a fake host' } as const;
    const status = {
      segment: 'default',
      interfaces: [{ name: 'eth0', mac, mtu }],
      heartbeatSeconds: HEARTBEAT_SECONDS,
      conditions: [setCondition([], ready)],
    };
    await this.kube.apply(AOE_NODES, { ...object, status } as never, { ...options, subresource: 'status' });
    this.host(name).uid = node.metadata.uid ?? '';
  }

  async #makeObjects(): Promise<void> {
    for (const name of NODES) await this.addNode(name);
    const pool = { apiVersion: API_VERSION, kind: AOE_POOLS.kind, metadata: { name: 'default' } };
    await this.kube.create(AOE_POOLS, { ...pool, spec: { backend: 'file', directory: this.#pool } } as never);
  }

  #makeHosts(seed: number): void {
    const carrier = new Switch(this.rights, random(seed ^ 0x5eed));
    const open = (name: string): RawSocket => {
      const socket = RawSocket.open(name, { everything: true });
      this.#sockets.push(socket);
      return socket;
    };
    const segment = open(SEGMENT);
    for (const { name, mac, sectors } of SEGMENT_HOSTS) this.hosts.set(name, new FakeHost(name, carrier.connect(mac, segment), sectors));
    // The storage node itself reaches its target over the pair that its agent has made.
    this.hosts.set(STORAGE, new FakeHost(STORAGE, carrier.connect(localMac(STORAGE), open(INITIATOR_END)), 8));
    const options = { everySeconds: HEARTBEAT_SECONDS, interfaces: async () => ['eth0'], log: SILENT };
    for (const host of this.hosts.values()) void sendHeartbeats({ ...options, open: () => host.heartbeats() }, this.#ended.signal);
  }

  async #makeVolume(): Promise<void> {
    await this.kube.create(AOE_VOLUMES, volume(VOLUME, { capacity: CAPACITY, nodeName: STORAGE, takeoverAfter: TAKEOVER_AFTER }));
    const ready = async () => {
      const found = await this.kube.get<AoEVolume>(AOE_VOLUMES, VOLUME);
      return found?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ? found : undefined;
    };
    const explain = async () => JSON.stringify(await this.kube.get(AOE_VOLUMES, VOLUME), null, 1);
    this.#volume = await poll(ready, { timeoutMs: READY_MS, intervalMs: 20, what: 'the volume to be Ready', explain });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    for (const host of this.hosts.values()) host.forget();
    for (const socket of this.#sockets) socket.close();
    await this.parts[Symbol.asyncDispose]();
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args);
}
