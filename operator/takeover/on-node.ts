import { DRIVER_NAME } from '../../api/meta.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import type { Kube, KubeObject, Store } from '../../kube/mod.ts';
import type { PodOnNode, PodVolume } from './eligible.ts';

/** Pods of these owners are made again on the same node: to delete them frees nothing. */
const KEPT_OWNERS: ReadonlySet<string> = new Set(['DaemonSet', 'Node']);
/** Volumes of a pod that vanish with it, or that nobody writes to. */
const HARMLESS: ReadonlySet<string> = new Set(['emptyDir', 'configMap', 'secret', 'downwardAPI', 'projected', 'image']);
/** Phases of a pod that has ended: it uses nothing any more. */
const ENDED = /^(Succeeded|Failed)$/;

type VolumeSource = { name: string; persistentVolumeClaim?: { claimName: string }; ephemeral?: object } & Record<string, unknown>;

interface Pod extends KubeObject {
  spec: { nodeName?: string; volumes?: VolumeSource[] };
  status?: { phase?: string };
}

interface Attachment extends KubeObject {
  spec: { attacher: string; nodeName: string; source?: { persistentVolumeName?: string } };
}

interface PersistentVolume extends KubeObject {
  spec: { csi?: { driver: string; volumeHandle: string } };
}

interface Claim extends KubeObject {
  spec: { volumeName?: string };
}

/** What ties volumes to a node in Kubernetes. */
export interface OnNode {
  readonly pods: readonly PodOnNode[];
  /** VolumeAttachments of our driver to the node, by the name of their AoEVolume. */
  readonly attachments: ReadonlyMap<string, readonly KubeObject[]>;
}

interface Parts {
  readonly kube: Pick<Kube, 'get' | 'list'>;
  readonly volumes: Pick<Store<AoEVolume>, 'get'>;
}

/** Whether a volume of ours can be taken from a node at all: its target cuts hosts off, and one node at a time has it. */
export function isOurs(volume: AoEVolume | undefined): volume is AoEVolume {
  return volume?.spec.access === 'Exclusive' && volume.spec.external === undefined;
}

/** Reads the pods on a node that use claims, and its VolumeAttachments, as the API server has them now. */
export async function readNode(parts: Parts, node: string, signal: AbortSignal): Promise<OnNode> {
  const reader = new Reader(parts, signal);
  const [pods, attachments] = await Promise.all([
    parts.kube.list<Pod>(PODS, { fieldSelector: `spec.nodeName=${node}`, signal }),
    parts.kube.list<Attachment>(VOLUME_ATTACHMENTS, { signal }),
  ]);
  const ours = attachments.items.filter(({ spec }) => spec.attacher === DRIVER_NAME && spec.nodeName === node);
  const byVolume = new Map<string, KubeObject[]>();
  for (const attachment of ours) {
    const handle = await reader.handle(attachment.spec.source?.persistentVolumeName);
    if (handle !== undefined) byVolume.set(handle, [...(byVolume.get(handle) ?? []), attachment]);
  }
  const present = pods.items.filter(({ spec, status }) => spec.nodeName === node && !ENDED.test(status?.phase ?? ''));
  const found: PodOnNode[] = [];
  for (const pod of present) {
    const volumes = (await Promise.all((pod.spec.volumes ?? []).map((volume) => reader.volume(pod, volume)))).flat();
    const { name, namespace = 'default', uid = '' } = pod.metadata;
    if (volumes.length > 0) found.push({ name, namespace, uid, kept: whyKept(pod), volumes });
  }
  return { pods: found, attachments: byVolume };
}

/** Why a pod is never deleted: to delete it would free nothing, or it would be gone for good. */
function whyKept({ metadata: { ownerReferences = [] } }: Pod): string | undefined {
  const owner = ownerReferences.find(({ kind }) => KEPT_OWNERS.has(kind));
  if (owner) return `${owner.kind} ${owner.name} would make it again on this node`;
  return ownerReferences.some(({ controller }) => controller) ? undefined : 'it has no controller, so nobody would make it again';
}

/** Reads PersistentVolumes and claims, each once. */
class Reader {
  readonly #parts: Parts;
  readonly #signal: AbortSignal;
  readonly #handles = new Map<string, Promise<string | undefined>>();

  constructor(parts: Parts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /** The name of the AoEVolume of a PersistentVolume; undefined when it is none of ours. */
  handle(name: string | undefined): Promise<string | undefined> {
    if (name === undefined) return Promise.resolve(undefined);
    const known = this.#handles.get(name) ?? this.#readHandle(name);
    this.#handles.set(name, known);
    return known;
  }

  async #readHandle(name: string): Promise<string | undefined> {
    const { csi } = (await this.#parts.kube.get<PersistentVolume>(PERSISTENT_VOLUMES, name, { signal: this.#signal }))?.spec ?? {};
    return csi?.driver === DRIVER_NAME ? csi.volumeHandle : undefined;
  }

  async volume({ metadata }: Pod, { name, persistentVolumeClaim, ephemeral, ...source }: VolumeSource): Promise<PodVolume[]> {
    const claimName = persistentVolumeClaim?.claimName ?? (ephemeral ? `${metadata.name}-${name}` : undefined);
    if (claimName === undefined) {
      const [type = 'of an unknown type'] = Object.keys(source);
      return HARMLESS.has(type) ? [] : [{ kind: 'other', what: `volume ${name} (${type})` }];
    }
    const options = { namespace: metadata.namespace, signal: this.#signal };
    const claim = await this.#parts.kube.get<Claim>(PERSISTENT_VOLUME_CLAIMS, claimName, options);
    const handle = await this.handle(claim?.spec.volumeName);
    if (handle === undefined) return [{ kind: 'other', what: `claim ${claimName}, which has no volume of ${DRIVER_NAME}` }];
    if (isOurs(this.#parts.volumes.get(handle))) return [{ kind: 'ours', volume: handle }];
    return [{ kind: 'other', what: `claim ${claimName}, whose AoEVolume ${handle} is not Exclusive, or of an external target` }];
  }
}
