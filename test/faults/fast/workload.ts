import { DRIVER_NAME } from '../../../api/meta.ts';
import type { AoENode } from '../../../api/node.ts';
import {
  AOE_NODES,
  AOE_VOLUMES,
  NODES as MACHINES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  VOLUME_ATTACHMENTS,
} from '../../../api/resources.ts';
import { type AoEVolume, takenFrom } from '../../../api/volume.ts';
import { apiVersionOf } from '../../../kube/client/types.ts';
import type { KubeObject, ResourceType } from '../../../kube/mod.ts';
import type { NodeName } from '../model/plan.ts';
import type { LabContest } from './contest.ts';
import { persist } from './persist.ts';
import type { ProcessLab } from './process-lab.ts';

const NAMESPACE = 'default';
/** The name of everything here. */
const NAME = 'writer';
const MANAGER = 'lab';
const CALL_MS = 3_000;
/** Far more than a takeover takes whose operator, agent and target are killed meanwhile. */
export const TAKEOVER_MS = 150_000;

const SERVICE_ACCOUNTS: ResourceType = { group: '', version: 'v1', plural: 'serviceaccounts', kind: 'ServiceAccount', namespaced: true };

/**
 * What ties the volume to a node in Kubernetes, for as long as an operator may take it over: a pod with a claim, and a VolumeAttachment. Plays the
 * node lifecycle controller, csi-attacher, and the kubelet of a node that is back.
 */
export class Workload {
  readonly #lab: ProcessLab;
  readonly #contest: LabContest;
  readonly #node: NodeName;

  private constructor(lab: ProcessLab, contest: LabContest, node: NodeName) {
    this.#lab = lab;
    this.#contest = contest;
    this.#node = node;
  }

