import { formatAddress, sameAddress } from '../../api/address.ts';
import { type AoEPool, MAX_ABANDONED, MAX_ABANDONED_ADDRESSES } from '../../api/pool.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, NODES } from '../../api/resources.ts';
import { type AoEVolume, GIVE_UP, MOVE_FINALIZER, VOLUME_FINALIZER } from '../../api/volume.ts';
import { type EventRecorder, isNotFound, type Kube } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import { FIELD_MANAGER } from '../field-manager.ts';

interface Options {
  readonly kube: Pick<Kube, 'get' | 'patch'>;
  readonly events: Pick<EventRecorder, 'event'>;
  readonly log: Logger;
}

/** `none`: the volume is not given up. `gone`: its finalizers are removed, and nothing is left to do; with that of a move it is only `givenUp`. */
export type GiveUp = { outcome: 'none' | 'givenUp'; volume: AoEVolume } | { outcome: 'gone' };

/**
 * Does what annotation {@link GIVE_UP} asks for: reports that no host is admitted, so that detaching ends, and lets a deletion end
 * without the agent. The data on the disks of the node stays as it is. No other host gets the volume: that takes the confirmation of
 * an agent. An annotation that names another node, or a node that exists, is removed with an Event.
 * @throws KubeError, also when others changed the volume meanwhile
 */
