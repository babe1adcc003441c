import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES, NODES, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { type EventRecorder, type Informer, isConflict, isNotFound, type Kube, type KubeObject } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../volume/status.ts';
import type { Machine } from './kube-node.ts';

/** Kubernetes takes its attachments of a deleted node away by itself, after up to six minutes: so often it is looked whether it has. */
const ATTACHED_RETRY_MS = 15_000;
const CONFLICT_RETRY_MS = 1_000;

interface Options {
  readonly kube: Pick<Kube, 'get' | 'list' | 'patch'>;
  readonly volumes: Pick<Informer<AoEVolume>, 'get'>;
  readonly nodes: Pick<Informer<AoENode>, 'get'>;
  readonly machines: Pick<Informer<Machine>, 'get'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly log: Logger;
}

interface Attachment extends KubeObject {
  spec: { attacher: string; nodeName: string };
}

/** Takes nodes that do not exist any more out of spec.initiators, where nothing else does: so their lock goes, too. */
export class GoneNodes {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** One look at one volume. */
  async reconcile(name: string, signal: AbortSignal): Promise<{ requeueAfterMs: number } | undefined> {
    const { kube, volumes, nodes, machines, events, log } = this.#options;
    const volume = volumes.get(name);
    const suspects = this.#letIn(volume).filter((node) => !nodes.get(node) && !machines.get(node));
    if (!volume || suspects.length === 0) return undefined;
    const gone: string[] = [];
    // The API server itself is asked: a watch may be late.
    for (const node of suspects) {
      const [machine, aoeNode] = await Promise.all([kube.get(NODES, node, { signal }), kube.get(AOE_NODES, node, { signal })]);
      if (!machine && !aoeNode) gone.push(node);
    }
    if (gone.length === 0) return undefined;
    const { items } = await kube.list<Attachment>(VOLUME_ATTACHMENTS, { signal });
    const free = gone.filter((node) => !items.some(({ spec }) => spec.attacher === DRIVER_NAME && spec.nodeName === node));
    if (free.length > 0) {
      const left = (volume.spec.initiators.nodes ?? []).filter((node) => !free.includes(node));
      const { uid, resourceVersion } = volume.metadata;
      const patch = { metadata: { uid, resourceVersion }, spec: { initiators: { nodes: left.length > 0 ? left : null } } };
      try {
        await kube.patch(AOE_VOLUMES, name, patch, { fieldManager: FIELD_MANAGER, signal });
      } catch (error) {
        if (isNotFound(error)) return undefined;
        if (isConflict(error)) return { requeueAfterMs: CONFLICT_RETRY_MS };
        throw error;
      }
      log.warn({ volume: name, nodes: free }, 'nodes that do not exist any more are shut out');
      events.event(
        volume,
        'Warning',
        'InitiatorGone',
        `node ${free.join(', ')} does not exist any more and is taken out of spec.initiators`,
      );
    }
    return free.length < gone.length ? { requeueAfterMs: ATTACHED_RETRY_MS } : undefined;
  }

  /**
   * Nodes that are let in and were in force once: a name that never was known may be a mistake of a person, which is told
   * elsewhere, and not ours to overwrite. Of external targets nobody says who is in force.
   */
  #letIn(volume: AoEVolume | undefined): string[] {
    const nodes = volume?.spec.initiators.nodes ?? [];
    return volume?.spec.external ? nodes : nodes.filter((node) => volume?.status?.initiators?.nodes?.includes(node));
  }
}