  /** The volume is used on a node, by a pod that its StatefulSet would make again elsewhere. */
  static async on(node: NodeName, lab: ProcessLab, contest: LabContest): Promise<Workload> {
    const workload = new Workload(lab, contest, node);
    const size = { storage: '2Gi' };
    const accessModes = ['ReadWriteOnce'];
    const csi = { driver: DRIVER_NAME, volumeHandle: lab.volume.name };
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: NAMESPACE, name: NAME };
    await workload.#apply(SERVICE_ACCOUNTS, {}, { name: 'default' });
    await workload.#apply(PERSISTENT_VOLUMES, { spec: { capacity: size, accessModes, csi, claimRef } });
    await workload.#apply(PERSISTENT_VOLUME_CLAIMS, {
      spec: { accessModes, volumeName: NAME, storageClassName: '', resources: { requests: size } },
    });
    const owner = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: NAME, uid: 'of-the-stateful-set', controller: true };
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: NAME } }];
    const containers = [{ name: 'main', image: 'none' }];
    await workload.#apply(PODS, { spec: { nodeName: node, containers, volumes } }, { ownerReferences: [owner] });
    await workload.#apply(
      VOLUME_ATTACHMENTS,
      { spec: { attacher: DRIVER_NAME, nodeName: node, source: { persistentVolumeName: NAME } } },
      { finalizers: [`external-attacher/${DRIVER_NAME.replaceAll('.', '-')}`] },
    );
    return workload;
  }

  /** What Kubernetes believes of the node. */
  async nodeIs(state: 'Ready' | 'Unknown'): Promise<void> {
    const lastTransitionTime = new Date().toISOString();
    const ready = {
      type: 'Ready',
      status: state === 'Ready' ? 'True' : 'Unknown',
      reason: 'Lab',
      message: 'a fake host',
      lastTransitionTime,
    };
    const patch = { status: { conditions: [ready] } };
    await persist(`${this.#node} to be ${state}`, () =>
      this.#lab.kube.patch(MACHINES, this.#node, patch, { subresource: 'status', fieldManager: MANAGER, timeoutMs: CALL_MS }),
    );
  }

  /** Waits until the operator has done all that it does about a node that is Ready again. */
  async isSettled(): Promise<void> {
    await persist(`the operator to trust ${this.#node} again`, async () => {
      const node = await this.#lab.kube.get<AoENode>(AOE_NODES, this.#node, { timeoutMs: CALL_MS });
      if (node?.status?.suspicion) throw new Error('it still asks about it');
    });
  }

  /** Whether the operator has begun to take the volume from the node. */
  async isTaken(): Promise<boolean> {
    const { spec } = await this.#volume();
    return !spec.initiators.nodes?.includes(this.#node);
  }

  /** Waits until the operator has taken the volume and nothing in Kubernetes ties it to the node. */
  async untilTaken(): Promise<void> {
    let hadPod = true;
    let isTooEarly = false;
    const look = async (): Promise<void> => {
      const attachment = await this.#get(VOLUME_ATTACHMENTS);
      const pod = await this.#get(PODS);
      if (!pod && hadPod) {
        hadPod = false;
        this.#contest.mustBeRefused(this.#node);
      }
      if (pod?.metadata.deletionTimestamp) await this.#delete(PODS);
      if (attachment?.metadata.deletionTimestamp) {
        isTooEarly ||= pod !== undefined;
        await this.#contest.unpublish(this.#node);
        await this.#letGo();
      }
      const note = takenFrom(await this.#volume());
      const left = [pod ? 'the pod' : [], attachment ? 'the VolumeAttachment' : [], note ? 'the note at the AoEVolume' : []].flat();
      if (left.length > 0) throw new Error(`still there: ${left.join(', ')}`);
    };
    await persist(`the operator to take the volume from ${this.#node}`, look, TAKEOVER_MS);
    if (isTooEarly) throw new Error(`the VolumeAttachment was deleted while the pod was still on ${this.#node}`);
  }

  /** The pod ends in good order. */
  async end(): Promise<void> {
    await this.#delete(PODS);
    await this.#delete(VOLUME_ATTACHMENTS);
    await this.#letGo();
  }

  async #apply(type: ResourceType, rest: object, metadata: object = {}): Promise<void> {
    const named = { name: NAME, ...(type.namespaced ? { namespace: NAMESPACE } : {}), ...metadata };
    const object = { apiVersion: apiVersionOf(type), kind: type.kind, metadata: named, ...rest };
    await persist(`${type.kind} ${NAME}`, () =>
      this.#lab.kube.apply(type, object as never, { fieldManager: MANAGER, force: true, timeoutMs: CALL_MS }),
    );
  }

  #get(type: ResourceType): Promise<KubeObject | undefined> {
    return this.#lab.kube.get(type, NAME, { ...inNamespace(type), timeoutMs: CALL_MS });
  }

  async #delete(type: ResourceType): Promise<void> {
    const options = { ...inNamespace(type), gracePeriodSeconds: 0, timeoutMs: CALL_MS };
    await persist(`delete ${type.kind} ${NAME}`, () => this.#lab.kube.delete(type, NAME, options));
  }

  async #letGo(): Promise<void> {
    await persist(`the end of VolumeAttachment ${NAME}`, async () => {
      if (!(await this.#get(VOLUME_ATTACHMENTS))) return;
      await this.#lab.kube.patch(VOLUME_ATTACHMENTS, NAME, { metadata: { finalizers: null } }, { timeoutMs: CALL_MS });
    });
  }

  async #volume(): Promise<AoEVolume> {
    const { name } = this.#lab.volume;
    return persist(`AoEVolume ${name}`, async () => {
      const volume = await this.#lab.kube.get<AoEVolume>(AOE_VOLUMES, name, { timeoutMs: CALL_MS });
      if (!volume) throw new Error('it is gone');
      return volume;
    });
  }
}

function inNamespace({ namespaced }: ResourceType): { namespace?: string } {
  return namespaced ? { namespace: NAMESPACE } : {};
}