export async function giveUp(options: Options, volume: AoEVolume, signal: AbortSignal): Promise<GiveUp> {
  const { kube, events, log } = options;
  const { metadata, spec } = volume;
  const named = metadata.annotations?.[GIVE_UP];
  if (named === undefined) return { outcome: 'none', volume };
  const write = { fieldManager: FIELD_MANAGER, signal };
  const objection = await objectionTo(options, volume, named, signal);
  if (objection !== undefined) {
    const patch = { metadata: { uid: metadata.uid, annotations: { [GIVE_UP]: null } } };
    const refused = await kube.patch<AoEVolume>(AOE_VOLUMES, metadata.name, patch, write);
    events.event(volume, 'Warning', 'GiveUpRefused', `the volume is not given up: ${objection}`);
    return { outcome: 'none', volume: refused };
  }
  const released = await release(kube, volume, signal);
  const { nodes = [], macs = [] } = spec.initiators;
  if (!metadata.deletionTimestamp || nodes.length + macs.length > 0) return { outcome: 'givenUp', volume: released };
  const { uid, resourceVersion, finalizers = [] } = released.metadata;
  const { move } = released.spec;
  // Nothing says that the given up data was ever served: what is at the earlier place may be the last of it, and is kept.
  const keeps = move?.stage === 'Switched' && finalizers.includes(MOVE_FINALIZER) ? move : undefined;
  const left = finalizers.filter((each) => each !== VOLUME_FINALIZER && !(keeps && each === MOVE_FINALIZER));
  if (left.length === finalizers.length) return { outcome: 'givenUp', volume: released };
  await noteAbandoned(options, volume.metadata, volume.spec, signal);
  let patched: AoEVolume | undefined;
  try {
    patched = await kube.patch<AoEVolume>(AOE_VOLUMES, metadata.name, { metadata: { uid, resourceVersion, finalizers: left } }, write);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  log.warn({ volume: metadata.name, uid, node: named }, 'volume given up; its data stays on the disks of the node');
  const kept = keeps ? `, and so does that of pool ${keeps.pool} on node ${keeps.nodeName}, from where it was moved` : '';
  const message = `deleted without the agent on ${named}: the data of pool ${spec.pool} stays on the disks of that node, as backing volume ${uid}${kept}`;
  events.event(volume, 'Warning', 'DataAbandoned', message);
  return patched && left.includes(MOVE_FINALIZER) ? { outcome: 'givenUp', volume: patched } : { outcome: 'gone' };
}

/** Why the annotation does not count, for people. The API server itself is asked about the node: a watch may be late. */
async function objectionTo({ kube }: Options, { spec }: AoEVolume, named: string, signal: AbortSignal): Promise<string | undefined> {
  if (spec.external) return 'its target is outside of this project';
  if (spec.nodeName === undefined) return 'it has no storage node yet';
  if (named !== spec.nodeName) return `annotation ${GIVE_UP} names ${named}, but the data is on ${spec.nodeName}`;
  const [kubeNode, aoeNode] = await Promise.all([kube.get(NODES, named, { signal }), kube.get(AOE_NODES, named, { signal })]);
  if (kubeNode) return `node ${named} exists: if it never comes back, first delete it (kubectl delete node ${named})`;
  if (aoeNode) return `AoENode ${named} still exists: Kubernetes deletes it soon after the Node; then annotate again`;
  return undefined;
}

/** Reports that no host is admitted and nobody has the lock, for the initiators that spec names now. */
async function release(kube: Options['kube'], volume: AoEVolume, signal: AbortSignal): Promise<AoEVolume> {
  const { metadata, status } = volume;
  const { generation: observedGeneration = 0, resourceVersion } = metadata;
  const { observedGeneration: reported = -1, nodes = [], macs = [] } = status?.initiators ?? {};
  if (!status?.holder && reported >= observedGeneration && nodes.length + macs.length === 0) return volume;
  const next = { holder: null, initiators: { observedGeneration, nodes: null, macs: null } };
  // With the version: should the node come back at this moment, its agent's report stays.
  const patch = { metadata: { resourceVersion }, status: next };
  return kube.patch<AoEVolume>(AOE_VOLUMES, metadata.name, patch, { fieldManager: FIELD_MANAGER, subresource: 'status', signal });
}

/**
 * Notes in the status of the pool that the volume was given up, before the AoEVolume is gone, or that it is moved away without its node. Should
 * the node come back, its target serves the volume from its own state: by this entry its agent knows that it must not, and the operator gives
 * the address to no other volume while there are free ones. A host that both targets admit would take the two for one disk.
 * The status has room for a limited number; an entry that has to go is named in an Event of the pool, since nobody knows of its address afterwards.
 * @throws KubeError
 */
export async function noteAbandoned(
  { kube, events, log }: Options,
  { name: volume, uid = '' }: AoEVolume['metadata'],
  { nodeName: node = '', pool: poolName = '', address }: Pick<AoEVolume['spec'], 'nodeName' | 'pool' | 'address'>,
  signal: AbortSignal,
): Promise<void> {
  const pool = await kube.get<AoEPool>(AOE_POOLS, poolName, { signal });
  const { abandoned = [] } = pool?.status ?? {};
  const before = abandoned.find((entry) => entry.uid === uid && entry.node === node);
  const known = before?.addresses ?? [];
  const isKnown = !address || known.some((each) => sameAddress(each, address));
  if (!pool || (before && isKnown)) return;
  const addresses = isKnown ? known : [...known, address].slice(-MAX_ABANDONED_ADDRESSES);
  // With the version: of two that are given up at once, neither entry may be lost.
  const { resourceVersion } = pool.metadata;
  const entry = { uid, volume, node, ...(addresses.length > 0 ? { addresses } : {}) };
  const all = [...abandoned.filter((each) => each !== before), entry];
  const status = { abandoned: all.slice(-MAX_ABANDONED) };
  const write = { fieldManager: FIELD_MANAGER, subresource: 'status', signal } as const;
  await kube.patch(AOE_POOLS, pool.metadata.name, { metadata: { resourceVersion }, status }, write);
  for (const gone of all.slice(0, -MAX_ABANDONED)) {
    const at = (gone.addresses ?? []).map(formatAddress).join(', ') || 'no address';
    const message = `status.abandoned has room for ${MAX_ABANDONED} volumes: AoEVolume ${gone.volume}, which was at ${at} on node ${gone.node}, is no longer remembered, and the address may be given to another volume. Before node ${gone.node} joins the segment again, remove /var/lib/aoe-csi/target there`;
    log.warn({ pool: pool.metadata.name, ...gone }, 'a volume that was given up is no longer remembered');
    events.event(pool, 'Warning', 'AbandonedForgotten', message);
  }
}
