import { join } from 'node:path';
import { aoeVolume } from '../e2e/manifests.ts';
import type { Cluster } from '../testbed/cluster.ts';
import { runInNetns } from '../testbed/process/shell.ts';

/** The node of the pod that reads and writes. */
export const WORKER = 'worker-1';
const DEADSECS = '/sys/module/aoe/parameters/aoe_deadsecs';
const LABEL = 'e2e.aoe.dev/monitoring';
/** The bridge of the segment: a host that is no node. */
const BRIDGE = 'storage';

/** The volume of the pod that reads and writes all the time. */
export interface Busy {
  readonly volume: string;
  /** The storage node that has its data, and the other one. */
  readonly node: string;
  readonly other: string;
  /** Device-mapper name of its logical volume. */
  readonly mapped: string;
}

/** Something that goes wrong on the bed, and the alerts that it is to make fire: some labels of each, with its name. */
export interface Fault {
  readonly what: string;
  readonly fires: readonly (Readonly<Record<string, string>> & { readonly alertname: string })[];
  /** How long that may take, in milliseconds, where it is longer than usual. */
  readonly withinMs?: number;
  readonly cause: () => Promise<unknown>;
  /** Called also where `cause` failed halfway. */
  readonly cure: () => Promise<unknown>;
}

const pool = (name: string, spec: object) => ({ apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEPool', metadata: { name }, spec });
const onHost = (node: string) => ({ nodeSelector: { 'kubernetes.io/hostname': node } });

/** The faults that can be made on the bed without a reboot. Those of one group do not disturb one another, and are there together. */
export class Faults {
  readonly #cluster: Cluster;
  readonly #busy: Busy;
  readonly #use: (name: string) => Promise<string>;
  #looks = 0;
  /** What a cure needs, by the name of its fault. */
  readonly #kept = new Map<string, string>();

  /**
   * @param use starts a StatefulSet of this name on {@link WORKER}, and gives the storage node of its volume: only pods with a controller are
   * deleted in a takeover
   */
  constructor(cluster: Cluster, busy: Busy, use: (name: string) => Promise<string>) {
    this.#cluster = cluster;
    this.#busy = busy;
    this.#use = use;
  }

  get #data(): string {
    return this.#busy.node;
  }
  get #other(): string {
    return this.#busy.other;
  }

  #on(node: string, script: string): Promise<string> {
    return this.#cluster.guest(node).exec(script);
  }

  /** Lets agents measure their pools now, and not within a minute. */
  async look(): Promise<void> {
    await this.#cluster.kubectl(['label', 'node', this.#data, this.#other, '--overwrite', `${LABEL}=${++this.#looks}`]);
  }

  async #volume(name: string, spec: Record<string, unknown>): Promise<{ uid: string; shelf: string; slot: string }> {
    await this.#cluster.apply([aoeVolume(name, { capacity: '4Mi', pool: 'lvm', ...spec })]);
    await this.#cluster.kubectl(['wait', 'aoev', name, '--for=condition=Ready', '--timeout=60s']);
    const { metadata, status } = await this.#cluster.getJson('aoev', name);
    const [shelf = '', slot = ''] = status.address.slice(1).split('.');
    return { uid: metadata.uid, shelf, slot };
  }

  async #delete(kind: string, ...names: string[]): Promise<string> {
    // As long as spec.initiators names a node, its volume counts as in use, and stays.
    const nobody = '{"spec":{"initiators":{"nodes":null,"macs":null}}}';
    if (kind === 'aoev')
      for (const name of names) await this.#cluster.kubectl(['patch', kind, name, '--type=merge', '-p', nobody]).catch(() => '');
    return this.#cluster.kubectl(['delete', kind, ...names, '--ignore-not-found', '--timeout=60s']);
  }

  /** Sends so many reads from a host that is no node, over so many seconds: a rate is seen only when a counter grows between two scrapes. */
  async #read({ shelf, slot }: { shelf: string; slot: string }, count: number, seconds: number): Promise<void> {
    const mac = (await this.#on(this.#data, 'cat /sys/class/net/vec0/address')).trim();
    const frames = join(import.meta.dirname, 'frames.ts');
    await runInNetns(process.execPath, [frames, BRIDGE, mac, shelf, slot, `${count}`, `${seconds}`]);
  }

  /** Objects that cannot be, and space that runs out. */
  objectsAndSpace(): Fault[] {
    const tiny = 'mon-tiny';
    const directory = '/var/lib/aoe-csi/pools/mon-file';
    const orphan = '00000000-0000-4000-8000-00000000dead';
    const lvcreate = (uid: string, name: string) =>
      `lvcreate -qq -y -an -Zn -Wn -L 4M -n aoe-${uid} --addtag aoe.dev --addtag aoe.dev/pool=lvm --addtag aoe.dev/volume=${name} vg0`;
    return [
      {
        what: 'a volume in a pool that there is not',
        fires: [{ alertname: 'AoEVolumesFailed', reason: 'NoSuchPool' }],
        cause: () => this.#cluster.apply([aoeVolume('mon-nowhere', { capacity: '4Mi', pool: 'mon-nowhere' })]),
        cure: () => this.#delete('aoev', 'mon-nowhere'),
      },
      {
        what: 'a volume in a pool that selects no node',
        fires: [{ alertname: 'AoEVolumesPending', reason: 'NoEligibleNode' }],
        cause: () =>
          this.#cluster.apply([
            pool('mon-nodeless', { backend: 'lvm', volumeGroup: 'vg0', nodeSelector: { [LABEL]: 'none' } }),
            aoeVolume('mon-waits', { capacity: '4Mi', pool: 'mon-nodeless' }),
          ]),
        cure: () => this.#delete('aoev', 'mon-waits').then(() => this.#delete('aoep', 'mon-nodeless')),
      },
      {
        what: 'the directory of a pool is gone',
        fires: [{ alertname: 'AoEPoolNotReady', pool: 'mon-file' }],
        cause: async () => {
          await this.#cluster.apply([pool('mon-file', { backend: 'file', directory, ...onHost(this.#other) })]);
          await this.#volume('mon-in-file', { pool: 'mon-file' });
          await this.#on(this.#other, `mv ${directory} ${directory}.away`);
        },
        // The pool is well before it goes, so that its alert ends because of that.
        cure: () => this.#on(this.#other, `[ ! -d ${directory}.away ] || { rm -rf ${directory}; mv ${directory}.away ${directory}; }`),
      },
      {
        what: 'somebody else takes nearly all of a volume group',
        fires: [{ alertname: 'AoEPoolNearlyFull', pool: 'lvm' }],
        cause: async () => {
          await this.#volume('mon-large', { nodeName: this.#data, capacity: '256Mi' });
          const left = 'lvcreate -qq -y -an -Zn -Wn -l $(( $(vgs --noheadings -o vg_free_count vg0) - 4 )) -n mon-filler vg0';
          await this.#on(this.#data, left);
        },
        cure: async () => {
          await this.#on(this.#data, 'lvremove -qq -y vg0/mon-filler');
          await this.#delete('aoev', 'mon-large');
        },
      },
      {
        what: 'a thin pool of which more is promised than it has is written full',
        fires: [
          { alertname: 'AoEThinPoolFilling', pool: tiny, part: 'data' },
          { alertname: 'AoEThinPoolNearlyFull', pool: tiny, part: 'data' },
        ],
        cause: async () => {
          await this.#on(
            this.#other,
            `lvcreate -qq -y --type thin-pool -L 32M --poolmetadatasize 4M -n ${tiny} vg0
             lvcreate -qq -y -Wn -T vg0/${tiny} -V 36M -n mon-thin
             dd if=/dev/zero of=/dev/vg0/mon-thin bs=1M count=31 oflag=direct 2>/dev/null`,
          );
          await this.#cluster.apply([pool(tiny, { backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: tiny, ...onHost(this.#other) })]);
        },
        cure: () => this.#on(this.#other, 'lvremove -qq -y vg0/mon-thin'),
      },
      {
        what: 'a backing volume whose AoEVolume is gone',
        fires: [{ alertname: 'AoEOrphanedData', pool: 'lvm' }],
        cause: () => this.#on(this.#data, lvcreate(orphan, 'mon-gone')),
        cure: () => this.#on(this.#data, `lvremove -qq -y vg0/aoe-${orphan}`),
      },
      {
        what: 'a backing volume whose AoEVolume is on another node',
        fires: [{ alertname: 'AoEDisplacedData', pool: 'lvm' }],
        cause: async () => {
          const { uid } = await this.#volume('mon-elsewhere', { nodeName: this.#other });
          this.#kept.set('displaced', uid);
          await this.#on(this.#data, lvcreate(uid, 'mon-elsewhere'));
        },
        cure: async () => {
          await this.#on(this.#data, `lvremove -qq -y vg0/aoe-${this.#kept.get('displaced')}`);
          await this.#delete('aoev', 'mon-elsewhere');
        },
      },
    ];
  }

  /** What {@link objectsAndSpace} needs no more once its alerts have resolved. */
  async tidy(): Promise<void> {
    await this.#delete('aoev', 'mon-in-file');
    await this.#delete('aoep', 'mon-file', 'mon-tiny');
    await this.#on(this.#other, 'lvremove -qq -y vg0/mon-tiny || true; rm -rf /var/lib/aoe-csi/pools/mon-file*');
    await this.#cluster.kubectl(['label', 'node', this.#data, this.#other, `${LABEL}-`]);
  }

  /** Hosts that do what they may not. */
  hosts(): Fault[] {
    return [
      {
        what: 'a host that is not admitted reads',
        fires: [{ alertname: 'AoEHostRefused', volume: 'mon-masked' }],
        cause: async () => this.#read(await this.#volume('mon-masked', { nodeName: this.#data, initiators: { nodes: [WORKER] } }), 60, 15),
        cure: () => this.#delete('aoev', 'mon-masked'),
      },
      {
        what: 'a host sends more than its volume may do in ten seconds',
        fires: [{ alertname: 'AoERequestsDropped', volume: 'mon-limited' }],
        cause: async () => {
          const mac = (await runInNetns('cat', [`/sys/class/net/${BRIDGE}/address`])).trim();
          const limited = { nodeName: this.#data, initiators: { macs: [mac] }, limits: { iops: 10 } };
          await this.#read(await this.#volume('mon-limited', limited), 1000, 15);
        },
        cure: () => this.#delete('aoev', 'mon-limited'),
      },
    ];
  }

  /** A target that stands still, and later has more to read than its ring holds. */
  target(): Fault[] {
    return [
      {
        what: 'the target stands still while a host floods it',
        fires: [{ alertname: 'AoETargetDown' }, { alertname: 'AoEFramesLost', where: 'receive_ring' }, { alertname: 'AoEHostFloods' }],
        cause: async () => {
          // Twice: a rate is seen only of a counter that was there before.
          const stop = 'pkill -STOP -x aoe-target; sleep 14; pkill -CONT -x aoe-target';
          const flood = this.#read({ shelf: '999', slot: '9' }, 100_000, 45);
          await this.#on(this.#data, `${stop}; sleep 8; ${stop}`);
          await flood;
        },
        cure: () => this.#on(this.#data, 'pkill -CONT -x aoe-target'),
      },
    ];
  }

  /** A disk that hangs, and answers late. */
  slowDisk(): Fault[] {
    const { volume, mapped } = this.#busy;
    return [
      {
        what: 'a disk hangs for two seconds again and again while a pod uses it',
        fires: [
          { alertname: 'AoEBackingDiskSlow', volume },
          { alertname: 'AoERequestsSlow', volume },
        ],
        cause: async () => {
          // In between there are so few requests that more than one in a hundred is slow.
          const hang = `dmsetup suspend '${mapped}'; sleep 2; dmsetup resume '${mapped}'; sleep 0.1`;
          await this.#on(this.#data, `for i in $(seq 24); do ${hang}; done`);
        },
        cure: () => this.#on(this.#data, `dmsetup resume '${mapped}'`),
      },
    ];
  }

  /** A disk that gives errors. */
  brokenDisk(): Fault[] {
    const { volume, mapped } = this.#busy;
    const load = (table: string) => `dmsetup suspend '${mapped}'; dmsetup load '${mapped}' --table "${table}"; dmsetup resume '${mapped}'`;
    return [
      {
        what: 'a disk gives errors while a pod uses it',
        fires: [{ alertname: 'AoEBackingDiskErrors', volume }],
        cause: async () => {
          const table = (await this.#on(this.#data, `dmsetup table '${mapped}'`)).trim();
          this.#kept.set('table', table);
          await this.#on(this.#data, load(`0 ${table.split(' ')[1]} error`));
        },
        cure: () => this.#on(this.#data, load(this.#kept.get('table') ?? '')),
      },
    ];
  }

  /** A segment that is cut for longer than a node's kernel waits. */
  segment(): Fault[] {
    const { volume } = this.#busy;
    return [
      {
        what: 'the cable of a storage node is out for longer than aoe_deadsecs',
        fires: [{ alertname: 'AoEDiskDown', volume }],
        cause: async () => {
          await this.#on(WORKER, `echo 10 > ${DEADSECS}`);
          this.#cluster.guest(this.#data).setStorageLink('down');
        },
        cure: async () => {
          this.#cluster.guest(this.#data).setStorageLink('up');
          await this.#on(WORKER, `echo 180 > ${DEADSECS}`);
        },
      },
    ];
  }

  /** A node that is lost, while the target that could have heard it does not answer. */
  takeoverHeld(): Fault[] {
    return [
      {
        what: `${WORKER} crashes, and the target of its volume does not answer`,
        fires: [{ alertname: 'AoETakeoverHeld', node: WORKER, reason: 'NoEvidence' }],
        cause: async () => {
          const storage = await this.#use('mon-held');
          this.#kept.set('silent', storage);
          await this.#on(storage, 'pkill -STOP -x aoe-target');
          await this.#cluster.guest(WORKER).crash();
        },
        cure: async () => {
          const storage = this.#kept.get('silent');
          if (storage) await this.#on(storage, 'pkill -CONT -x aoe-target');
          await this.#cluster.restore();
        },
      },
    ];
  }

  /** A node that is lost. */
  takeover(): Fault[] {
    return [
      {
        what: `${WORKER} crashes`,
        fires: [{ alertname: 'AoETakeover' }],
        cause: async () => {
          await this.#use('mon-taken');
          await this.#cluster.guest(WORKER).crash();
        },
        cure: () => this.#cluster.restore(),
      },
    ];
  }

  /** An operator that may not write. */
  rights(): Fault[] {
    const role = 'aoe-csi-operator';
    return [
      {
        what: 'somebody takes rights from the operator',
        fires: [{ alertname: 'AoEReconcilesFail', controller: 'volumes' }],
        cause: async () => {
          const { rules, ...rest } = await this.#cluster.getJson('clusterrole', role);
          this.#kept.set('role', JSON.stringify(rules));
          const without = rules
            .map((rule: { verbs: string[] }) => ({ ...rule, verbs: rule.verbs.filter((verb) => verb !== 'patch') }))
            .filter(({ verbs }: { verbs: string[] }) => verbs.length > 0);
          await this.#cluster.kubectl(['replace', '-f', '-'], { input: JSON.stringify({ ...rest, rules: without }) });
          await this.#cluster.apply([aoeVolume('mon-forbidden', { capacity: '4Mi', pool: 'lvm' })]);
        },
        cure: async () => {
          const rules = this.#kept.get('role');
          if (rules) await this.#cluster.kubectl(['patch', 'clusterrole', role, '--type=merge', '-p', `{"rules":${rules}}`]);
          await this.#delete('aoev', 'mon-forbidden');
        },
      },
    ];
  }
}
