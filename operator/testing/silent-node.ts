import type { KubeNode } from '../../api/kube-node.ts';
import type { AoENode, AoENodeStatus } from '../../api/node.ts';
import { AOE_VOLUMES, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { parseTakeoverAfter } from '../../api/takeover/after.ts';
import { type AoEVolume, takenFrom } from '../../api/volume.ts';
import type { KubeObject } from '../../kube/mod.ts';
import { FakeApi } from '../../kube/testing/fake-api.ts';
import { createLog } from '../../run/log.ts';
import { TakeoverReconciler } from '../takeover/reconciler.ts';

const signal = new AbortController().signal;
const log = createLog('test', 'silent');

/** Storage nodes s1 and s2, and workers w1 and w2, of which w1 uses the volumes. */
export class SilentNode {
  readonly api = new FakeApi();
  now = 1_000_000;
  /** For how long the targets have not heard w1. */
  readonly silentSeconds: Record<string, number> = { s1: 60, s2: 60 };
  /** Force-deletions of pods, as name and grace period. */
  readonly deleted: [string, number | undefined][] = [];
  /** AoEVolumes whose data the storage node does not find. */
  readonly missing = new Set<string>();
  /** Called at each deletion, before it has an effect. */
  check: (kind: string, name: string) => void = () => {};
  /** Called before each patch of an AoEVolume by the operator. */
  beforeWrite: (name: string) => Promise<unknown> | undefined = () => undefined;
  readonly #afterMs: number | undefined;
  #operator: TakeoverReconciler;

  /** @param after the cluster's value */
  constructor({ after = '30s' }: { after?: string } = {}) {
    this.#afterMs = parseTakeoverAfter(after);
    this.#operator = this.#start();
    for (const name of ['s1', 's2', 'w1', 'w2']) {
      const conditions = name.startsWith('s') ? [{ type: 'TargetReady', status: 'True' }] : [];
      this.api.put({ kind: 'AoENode', metadata: { name }, status: { heartbeatSeconds: 5, conditions } } as never);
      this.ready(name, true);
    }
  }

  /** Another process leads now. */
  restart(): void {
    this.#operator = this.#start();
    for (const node of this.api.all<KubeNode>('Node')) this.#operator.note({ type: 'applied', object: node });
  }

  #start(): TakeoverReconciler {
    const { api } = this;
    const volumes = api.store<AoEVolume>('AoEVolume');
    const kube = {
      get: api.get,
      list: api.list,
      patch: async <T extends KubeObject>(type: { kind: string }, name: string, patch: object, options?: { subresource?: 'status' }) => {
        if (type.kind === AOE_VOLUMES.kind) await this.beforeWrite(name);
        return api.patch<T>(type, name, patch, options);
      },
      delete: async (
        type: { kind: string },
        name: string,
        options: { uid?: string | undefined; gracePeriodSeconds?: number | undefined } = {},
      ) => {
        this.check(type.kind, name);
        if (type.kind === 'Pod') this.deleted.push([name, options.gracePeriodSeconds]);
        return api.delete(type, name, options);
      },
    };
    return new TakeoverReconciler({
      kube,
      volumes,
      nodes: api.store<AoENode>('AoENode'),
      kubeNodes: api.store<KubeNode>('Node'),
      volumesOf: (node) =>
        volumes
          .list()
          .filter(({ spec }) => spec.initiators.nodes?.includes(node))
          .map(({ metadata }) => metadata.name),
      events: api,
      log,
      afterMs: this.#afterMs,
      now: () => this.now,
    });
  }

  ready(name: string, isReady: boolean): void {
    const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'Unknown', lastTransitionTime: '2026-01-01T00:00:00Z' }];
    const object = this.api.put({ kind: 'Node', metadata: { name }, status: { conditions } });
    this.#operator.note({ type: 'applied', object });
  }

  volume(name: string, storage = 's1', spec: object = {}): void {
    const initiators = { nodes: ['w1'] };
    const status = { initiators: { observedGeneration: 1, nodes: ['w1'] } };
    this.api.put({
      kind: 'AoEVolume',
      metadata: { name },
      spec: { access: 'Exclusive', nodeName: storage, initiators, ...spec },
      status,
    } as never);
    this.api.put({
      kind: 'PersistentVolume',
      metadata: { name: `pv-${name}` },
      spec: { csi: { driver: 'aoe.dev', volumeHandle: name } },
    } as never);
    this.api.put({
      kind: 'PersistentVolumeClaim',
      metadata: { name: `claim-${name}`, namespace: 'default' },
      spec: { volumeName: `pv-${name}` },
    } as never);
    this.attach(name, 'w1');
  }

  attach(volume: string, node: string, uid = `va-${volume}`): void {
    const spec = { attacher: 'aoe.dev', nodeName: node, source: { persistentVolumeName: `pv-${volume}` } };
    this.api.put({
      kind: 'VolumeAttachment',
      metadata: { name: `${volume}-${node}`, uid, finalizers: ['attacher'] },
      spec,
      status: { attached: true },
    } as never);
  }

  pod(name: string, volumes: object[], { node = 'w1', uid = `uid-${name}`, ...metadata }: Record<string, unknown> = {}): void {
    const ownerReferences = [{ kind: 'StatefulSet', name: 'set', controller: true }];
    const whole = { name, namespace: 'default', uid, ownerReferences, ...metadata };
    this.api.put({ kind: 'Pod', metadata: whole, spec: { nodeName: node, volumes } } as never);
  }

  /** The agents answer the newest question, if they are asked. */
  answer(...storages: string[]): void {
    const question = this.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion?.question;
    for (const name of storages) {
      const node = this.api.read<AoENode>({ kind: 'AoENode' }, name);
      const entry = { node: 'w1', question: question ?? '', silentSeconds: this.silentSeconds[name] ?? 0, hears: 2, of: 2 };
      const heard: AoENodeStatus['heard'] = question === undefined ? [] : [entry];
      if (node) this.api.put({ ...node, status: { ...node.status, heard } } as never);
    }
  }

  /** The agents enforce what the volumes' specs say, or report that the data of a volume is {@link missing}. */
  enforce(): void {
    for (const volume of this.api.all<AoEVolume>('AoEVolume')) {
      const { name, generation: observedGeneration } = volume.metadata;
      const initiators = { observedGeneration, nodes: volume.spec.initiators.nodes ?? [] };
      const exported = { type: 'Exported', status: 'False', reason: 'NotProvisioned', message: '', observedGeneration };
      const status = this.missing.has(name) ? { conditions: [exported] } : { initiators };
      // A status has no part in the generation.
      void this.api.patch(AOE_VOLUMES, name, { status }, { subresource: 'status' }).catch(() => {});
    }
  }

  /** csi-attacher lets go of VolumeAttachments that are to be deleted. */
  detach(): void {
    for (const { metadata } of this.api.all<KubeObject>('VolumeAttachment'))
      if (metadata.deletionTimestamp) this.api.remove(VOLUME_ATTACHMENTS, metadata.name);
  }

  async reconcile(): Promise<number | undefined> {
    return (await this.#operator.reconcile('w1', signal)).requeueAfterMs;
  }

  get held(): string | undefined {
    return this.#operator.held.get('w1');
  }

  /** Everybody does what is theirs, until the operator has nothing more to do, or for a minute. */
  async run({ storages = ['s1', 's2'] }: { storages?: string[] } = {}): Promise<void> {
    for (let passes = 0; passes < 60; passes++) {
      const ms = await this.reconcile();
      if (ms === undefined) return;
      this.now += Math.min(ms, 1_000);
      this.answer(...storages);
      this.enforce();
      this.detach();
    }
  }

  /** Operator and agents do what is theirs until the node is out of the spec of a volume, and nobody does more yet. */
  async untilTaken(volume: string): Promise<void> {
    for (let passes = 0; this.initiators(volume).length > 0; passes++) {
      if (passes > 120) throw new Error(`AoEVolume ${volume} is not taken`);
      this.now += Math.min((await this.reconcile()) ?? 1_000, 1_000);
      this.answer('s1', 's2');
    }
  }

  initiators(volume: string): readonly string[] {
    return this.api.read<AoEVolume>(AOE_VOLUMES, volume)?.spec.initiators.nodes ?? [];
  }

  left(): string[] {
    const marked = this.api.all<AoEVolume>('AoEVolume').filter((each) => takenFrom(each));
    return [...this.api.all('Pod'), ...this.api.all('VolumeAttachment'), ...marked].map(({ metadata }) => metadata.name);
  }
}

/** A pod's volume whose claim is bound to an AoEVolume. */
export const claim = (volume: string) => ({ name: volume, persistentVolumeClaim: { claimName: `claim-${volume}` } });
