import type { AoENode } from '../../../api/node.ts';
import { API_VERSION } from '../../../api/resources.ts';
import { type AoEVolume, type AoEVolumeSpec, VOLUME_FINALIZER } from '../../../api/volume.ts';
import { type Condition, KubeError, TimeoutError } from '../../../kube/mod.ts';
import { csi } from '../../../rpc/mod.ts';
import { BusyVolumes } from '../../busy-volumes.ts';
import type { Call, Deps } from '../deps.ts';

export const { Mode } = csi.v1.VolumeCapability.AccessMode;
export const mount = { mount: { fsType: '' }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } };
export const block = { block: {}, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } };

/** A call that nobody cancels, and that may take 20 s. */
export const call = (): Call => ({ signal: new AbortController().signal, deadline: Date.now() + 20_000 });

/** Volume `v`, which has its place on node `storage`. */
export function placedVolume({ spec = {}, metadata = {} }: { spec?: Partial<AoEVolumeSpec>; metadata?: object } = {}): AoEVolume {
  return {
    apiVersion: API_VERSION,
    kind: 'AoEVolume',
    metadata: { name: 'v', uid: 'u', generation: 1, resourceVersion: '1', finalizers: [VOLUME_FINALIZER], ...metadata },
    spec: {
      access: 'Exclusive',
      initiators: {},
      deletionPolicy: 'Delete',
      nodeName: 'storage',
      address: { shelf: 7, slot: 3 },
      ...spec,
    },
  };
}

/** A watch that shows one volume as it is, and nothing more afterwards. */
export const watchOf = (volume: () => AoEVolume) => ({
  waitFor: async (_name: string, ask: (object: AoEVolume) => unknown) => {
    const answer = ask(volume());
    if (answer === undefined) throw new TimeoutError('nothing more');
    return answer;
  },
});

/** An API server with one volume, `v`, and a target that does at once what the spec says. */
export class FakeCluster {
  volume: AoEVolume | undefined;
  /** How many of the next patches fail, because somebody else wrote first. */
  conflicts = 0;
  /** The volume is deleted just before the next patch. */
  deletedMeanwhile = false;
  patches = 0;
  readonly events: string[] = [];
  /** Volumes beside the one. */
  others: AoEVolume[] = [];
  /** Volumes that the API server has, and the watch has not shown. */
  unseen: AoEVolume[] = [];
  /** Every Node. */
  kubeNode: object | undefined;
  /** Conditions of every AoENode. */
  nodeConditions: Condition[] = [];

  constructor(spec: Partial<AoEVolumeSpec> = {}) {
    this.volume = { ...placedVolume({ spec }), status: { serial: 'S' } };
  }

  get nodes(): string[] | undefined {
    return this.volume?.spec.initiators.nodes;
  }

  get deps(): Deps {
    const node = (name: string): AoENode | undefined =>
      name === 'stranger'
        ? undefined
        : {
            apiVersion: API_VERSION,
            kind: 'AoENode',
            metadata: { name },
            spec: { maintenance: false },
            status: { conditions: this.nodeConditions },
          };
    return {
      kube: {
        get: async ({ kind }: { kind: string }, name: string) =>
          kind === 'Node' ? this.kubeNode && { metadata: { name }, ...this.kubeNode } : name === 'v' ? this.volume : undefined,
        list: async () => ({ items: [...this.others, ...this.unseen], resourceVersion: '' }),
        patch: this.#patch,
      },
      events: { event: (_object: unknown, _type: string, reason: string, message: string) => this.events.push(`${reason}: ${message}`) },
      volumes: {
        waitFor: async (_name: string, ask: (object: AoEVolume | undefined) => unknown) => ask(this.#seen()),
        list: () => [...(this.volume ? [this.volume] : []), ...this.others],
      },
      nodes: { get: node },
      health: {},
      busy: new BusyVolumes(),
      log: { warn() {} },
    } as unknown as Deps;
  }

  readonly #patch = async (_type: unknown, _name: string, { spec }: { spec: { initiators: { nodes: string[] | null } } }) => {
    this.patches++;
    if (this.deletedMeanwhile) this.volume = undefined;
    if (!this.volume) throw new KubeError(404, 'NotFound', 'no such volume');
    if (this.conflicts-- > 0) throw new KubeError(409, 'Conflict', 'changed meanwhile');
    const { nodes } = spec.initiators;
    const generation = (this.volume.metadata.generation ?? 0) + 1;
    this.volume = {
      ...this.volume,
      metadata: { ...this.volume.metadata, generation },
      spec: { ...this.volume.spec, initiators: nodes ? { nodes } : {} },
    };
    return this.volume;
  };

  #seen(): AoEVolume | undefined {
    if (!this.volume) return undefined;
    const observedGeneration = this.volume.metadata.generation ?? 0;
    return { ...this.volume, status: { ...this.volume.status, initiators: { observedGeneration, nodes: this.nodes ?? [] } } };
  }
}
